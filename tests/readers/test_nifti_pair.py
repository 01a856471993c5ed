"""Volumes in two files, ``.hdr`` and ``.img``: nibabel writes and reads the same."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

import optidel

KINDS = {
    "nifti-1": nibabel.Nifti1Pair,
    "nifti-2": nibabel.Nifti2Pair,
    "analyze": nibabel.AnalyzeImage,
    "spm": nibabel.Spm2AnalyzeImage,
}


def voxels() -> np.ndarray:
    return np.random.default_rng(3).integers(1, 900, (20, 24, 5)).astype(np.int16)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_cut_as_the_same_volume_in_one_file(tmp_path: Path, kind: str) -> None:
    pair, single = tmp_path / "pair", tmp_path / "single"
    pair.mkdir()
    single.mkdir()
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    nibabel.save(KINDS[kind](voxels(), affine), pair / "brain.img")
    (pair / "brain.mat").unlink(missing_ok=True)  # SPM's transformation, which is not read
    # What nibabel reads of the pair is the reference.
    again = nibabel.load(pair / "brain.img")
    nibabel.save(nibabel.Nifti1Image(np.asarray(again.dataobj), again.affine), single / "brain.nii")
    one, two = optidel.index(pair), optidel.index(single)
    assert one.rejected == []
    assert [frame.locator for frame in one.frames] == [f"axial:{i}" for i in range(5)]
    for row in range(5):
        np.testing.assert_array_equal(one.pixels(row), two.pixels(row))


def test_big_endian_and_scaled_pairs_are_read(tmp_path: Path) -> None:
    header = nibabel.Nifti1Pair.header_class(endianness=">")
    header.set_data_dtype(np.int16)
    image = nibabel.Nifti1Pair(voxels() * 0.5, np.eye(4), header)
    nibabel.save(image, tmp_path / "a.hdr")
    assert (tmp_path / "a.hdr").read_bytes()[:4] == b"\0\0\x01\x5c"
    corpus = optidel.index(tmp_path)
    middle = corpus.pixels(2)[..., 0]
    expected = np.rot90(np.asarray(nibabel.load(tmp_path / "a.hdr").dataobj)[:, :, 2])
    order = np.argsort(expected, axis=None)
    assert (np.diff(middle.ravel()[order]) >= 0).all()
    assert corpus.rejected == []


@pytest.mark.parametrize(("name", "other"), [("brain.hdr", "brain.img"), ("brain.img", "brain.hdr")])
def test_half_a_pair_names_the_other_half(tmp_path: Path, name: str, other: str) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels(), np.eye(4)), tmp_path / "sound.nii")
    nibabel.save(nibabel.Nifti1Pair(voxels(), np.eye(4)), tmp_path / "brain.img")
    (tmp_path / other).unlink()
    (rejected,) = optidel.index(tmp_path).rejected
    assert rejected.source == name
    assert f"{other}, the other half, is not beside it" in rejected.reason


def test_cut_values_and_other_headers_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels(), np.eye(4)), tmp_path / "sound.nii")
    nibabel.save(nibabel.Nifti1Pair(voxels(), np.eye(4)), tmp_path / "cut.img")
    (tmp_path / "cut.img").write_bytes((tmp_path / "cut.img").read_bytes()[:100])
    (tmp_path / "radiance.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n")
    told = {item.source: item.reason for item in optidel.index(tmp_path).rejected}
    assert "is cut" in told["cut.hdr"]
    assert "does not begin with the header of an Analyze or NIfTI volume" in told["radiance.hdr"]
    assert len(told) == 2
