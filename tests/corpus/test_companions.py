"""A file that hangs on another of its folder is read again when that one changes."""

import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from pydicom.uid import MRImageStorage
from test_dicom import made
from test_incremental import TABLES, read, with_key

from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.store import Artifact, Store

__all__ = ["read"]


def grown(run: Path, folder: Path, options: IndexOptions | None = None) -> Artifact:
    """The index of a folder that changed, equal to one that was made at once."""
    store = Store(run)
    options = options or IndexOptions()
    later = index_step(store, folder, options)
    key = (store.root / ".group-key").read_bytes()
    # A new folder each time: an index of an earlier state in it would be taken over from.
    fresh = Path(tempfile.mkdtemp(dir=run.parent)) / "run"
    at_once = index_step(with_key(Store(fresh), key), folder, options)
    for name in TABLES:
        assert later.table(name).equals(at_once.table(name)), name
    return later


def save_volume(folder: Path, kind: str, seed: int) -> Path:
    """A volume in two files; the one that holds its values."""
    voxels = np.random.default_rng(seed).integers(1, 900, (5, 20, 24)).astype(np.int16)
    if kind == ".img":
        nibabel.save(nibabel.Nifti1Pair(voxels.T, np.eye(4)), folder / "a.img")
        return folder / "a.img"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(folder / f"a{kind}"))
    return folder / "a.raw"


@pytest.mark.parametrize("kind", [".mhd", ".nhdr", ".img"])
def test_new_values_behind_an_old_header_are_seen(tmp_path: Path, kind: str, read: list[str]) -> None:
    folder, other = tmp_path / "corpus", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / "elsewhere").mkdir()
    save_volume(folder / "elsewhere", kind, 3)
    values = save_volume(folder, kind, 0)
    first = index_step(Store(tmp_path / "run"), folder, IndexOptions())
    read.clear()
    header = (folder / "a.hdr" if kind == ".img" else folder / f"a{kind}").read_bytes()
    values.write_bytes(save_volume(other, kind, 1).read_bytes())
    assert header == (folder / "a.hdr" if kind == ".img" else folder / f"a{kind}").read_bytes()
    later = index_step(Store(tmp_path / "run"), folder, IndexOptions())
    assert sorted(read) == sorted({values.name, "a.hdr" if kind == ".img" else f"a{kind}"})
    assert later.content != first.content
    grown(tmp_path / "run", folder)


def test_new_values_behind_a_header_of_a_manifest_are_seen(tmp_path: Path) -> None:
    folder, other = tmp_path / "corpus", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    values = save_volume(folder, ".mhd", 0)
    (tmp_path / "list.csv").write_text("path\na.mhd\n")
    options = IndexOptions(manifest=str(tmp_path / "list.csv"))
    first = index_step(Store(tmp_path / "run"), folder, options)
    again = index_step(Store(tmp_path / "run"), folder, options)
    assert again.path == first.path
    values.write_bytes(save_volume(other, ".mhd", 1).read_bytes())
    assert grown(tmp_path / "run", folder, options).content != first.content


def write_slice(folder: Path, number: int, values: np.ndarray) -> None:
    data = made(
        values,
        Modality="MR",
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ImagePositionPatient=[0, 0, 2.5 * number],
        PixelSpacing=[1, 1],
        SOPInstanceUID=f"1.2.3.{number + 1}",
        SOPClassUID=MRImageStorage,
    )
    (folder / f"{number:02}.dcm").write_bytes(data)


@pytest.mark.parametrize("axes", [("axial",), ("axial", "coronal"), ("sagittal",)])
def test_slices_that_join_or_leave_a_series_are_seen(tmp_path: Path, axes: tuple[str, ...]) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        write_slice(folder, number, rng.integers(1, 900, (20, 16)).astype(np.int16))
    options = IndexOptions(axes=axes)
    first = grown(tmp_path / "run", folder, options)
    # Brighter: the slices that were there get another scale.
    for number in range(10, 13):
        write_slice(folder, number, rng.integers(1, 3000, (20, 16)).astype(np.int16))
    more = grown(tmp_path / "run", folder, options)
    assert more.content != first.content
    (folder / "00.dcm").unlink()
    fewer = grown(tmp_path / "run", folder, options)
    assert fewer.content != more.content


def test_a_new_slice_elsewhere_reads_nothing_again(tmp_path: Path, read: list[str]) -> None:
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / "corpus" / folder).mkdir(parents=True)
        for number in range(9):
            values = rng.integers(1, 900, (20, 16)).astype(np.int16)
            write_slice(tmp_path / "corpus" / folder, number, values)
    index_step(Store(tmp_path / "run"), tmp_path / "corpus", IndexOptions())
    read.clear()
    write_slice(tmp_path / "corpus" / "b", 9, rng.integers(1, 900, (20, 16)).astype(np.int16))
    index_step(Store(tmp_path / "run"), tmp_path / "corpus", IndexOptions())
    assert sorted(read) == [f"b/{number:02}.dcm" for number in range(10)]
