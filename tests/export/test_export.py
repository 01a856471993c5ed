"""Exports: the chosen images and nothing else, in each format, read back by other libraries and by our own
index.
"""

import builtins
import errno
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from nano import recipe
from pictures import NANO, fill, picture
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import optidel
from optidel import cli
from optidel.corpus.frames import Corpus
from optidel.errors import InputError, OptidelError, RecipeError, StoreError
from optidel.export import FORMATS, export, find_selection
from optidel.export.manifest import manifest
from optidel.models.presets import PRESETS
from optidel.pipeline.pipeline import Pipeline
from optidel.readers import RASTER
from optidel.recipe import make_recipe
from optidel.store import Store

SECRET = "Jane-Roe-1970"
FOLDERS_OF_PIXELS = ("folder", "coco", "lightly-studio", "fiftyone", "monai")
FORMATS_WITH_PIXELS = (*FOLDERS_OF_PIXELS, "webdataset", "parquet", "hf-datasets")
BESIDE_PIXELS = {
    "manifest.csv",
    "export.json",
    "README.md",
    "annotations.json",
    "datalist.json",
    "labels.json",
    "open.py",
}


def write_dicom(path: Path, values: np.ndarray) -> None:
    """A 16-bit CT slice with a patient's name and a comment."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, "1.2.3.4"
    slice_.PatientName = slice_.PatientID = slice_.ImageComments = SECRET
    slice_.Modality, slice_.PhotometricInterpretation = "CT", "MONOCHROME2"
    slice_.Rows, slice_.Columns = values.shape
    (
        slice_.SamplesPerPixel,
        slice_.BitsAllocated,
        slice_.BitsStored,
        slice_.HighBit,
        slice_.PixelRepresentation,
    ) = 1, 16, 16, 15, 0
    slice_.WindowCenter, slice_.WindowWidth = 2000, 4000
    slice_.PixelData = values.astype("<u2").tobytes()
    slice_.save_as(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that kept all of a mixed corpus (grey and colour, a volume, a DICOM file, a JPEG with metadata)
    and half of it at random.
    """
    root = tmp_path_factory.mktemp("mixed")
    images, rng = root / "images", np.random.default_rng(3)
    images.mkdir()
    for number in range(4):
        Image.fromarray(picture(rng)[0]).save(images / f"colour-{number}.png")
    exif = Image.Exif()
    exif[0x010E] = SECRET
    Image.fromarray(picture(rng)[0]).save(images / "camera.jpg", exif=exif, comment=SECRET.encode())
    Image.fromarray(picture(rng)[0][..., 0]).save(images / "grey.png")
    np.save(images / "stack.npy", rng.integers(0, 256, (3, 40, 48), dtype=np.uint8))
    write_dicom(images / "ct.dcm", rng.integers(0, 4000, (32, 40)))
    assert all(SECRET.encode() in (images / name).read_bytes() for name in ("camera.jpg", "ct.dcm"))
    for methods, budget in ((["full"], 1.0), (["random"], 0.5)):
        values = recipe(images, images, root / "run", methods=methods, budget=budget)
        Pipeline(make_recipe(values)).until("select")
    return root / "run"


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that composed three images."""
    root = tmp_path_factory.mktemp("composed")
    fill(root / "images", 24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", NANO)
        Pipeline(
            make_recipe(recipe(root / "images", root / "images", root / "run", methods=["optidel-paper"]))
        ).until("compose")
    return root / "run"


def expected(run: Path, method: str = "full") -> dict[str, np.ndarray]:
    """Every chosen image by key, decoded again one by one from the originals."""
    choice = find_selection(Store(run), method, None, None)
    corpus = Corpus.load(choice.index)
    rows = manifest(choice, corpus).select("key", "item").iter_rows()
    return {key: corpus.image(item) for key, item in rows}


def read_pixels(path: Path, format: str) -> Iterator[tuple[str, bytes]]:
    """Key and PNG of every image in an export, read with tarfile, polars or nothing."""
    if format in FOLDERS_OF_PIXELS:
        yield from ((file.stem, file.read_bytes()) for file in sorted(path.glob("*/*.png")))
    elif format == "webdataset":
        for shard in sorted(path.glob("*.tar")):
            with tarfile.open(shard) as opened:
                samples: dict[str, dict[str, bytes]] = {}
                for member in opened:
                    key, _, ending = member.name.partition(
                        "."
                    )  # the convention of WebDataset: the key ends at the first dot
                    content = opened.extractfile(member)
                    assert content is not None
                    samples.setdefault(key, {})[ending] = content.read()
            for key, sample in samples.items():
                assert set(sample) == {"png", "json"}
                assert json.loads(sample["json"])["rank"] == int(key)
                yield key, sample["png"]
    else:
        for file in sorted(path.rglob("*.parquet")):
            for row in pl.read_parquet(file).iter_rows(named=True):
                assert row["rank"] == int(row["key"])
                yield row["key"], row["image"]["bytes"]


@pytest.mark.parametrize("format", FORMATS_WITH_PIXELS)
def test_pixels_go_out_and_nothing_else(format: str, run: Path, tmp_path: Path) -> None:
    made = export(run, format, method="full", out=tmp_path / "out")
    want = expected(run)
    assert made.images == len(want) == 10
    found = dict(read_pixels(made.path, format))
    assert set(found) == set(want)
    modes = set()
    for key, content in found.items():
        with Image.open(io.BytesIO(content)) as opened:
            assert opened.format == "PNG"
            assert opened.info == {}
            modes.add(opened.mode)
            np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), want[key])
        chunks, at = [], 8
        while at < len(content):
            size = int.from_bytes(content[at : at + 4], "big")
            chunks.append(content[at + 4 : at + 8])
            at += 12 + size
        assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    assert modes == {"L", "RGB"}
    for file in made.path.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    names = {"colour-0", "camera", "stack", "ct.dcm"}
    for file in made.path.rglob("*"):
        if file.is_file() and file.name != "manifest.csv":  # the one file that names the originals
            assert not [name for name in names if name.encode() in file.read_bytes()]


@pytest.mark.parametrize("format", FORMATS_WITH_PIXELS)
def test_read_back_by_our_own_index(format: str, run: Path, tmp_path: Path) -> None:
    path = export(run, format, method="full", out=tmp_path / "out").path
    corpus = optidel.index(path, workers=1)
    want = expected(run)
    assert len(corpus) == len(want)
    assert not {file.source for file in corpus.rejected} - BESIDE_PIXELS
    found = {corpus.image(row).tobytes() for row in range(len(corpus))}
    assert found == {image.tobytes() for image in want.values()}


def test_manifest_says_what_was_chosen_and_why(run: Path, tmp_path: Path) -> None:
    made = export(run, "folder", method="random", out=tmp_path / "out")
    table = pl.read_csv(made.path / "manifest.csv", schema_overrides={"key": pl.String})
    choice = find_selection(Store(run), "random", None, None)
    kept = choice.select.table("selection.parquet").filter("kept").sort("rank")
    assert table["id"].to_list() == kept["id"].to_list()
    assert table["rank"].to_list() == list(range(1, 6))
    assert table["reason"].to_list() == kept["reason"].to_list()
    assert [(made.path / path).is_file() for path in table["path"]] == [True] * 5
    frames = {frame.id: frame for frame in Corpus.load(choice.index).frames}
    for row in table.iter_rows(named=True):
        frame = frames[row["id"]]
        assert (row["sha256"], row["source"], row["height"], row["width"]) == (
            frame.sha256,
            frame.source,
            frame.height,
            frame.width,
        )
    assert (made.path / "manifest.csv").read_text().count("\n") == 6


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_composites_are_exported_with_their_provenance(format: str, composed: Path) -> None:
    made = export(composed, format)
    assert made.path.parent == composed / "exports"
    assert (made.images, made.method) == (3, "optidel-paper")
    table = pl.read_csv(made.path / "manifest.csv", schema_overrides={"key": pl.String})
    for sources, boxes, reason in table.select("sources", "boxes", "reason").iter_rows():
        assert len(json.loads(sources)) == len(json.loads(boxes)) == 4
        assert reason.startswith("kept")
    folder = next(composed.glob("compose-*")) / "images"
    originals = {np.asarray(Image.open(path)).tobytes() for path in folder.glob("*.png")}
    if format in (*FORMATS_WITH_PIXELS, "embedding-atlas"):
        found = {
            np.asarray(Image.open(io.BytesIO(content))).tobytes()
            for _, content in read_pixels(made.path, format)
        }
    else:
        found = {np.asarray(Image.open(made.path / path)).tobytes() for path in table["path"]}
    assert found == originals


def test_links_and_list_lead_to_the_originals(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_corpus(8)
    Pipeline(make_recipe(recipe(folder, folder, tmp_path / "run", methods=["random"], budget=0.5))).until(
        "select"
    )
    linked, listed = (
        export(tmp_path / "run", format, out=tmp_path / format).path for format in ("symlinks", "csv")
    )
    table = pl.read_csv(linked / "manifest.csv", schema_overrides={"key": pl.String})
    for name, source in table.select("path", "source").iter_rows():
        assert (linked / name).is_symlink()
        assert (linked / name).resolve() == folder / source
        assert (linked / name).suffix in RASTER
    again = optidel.index(folder, workers=1, manifest=str(listed / "manifest.csv"))
    assert sorted(frame.id for frame in again.frames) == sorted(table["id"])
    assert len(optidel.index(linked, workers=1)) == 4


def test_what_cannot_be_linked_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"4 of 10 chosen images .* cannot be linked.*--format folder"):
        export(run, "symlinks", method="full", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    paths = pl.read_csv(export(run, "csv", method="full", out=tmp_path / "out").path / "manifest.csv")[
        "path"
    ].to_list()
    assert sum("stack.npy#" in path for path in paths) == 3


def test_hugging_face_datasets_reads_it(run: Path, tmp_path: Path) -> None:
    made = export(run, "hf-datasets", method="full", out=tmp_path / "out")
    pytest.importorskip("datasets", reason="the library datasets is not installed")
    code = f"""
