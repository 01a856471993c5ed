"""Frames again by their locators, in one pass; pixels to images."""

from pathlib import Path

import numpy as np
import pytest
from samples import dicom_file, samples

from optidel.errors import InputError
from optidel.readers import DecodeOptions, reader_for
from optidel.readers.decode import fit, read_frame, read_frames, to_image
from optidel.readers.source import Source


def test_one_frame_as_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(samples()[".png"][0])
    pixels = read_frame(tmp_path / "a.png", "")
    assert pixels.dtype == np.float32
    (frame,) = read_frames(Source(name="a.png", path=tmp_path / "a.png"), {""})
    np.testing.assert_array_equal(to_image(pixels), frame.image)


def test_one_pass_gives_the_frames_asked_for_and_no_other() -> None:
    source = Source(name="a.dcm", path=dicom_file("examples_ybr_color.dcm"))
    frames = list(read_frames(source, ["frame:9", "frame:2"]))
    assert [frame.locator for frame in frames] == ["frame:2", "frame:9"]
    np.testing.assert_array_equal(
        frames[1].pixels, read_frame(dicom_file("examples_ybr_color.dcm"), "frame:9")
    )


def test_members_of_an_archive_are_read_from_memory() -> None:
    (frame,) = read_frames(Source(name="inner/v.nii.gz", data=samples()[".nii.gz"][0]), {"axial:3"})
    assert frame.locator == "axial:3"


def test_a_volume_is_read_once_for_all_its_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v.nii.gz").write_bytes(samples()[".nii.gz"][0])
    whole = {frame.locator: frame for frame in read_all(tmp_path / "v.nii.gz")}
    first = read_frame(tmp_path / "v.nii.gz", "axial:3")
    monkeypatch.setattr("optidel.readers.nifti._volume", None)
    np.testing.assert_array_equal(first, whole["axial:3"].pixels)
    np.testing.assert_array_equal(read_frame(tmp_path / "v.nii.gz", "axial:4"), whole["axial:4"].pixels)


def read_all(path: Path) -> list:
    source = Source(name=path.name, path=path)
    reader = reader_for(source)
    assert reader
    return list(reader(source, DecodeOptions(), None))


def test_gone_changed_and_unknown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is gone; index the corpus again"):
        read_frame(tmp_path / "gone.png", "")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(InputError, match="no known reader"):
        read_frame(tmp_path / "a.txt", "")
    (tmp_path / "a.png").write_bytes(samples()[".png"][0])
    with pytest.raises(InputError, match="no longer holds frame:3"):
        read_frame(tmp_path / "a.png", "frame:3")


def test_fit_stretches_with_antialiasing() -> None:
    board = np.indices((64, 96)).sum(0) % 2 * 255
    small = fit(np.repeat(board[..., None], 3, 2).astype(np.uint8), 16)
    assert small.shape == (16, 16, 3)
    assert abs(int(small.mean()) - 127) < 3
    assert small.std() < 12


def test_to_image_rounds_and_repeats_grey() -> None:
    image = to_image(np.array([[[0.0], [0.5], [1.0]]], np.float32))
    assert image.tolist() == [[[0] * 3, [128] * 3, [255] * 3]]
