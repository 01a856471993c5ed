"""DICOM series as volumes: SimpleITK puts the same files in order, and NIfTI of the same voxels is cut
alike.
"""

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