import sys, datasets, numpy
found = datasets.load_dataset({str(made.path)!r}, split="train", cache_dir={str(tmp_path / "cache")!r})
numpy.savez(sys.argv[1], **{{row["key"]: numpy.asarray(row["image"].convert("RGB")) for row in found}})
"""
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "found.npz")], check=True, env=_environment(tmp_path)
    )
    want = expected(run)
    with np.load(tmp_path / "found.npz") as found:
        assert set(found) == set(want)
        for key in found:
            np.testing.assert_array_equal(found[key], want[key])


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home / "hf"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }


def test_killed_it_continues_and_repeated_it_does_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optidel.export import job as module

    monkeypatch.setattr(module, "SHARD", 4)
    whole = export(run, "webdataset", method="full", out=tmp_path / "whole").path
    png, calls = module.png, 0

    def killed(image: np.ndarray) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        return png(image)

    monkeypatch.setattr(module, "png", killed)
    with pytest.raises(KeyboardInterrupt):
        export(run, "webdataset", method="full", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    calls = 10
    resumed = export(run, "webdataset", method="full", out=tmp_path / "out").path
    assert calls == 10 + 6  # the first shard of four was there
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    for file in whole.iterdir():
        assert (resumed / file.name).read_bytes() == file.read_bytes()
    export(run, "webdataset", method="full", out=tmp_path / "out")
    assert calls == 16


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="holds no export of OptiDEL"):
        export(run, "folder", method="full", out=tmp_path / "mine")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StoreError, match="holds no export of OptiDEL"):
        export(run, "folder", method="full", out=tmp_path / "file")
    out = export(run, "csv", method="full", out=tmp_path / "out").path
    with pytest.raises(StoreError, match=r"holds another export .*full as csv"):
        export(run, "csv", method="random", out=out)
    (out / "manifest.csv").write_text("short")
    with pytest.raises(StoreError, match="was changed after it was exported"):
        export(run, "csv", method="full", out=out)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_files_that_changed_are_noticed(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_corpus(4)
    Pipeline(make_recipe(recipe(folder, folder, tmp_path / "run", methods=["full"]))).until("select")
    Image.fromarray(picture(np.random.default_rng(5))[0]).save(folder / "image-002.png")
    with pytest.raises(InputError, match=r"image-002.png does not hold the pixels that were indexed"):
        export(tmp_path / "run", "folder")
    (folder / "image-002.png").unlink()
    for format in ("folder", "csv"):
        with pytest.raises(InputError, match="gone"):
            export(tmp_path / "run", format)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"format": "fodler"}, RecipeError, "unknown format 'fodler'; did you mean 'folder'"),
        ({"format": "folder"}, RecipeError, "choices of 2 methods: .*pass --method"),
        (
            {"format": "folder", "method": "meddel"},
            InputError,
            "no choice of the method meddel; there is full, random",
        ),
        (
            {"format": "folder", "method": "random", "budget": 0.25},
            InputError,
            "no choice of the budget 0.25; there is 0.5",
        ),
        (
            {"format": "folder", "method": "random", "seed": 3},
            InputError,
            "no choice of the seed 3; there is 0",
        ),
    ],
)
def test_refusals(arguments: dict[str, object], error: type[OptidelError], message: str, run: Path) -> None:
    with pytest.raises(error, match=message):
        export(run, **arguments)  # type: ignore[arg-type]


def test_a_folder_without_a_choice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run of OptiDEL"):
        export(tmp_path / "nowhere", "folder")
    assert not (tmp_path / "nowhere").exists()
    Store(tmp_path / "empty")
    with pytest.raises(InputError, match="has selected nothing yet"):
        export(tmp_path / "empty", "folder")


def test_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "optidel",
        "export",
        str(run),
        "--format",
        "csv",
        "--method",
        "random",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["method"], told["budget"], told["seed"], told["format"]) == (
        5,
        "random",
        0.5,
        0,
        "csv",
    )
    assert Path(told["path"]) == tmp_path / "out"


def test_hashed_names_tell_nothing_and_agree_with_one_another(run: Path, tmp_path: Path) -> None:
    plain = export(run, "folder", method="full", out=tmp_path / "plain").path
    hidden = export(run, "folder", method="full", out=tmp_path / "hidden", names="hashed").path
    tables = [pl.read_csv(path / "manifest.csv").sort("key") for path in (plain, hidden)]
    assert tables[0]["sha256"].to_list() == tables[1]["sha256"].to_list()
    text = (hidden / "manifest.csv").read_text() + (hidden / "export.json").read_text()
    assert not [name for name in ("colour", "camera", "grey", "stack", "ct.dcm") if name in text]
    slices = tables[1].filter(tables[0]["source"] == "stack.npy")
    assert slices["source"].n_unique() == 1
    assert slices["id"].n_unique() == 3


def test_hashed_names_of_composites_hide_their_frames(composed: Path, tmp_path: Path) -> None:
    made = export(composed, "folder", out=tmp_path / "hidden", names="hashed")
    table = pl.read_csv(made.path / "manifest.csv")
    names = [name for sources in table["sources"] for name in json.loads(sources)]
    assert len(names) == 12
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)
    assert table["id"].str.starts_with("composite").all()


@pytest.mark.parametrize("format", ["symlinks", "csv"])
def test_what_leads_to_the_originals_cannot_hide_their_names(format: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot hide their names; pass --format folder"):
        export(run, format, method="full", out=tmp_path / "out", names="hashed")


def test_no_cell_of_the_manifest_is_a_formula(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_corpus(4)
    names = ["=HYPERLINK(1).png", "+1.png", "-1.png", "@SUM.png"]
    for path, name in zip(sorted(folder.iterdir()), names, strict=True):
        path.rename(folder / name)
    Pipeline(make_recipe(recipe(folder, folder, tmp_path / "run", methods=["full"]))).until("select")
    table = pl.read_csv(export(tmp_path / "run", "folder").path / "manifest.csv")
    assert sorted(table["id"]) == sorted(f"'{name}" for name in names)
    assert sorted(table["source"]) == sorted(f"'{name}" for name in names)


def test_a_run_on_a_read_only_disk_is_exported(
    make_corpus: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    folder = make_corpus(8)
    values = recipe(folder, folder, root, methods=["random"], budget=0.5)
    Pipeline(make_recipe(values)).until("select")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    def guard(original: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def guarded(path: Any, *rest: Any, **named: Any) -> Any:
            is_below = isinstance(path, (str, os.PathLike)) and Path(os.fspath(path)).is_relative_to(root)
            if is_below and writes(*rest, **named):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return original(path, *rest, **named)

        return guarded

    def is_for_writing(mode: str = "r", *_: object, **__: object) -> bool:
        return bool(set(mode) & set("wax+"))

    def has_writing_flags(flags: int, *_: object, **__: object) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    monkeypatch.setattr(io, "open", guard(io.open, is_for_writing))
    monkeypatch.setattr(builtins, "open", guard(builtins.open, is_for_writing))
    monkeypatch.setattr(os, "open", guard(os.open, has_writing_flags))
    for name in ("mkdir", "unlink", "rename", "replace"):
        monkeypatch.setattr(os, name, guard(getattr(os, name), lambda *_, **__: True))
    allowed = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode, **named: (
            allowed(path, mode, **named) and not (mode & os.W_OK and Path(path).is_relative_to(root))
        ),
    )
    with pytest.raises(OSError, match="Read-only"):
        (root / "new").write_bytes(b"")

    written = export(root, "folder", out=tmp_path / "out").path
    assert len(list((written / "images").iterdir())) == 4
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
