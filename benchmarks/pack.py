"""Pack a corpus and labelled sets into one file that travels: ``python benchmarks/pack.py DATA --out
pack.npz``.

DATA is the folder of the development images (``mixed/``, ``mixed-groups.csv``, ``polypgen-dev/``,
``tasks/``). Every image becomes a WebP of ``--size`` px; about 24,000 of 112 px fit in 60 MiB. A share of the
groups is held out and never trained on.
"""

import argparse
import contextlib
import csv
import io
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

QUALITY = 72
"""Of WebP: at 112 px the mean image takes 2 kB and differs from the original by some 3 levels of 255."""

HOLDOUT = 0.03
"""Share of the groups on which the held-out V-entropy is measured; some 800 images of the mixed corpus."""

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")

CORPORA = ("mixed", "polypgen-dev/images")

TASKS = {"heart": "tasks/heart-acdc", "breast": "tasks/breast-busi", "lungs": "lung-cxr"}
"""Labelled sets that told full from untrained in a pilot at 64 px."""

FRAME_NUMBER = re.compile(r"[-_ ]*\d+$")
"""A trailing number in a stem: frames of one clip or patient share what stands before it."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Encoded images, end to end in one buffer, and where each begins."""

    data: np.ndarray
    offsets: np.ndarray


def images_of(folder: Path) -> list[Path]:
    """Image files below a folder, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def encode(path: Path, size: int) -> bytes:
    """One image, its longer side squeezed to the square that training sees, as WebP."""
    with PillowImage.open(path) as image:
        square = image.convert("RGB").resize((size, size), PillowImage.Resampling.BICUBIC)
    buffer = io.BytesIO()
    square.save(buffer, "webp", quality=QUALITY, method=4)
    return buffer.getvalue()


def encode_mask(path: Path, size: int) -> bytes:
    """One mask of class numbers, nearest pixel, as PNG."""
    with PillowImage.open(path) as image:
        values = np.asarray(image).astype(
            np.uint8
        )  # a two-valued mask becomes 0 and 1, a palette its indices
    values = values[..., 0] if values.ndim == 3 else values
    square = PillowImage.fromarray(values).resize((size, size), PillowImage.Resampling.NEAREST)
    buffer = io.BytesIO()
    square.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def join(blobs: Sequence[bytes]) -> Packed:
    """Blobs end to end."""
    lengths = np.array([len(blob) for blob in blobs], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Packed(data=np.frombuffer(b"".join(blobs), np.uint8), offsets=offsets)


def known_groups(file: Path) -> dict[str, str]:
    """Path to redundancy group, from a CSV with the columns ``path`` and ``group``."""
    if not file.exists():
        return {}
    with file.open(newline="") as handle:
        return {row["path"]: row["group"] for row in csv.DictReader(handle)}


def group_of(path: Path, root: Path, groups: dict[str, str]) -> str:
    """What must stay on one side of the split: the true group where it is known, else folder and stem."""
    name = path.relative_to(root).as_posix()
    short = name.removeprefix("mixed/")
    stem = FRAME_NUMBER.sub("", path.stem)
    return groups.get(name) or groups.get(short) or f"{path.parent.name}/{stem or path.stem}"


def main() -> None:
    """Pack and print what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the development images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=112, help="side in pixels")
    parser.add_argument("--most", type=int, help="at most so many images of the corpus, drawn evenly")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0 for this one alone")
    arguments = parser.parse_args()

    paths = [path for name in CORPORA for path in images_of(arguments.data / name)]
    if not paths:
        sys.exit(f"no images under {arguments.data}; pass the folder that holds {', '.join(CORPORA)}")
    if arguments.most and arguments.most < len(paths):
        rows = np.random.default_rng(0).choice(len(paths), arguments.most, replace=False)
        paths = [paths[row] for row in np.sort(rows)]
    groups = known_groups(arguments.data / "mixed-groups.csv")
    labels = np.array([group_of(path, arguments.data, groups) for path in paths])
    names, numbers = np.unique(labels, return_inverse=True)
    held_out = np.random.default_rng(0).random(len(names)) < HOLDOUT

    arrays: dict[str, np.ndarray] = {
        "size": np.array(arguments.size),
        "folders": np.array([path.relative_to(arguments.data).parts[-2] for path in paths]),
        "groups": numbers.astype(np.int32),
        "holdout": held_out[numbers],
    }
    with contextlib.ExitStack() as stack:
        spread = map
        if arguments.workers:
            spread = stack.enter_context(ProcessPoolExecutor(arguments.workers)).map
        packed = join(list(spread(partial(encode, size=arguments.size), paths)))
        arrays |= {"data": packed.data, "offsets": packed.offsets}
        for task, folder in TASKS.items():
            arrays |= pack_task(task, arguments.data / folder, arguments.size, spread)

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.out, **arrays)
    megabytes = arguments.out.stat().st_size / 2**20
    print(
        f"{len(paths)} images, {int(arrays['holdout'].sum())} held out, {megabytes:.1f} MiB: {arguments.out}"
    )


def pack_task(name: str, folder: Path, size: int, spread: Callable[..., Any]) -> dict[str, np.ndarray]:
    """Images, masks and groups of one labelled set, under names that begin with the task's; ``spread`` is
    ``map``, or that of a pool of processes.
    """
    images = {path.stem: path for path in images_of(folder / "images")}
    masks = {path.stem: path for path in images_of(folder / "masks")}
    stems = sorted(images.keys() & masks.keys())
    pictures = join(list(spread(partial(encode, size=size), [images[stem] for stem in stems])))
    classes = join(list(spread(partial(encode_mask, size=size), [masks[stem] for stem in stems])))
    # In names such as patient001_frame01_slice_3 the patient stands before the first underscore.
    patients = np.array([stem.partition("_")[0] if name == "heart" else stem for stem in stems])
    return {
        f"{name}.images": pictures.data,
        f"{name}.image_offsets": pictures.offsets,
        f"{name}.masks": classes.data,
        f"{name}.mask_offsets": classes.offsets,
        f"{name}.groups": np.unique(patients, return_inverse=True)[1].astype(np.int32),
    }


if __name__ == "__main__":
    main()
