"""DICOM series as volumes: SimpleITK puts the same files in order, and NIfTI of the same voxels is cut
alike.
"""

import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.uid import CTImageStorage, MRImageStorage
from samples import encoded
from test_dicom import made

import optidel
from optidel.corpus.belonging import Resolver
from optidel.corpus.options import IndexOptions
from optidel.readers import DecodeOptions
from optidel.readers import series as rooms
from optidel.readers.dicom import read_dicom
from optidel.readers.series import series_of
from optidel.readers.source import SIGN_OF_LIFE, Source
from optidel.records import Frame

SHAPE = (12, 20, 16)  # slices, rows, columns
ALL = ("axial", "coronal", "sagittal")
ORIENTATIONS = {
    "axial": ([1, 0, 0, 0, 1, 0], [0, 0, 1]),
    "coronal": ([1, 0, 0, 0, 0, -1], [0, 1, 0]),
    "sagittal": ([0, 1, 0, 0, 0, -1], [-1, 0, 0]),
}


def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.int16)


def series(
    folder: Path, values: np.ndarray, plane: str = "axial", skip: tuple[int, ...] = (), **extra: object
) -> Path:
    """One file a slice, named in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    orientation, normal = ORIENTATIONS[plane]
    names = np.random.default_rng(1).permutation(len(values))
    for i, slice_ in enumerate(values):
        if i in skip:
            continue
        data = made(
            slice_,
            Modality="MR",
            ImageOrientationPatient=orientation,
            ImagePositionPatient=[10 + 2.5 * i * part for part in normal],
            PixelSpacing=[1.5, 1.25],
            SOPInstanceUID=f"1.2.3.{i + 1}",
            SOPClassUID=MRImageStorage,
            **extra,
        )
        (folder / f"{names[i]:02}.dcm").write_bytes(data)
    return folder


def planes(folder: Path, axes: tuple[str, ...] = ALL, **options: object) -> dict[str, np.ndarray]:
    corpus = optidel.index(folder, axes=axes, **options)
    assert not corpus.rejected
    return {frame.id.partition("#")[2] or frame.id: corpus.pixels(i) for i, frame in enumerate(corpus.frames)}


@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_planes_across_are_those_of_simple_itk_in_nifti(tmp_path: Path, plane: str) -> None:
    values = voxels()
    folder = series(tmp_path / "dicom", values, plane)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    (tmp_path / "nifti").mkdir()
    SimpleITK.WriteImage(reader.Execute(), str(tmp_path / "nifti" / "a.nii.gz"))
    expected = planes(tmp_path / "nifti")
    across = planes(folder)
    names = [name for name in expected if not name.startswith(plane)]
    assert set(names) == {name for name in across if ":" in name}
    for name in names:
        np.testing.assert_allclose(across[name], expected[name], atol=1e-6)
    files = [name for name in across if ":" not in name]
    assert len(files) == SHAPE[0]  # the slices themselves, one a file


def test_only_the_planes_that_are_asked_for(tmp_path: Path) -> None:
    folder = series(tmp_path, voxels())
    assert len(planes(folder, ("axial",))) == SHAPE[0]
    coronal = optidel.index(folder, axes=("coronal",))
    assert [frame.locator for frame in coronal.frames] == [f"coronal:{i}" for i in range(SHAPE[1])]
    assert not coronal.rejected
    assert {frame.source for frame in coronal.frames} == {
        next(path.name for path in folder.iterdir() if dcmread(path).ImagePositionPatient[2] == 10)
    }
    assert {frame.modality for frame in coronal.frames} == {"MR"}
    assert coronal.frames[0].group is not None or coronal.frames[0].series


def test_a_missing_and_a_doubled_slice_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = voxels()
    folder = series(tmp_path / "missing", values, skip=(4,))
    rules = {frame.rule for frame in optidel.index(folder, axes=("coronal",)).frames}
    assert rules == {"percentiles 0.5-99.5, 1 slice missing, the nearest shown instead"}
    assert "index: 1 DICOM series lack slices or hold some twice" in capsys.readouterr().err
    whole = planes(series(tmp_path / "whole", values), ("coronal",))
    assert "twice" not in capsys.readouterr().err
    gap = planes(folder, ("coronal",))
    assert whole.keys() == gap.keys()  # a missing slice moves no other

    folder = series(tmp_path / "doubled", values)
    copy = next(iter(sorted(folder.iterdir())))
    data = dcmread(copy)
    data.SOPInstanceUID = "1.2.3.99"
    data.InstanceNumber = 99
    (folder / "zz.dcm").write_bytes(encoded(lambda out: data.save_as(out)))
    rules = {frame.rule for frame in optidel.index(folder, axes=("coronal",)).frames}
    assert rules == {"percentiles 0.5-99.5, 1 slice doubled, the first of a place shown"}


def test_a_ct_gets_its_window_and_that_of_the_recipe(tmp_path: Path) -> None:
    values = (voxels() - 400).astype(np.int16)
    ct = {"Modality": "CT", "SOPClassUID": CTImageStorage, "RescaleSlope": 1, "RescaleIntercept": 0}
    folder = tmp_path / "ct"
    folder.mkdir()
    for i, slice_ in enumerate(values):
        data = made(slice_, ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, i], **ct)
        (folder / f"{i}.dcm").write_bytes(data)
    coronal = planes(folder, ("coronal",))
    image = nib.Nifti1Image(values.transpose(2, 1, 0)[::-1, ::-1], np.eye(4))
    oriented = np.asarray(image.dataobj)
    for i in range(SHAPE[1]):
        expected = ((oriented[:, i].T[::-1] + 160) / 400).clip(0, 1)
        np.testing.assert_allclose(coronal[f"coronal:{i}"][..., 0], expected, atol=1e-6)
    lung = planes(folder, ("coronal",), window="lung")
    assert not np.array_equal(lung["coronal:3"], coronal["coronal:3"])


def test_slices_of_different_scales_are_shown_as_each_is_by_itself(tmp_path: Path) -> None:
    values = voxels()
    for i, slice_ in enumerate(values):
        data = made(
            slice_,
            Modality="MR",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, i],
            RescaleSlope=1 + i,
            RescaleIntercept=0,
            WindowCenter=450 * (1 + i),
            WindowWidth=900 * (1 + i),
        )
        (tmp_path / f"{i:02}.dcm").write_bytes(data)
    coronal = planes(tmp_path, ("coronal",))
    expected = ((values[:, ::-1, ::-1] - 0) / 900.0).clip(0, 1)
    for i in range(SHAPE[1]):
        np.testing.assert_allclose(coronal[f"coronal:{i}"][..., 0], expected[::-1, i], atol=2e-3)


def test_files_that_are_no_volume_stay_what_they_are(tmp_path: Path) -> None:
    few = series(tmp_path / "few", voxels()[:3])
    assert len(planes(few)) == 3
    for i in range(12):  # without positions
        (tmp_path / "few" / f"plain{i}.dcm").write_bytes(made(voxels()[i], SeriesInstanceUID="1.2.77"))
    assert len(planes(few)) == 15


@pytest.mark.parametrize("count", [3, 12, 40])
def test_slices_without_a_window_share_one_scale(tmp_path: Path, count: int) -> None:
    """A slice at the edge of the head stays dim; a file of another series has no part in it."""
    rng = np.random.default_rng(0)
    tops = np.linspace(3000, 100, count)
    values = (rng.uniform(0.2, 1, (count, 20, 16)) * tops[:, None, None]).astype(np.uint16)
    for i, slice_ in enumerate(values):
        data = made(
            slice_,
            Modality="MR",
            SOPInstanceUID=f"1.2.3.{i + 1}",
            SeriesInstanceUID="1.2.8",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, i],
        )
        (tmp_path / f"{i:02}.dcm").write_bytes(data)
    (tmp_path / "zz.dcm").write_bytes(made(values[0] * 20, Modality="MR", SeriesInstanceUID="1.2.9"))
    corpus = optidel.index(tmp_path)
    frames = [corpus.pixels(i) for i in range(count)]
    used = values[:: max(1, count // 16)]
    high = np.percentile(used, 99.5)
    for pixels, slice_ in zip(frames, values, strict=True):
        np.testing.assert_allclose(pixels[..., 0], (slice_ / high).clip(0, 1), atol=2e-3)


def test_a_neighbour_whose_position_is_no_number_spoils_nothing(tmp_path: Path) -> None:
    folder = series(tmp_path, voxels())
    whole = planes(folder, ("coronal",))
    odd = dcmread(next(iter(folder.iterdir())))
    del odd.ImagePositionPatient
    odd.add_new(0x00200032, "LO", ["here", "there", "up"])
    (folder / "odd.dcm").write_bytes(encoded(lambda out: odd.save_as(out)))
    frames = planes(folder, ("coronal",))
    assert {name: frames[name].shape for name in whole} == {name: whole[name].shape for name in whole}
    assert set(frames) - set(whole) == {"odd.dcm"}


def packed(folder: Path, archive: Path) -> Path:
    """The files of a folder, below ``P1/``, in an archive that lists them from the last to the first."""
    files = sorted((path for path in folder.rglob("*.dcm")), reverse=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
            for path in files:
                target.write(path, f"P1/{path.relative_to(folder)}")
    else:
        with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as target:
            for path in files:
                target.add(path, f"P1/{path.relative_to(folder)}")
    return archive


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_a_series_in_an_archive_is_cut_like_the_same_files_in_a_folder(tmp_path: Path, ending: str) -> None:
    folder = series(tmp_path / "files", voxels(), skip=(4,))
    series(folder / "other", voxels()[::-1] // 2)  # of the same number, in a folder of its own
    (tmp_path / "packed").mkdir()
    packed(folder, tmp_path / "packed" / f"scan.{ending}")
    both = optidel.index(folder, axes=ALL), optidel.index(tmp_path / "packed", axes=ALL)
    prefix = f"scan.{ending}#P1/"
    plain, inside = (
        {frame.id.removeprefix(prefix): (i, frame.rule) for i, frame in enumerate(corpus.frames)}
        for corpus in both
    )
    assert plain.keys() == inside.keys()
    assert {name.partition("#")[2].partition(":")[0] for name in plain} == {"", "coronal", "sagittal"}
    for name, (i, rule) in plain.items():
        j, rule_inside = inside[name]
        assert rule == rule_inside
        np.testing.assert_array_equal(both[0].pixels(i), both[1].pixels(j))


def test_a_folder_of_more_than_5000_files_is_put_in_order(tmp_path: Path) -> None:
    signs: list[int] = []
    (one,) = series(tmp_path / "one", voxels()[:1]).iterdir()
    header = dcmread(one)
    header.ImagePositionPatient = [0, 0, 7777]
    data = encoded(lambda out: header.save_as(out))
    count = 5_100
    order = np.random.default_rng(0).permutation(count)
    for place, number in enumerate(order):
        slice_ = data.replace(b"0\\7777", f"0\\{place:04}".encode())
        (tmp_path / f"{number:04}.dcm").write_bytes(slice_)
    token = SIGN_OF_LIFE.set(lambda: signs.append(1))
    try:
        volume = series_of(Source(name="0000.dcm", path=tmp_path / "0000.dcm"))
    finally:
        SIGN_OF_LIFE.reset(token)
    assert volume is not None
    assert volume.names == tuple(f"{number:04}.dcm" for number in order)
    # So that the limit of seconds without a new frame is none for the folder as a whole.
    assert len(signs) >= count


def test_what_is_not_assembled_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = series(tmp_path, voxels())
    monkeypatch.setattr(rooms, "MAX_FILES", 11)
    source = Source(name="03.dcm", path=folder / "03.dcm")
    (by_itself,) = read_dicom(source, DecodeOptions(), None)
    (across,) = read_dicom(source, DecodeOptions(axes=("coronal",)), None)
    for frame in (by_itself, across):
        assert frame.rule == "percentiles 0.5-99.5, of a series among too many files to be assembled"

    resolver = Resolver(IndexOptions(), None)
    frame = Frame(
        id="03.dcm",
        source="03.dcm",
        locator="",
        height=20,
        width=16,
        channels=1,
        group=None,
        modality="MR",
        sha256="",
        flaw="",
        rule=by_itself.rule,
    )
    resolver.frames([frame])
    resolver.tell(1)
    assert "so no series is assembled of them" in capsys.readouterr().err
