"""What this machine can run, and what is missing for the rest; nothing heavy is imported to find out."""

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

# The extras, the packages that each needs under the names of the registry, and what it is for.
EXTRAS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "train": (
        ("torch", "transformers", "scikit-image", "imagecodecs"),
        "embed, patches, pretrain, evaluate, run, bench, vinfo",
    ),
    "codecs": (("imagecodecs",), "compressed DICOM, JPEG 2000 and JPEG XL files"),
    "video": (("av",), "videos"),
    "hf": (("pyarrow",), "export to Hugging Face Datasets, Arrow files"),
    "onnx": (
        ("onnx", "onnxruntime", "onnxscript"),
        "key patches by SAM from ONNX weights, export of encoders to ONNX",
    ),
    "tensorboard": (("tensorboard",), "curves of a pre-training in TensorBoard"),
    "demo": (("nilearn", "pydicom-data"), "optidel demo"),
}

# Free bytes under which a run of a middle-sized corpus is likely to end: 10 GB, a preset `small` of 60,000
# frames.
ROOM = 10 * 10**9

# Memory that training a preset `tiny` or `small` and decoding beside it need: 4 GB.
MEMORY = 4 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: its name, what it is like, and, where something is wrong, the remedy."""

    name: str
    state: str
    remedy: str = ""


def examine(folder: Path | str = ".") -> list[Finding]:
    """Look at this installation and machine.

    Args:
        folder: where runs will be written.

    Returns:
        Findings, those of the machine first; one with a remedy is something to know about, not an error.

    Example:
        >>> from optidel.doctor import examine
        >>> examine()[0].name
        'optidel'
    """
    return [
        Finding(name="optidel", state=f"{_version('optidel')} on Python {platform.python_version()}"),
        Finding(name="system", state=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        _memory(),
        _disk(Path(folder)),
        _device(),
        *(_extra(name) for name in EXTRAS),
        _sam(),
        _hub(),
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return Finding(name="memory", state="not known on this system")
    state = f"{total / 1e9:.0f} GB"
    remedy = "" if total >= MEMORY else "training may not fit; use --preset tiny and corpus.workers = 1"
    return Finding(name="memory", state=state, remedy=remedy)


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    remedy = "" if free >= ROOM else "large corpora need more; pass --out on another disk"
    if not os.access(existing, os.W_OK):
        remedy = "cannot be written to; pass --out with another folder"
    return Finding(name="disk", state=f"{free / 1e9:.0f} GB free at {existing}", remedy=remedy)


def _device() -> Finding:
    if find_spec("torch") is None:
        return Finding(name="device", state="none, without torch", remedy="pip install 'optidel[train]'")
    import torch  # the only heavy import: nothing else knows which devices it can use

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Finding(name="device", state=f"torch {torch.__version__}, {', '.join(names)}")
    state = f"torch {torch.__version__}, CPU, {torch.get_num_threads()} threads"
    return Finding(
        name="device", state=state, remedy="--preset tiny is made for this; larger ones need a GPU"
    )


def _extra(name: str) -> Finding:
    packages, purpose = EXTRAS[name]
    versions = {package: _version(package) for package in packages}
    lacking = [package for package, found in versions.items() if found is None]
    if lacking:
        state = f"{', '.join(lacking)} missing: needed for {purpose}"
        return Finding(name=f"[{name}]", state=state, remedy=f"pip install 'optidel[{name}]'")
    listed = ", ".join(f"{package} {found}" for package, found in versions.items())
    return Finding(name=f"[{name}]", state=f"{listed}: {purpose}")


def _sam() -> Finding:
    from optidel.models.mask_generators import DEFAULT_WEIGHTS

    folder = Path(os.environ.get("OPTIDEL_SAM") or DEFAULT_WEIGHTS)
    if all((folder / name).is_file() for name in ("encoder.onnx", "sam.onnx")):
        return Finding(name="SAM", state=f"weights in {folder}")
    return Finding(
        name="SAM",
        state=f"no weights in {folder}: key patches come from regions without them",
        remedy="`make weights` fetches them, or set OPTIDEL_SAM to a folder with encoder.onnx and sam.onnx",
    )


def _hub() -> Finding:
    home = os.environ.get("HF_HUB_CACHE") or Path(
        os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface", "hub"
    )
    folders = sorted(Path(home).glob("models--*")) if Path(home).is_dir() else []
    names = [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
    offline = "; offline: nothing is fetched" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
    return Finding(name="model hub", state=f"{', '.join(names) or 'no model'} in the cache{offline}")
