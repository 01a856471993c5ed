"""Every reader gives the pixels another library gives, or refuses with a reason."""

import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from skimage import io

from optidel.corpus.decode import DecodeOptions, fit, read_frame, read_nifti, reader_for, to_image
from optidel.errors import InputError

COLOUR = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
def test_lossless_rasters(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(COLOUR).save(path, **({"lossless": True} if ending == "webp" else {}))
    pixels = read_frame(path, "")
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(to_image(pixels), COLOUR)


def test_jpeg_as_scikit_image_reads_it(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.JPG", quality=90)
    np.testing.assert_array_equal(to_image(read_frame(tmp_path / "a.JPG", "")), io.imread(tmp_path / "a.JPG"))


def test_sixteen_bits_are_not_turned_white(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    pixels = read_frame(tmp_path / "a.png", "")
    assert pixels.shape == (20, 30, 1)
    np.testing.assert_allclose(pixels[..., 0], grey / 65535, atol=1e-6)


def test_rotation_tag_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(to_image(read_frame(tmp_path / "a.png", "")), np.rot90(COLOUR, -1))


def test_palette_and_alpha_become_colour(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).quantize(8).save(tmp_path / "p.png")
    np.testing.assert_array_equal(to_image(read_frame(tmp_path / "p.png", "")), np.asarray(Image.open(tmp_path / "p.png").convert("RGB")))
    Image.fromarray(np.dstack([COLOUR, np.full((20, 30), 7, np.uint8)])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(to_image(read_frame(tmp_path / "a.png", "")), COLOUR)


def test_nifti_slices_follow_the_anatomy(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(1, 100, (10, 12, 14)).astype(np.float32)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])  # stored left to right
    nib.save(nib.Nifti1Image(volume, affine), tmp_path / "v.nii.gz")
    frames = {
        frame.locator: frame.pixels for frame in read_nifti(tmp_path / "v.nii.gz", DecodeOptions(axes=("axial", "coronal", "sagittal")))
    }
    assert len(frames) == 10 + 12 + 14
    canonical = volume[::-1]
    low, high = 0.0, np.percentile(volume, 99.5)
    expected = ((canonical[:, :, 3] - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(frames["axial:3"][..., 0], expected.T[::-1], atol=1e-6)  # anterior up
    assert frames["coronal:0"].shape == (14, 10, 1)
    assert frames["sagittal:0"].shape == (14, 12, 1)
    np.testing.assert_array_equal(read_frame(tmp_path / "v.nii.gz", "axial:3"), frames["axial:3"])


def test_volumes_that_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9, 2), np.float32), np.eye(4)), tmp_path / "four.nii")
    nib.save(nib.Nifti1Image(np.full((9, 9, 9), np.nan, np.float32), np.eye(4)), tmp_path / "nan.nii")
    with pytest.raises(InputError, match="only 3-D"):
        next(read_nifti(tmp_path / "four.nii", DecodeOptions()))
    with pytest.raises(InputError, match="not finite"):
        next(read_nifti(tmp_path / "nan.nii", DecodeOptions()))


def test_empty_volume_is_black(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)), tmp_path / "zero.nii")
    assert next(read_nifti(tmp_path / "zero.nii", DecodeOptions())).pixels.max() == 0


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def test_declared_size_is_checked_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_that_declares(30_000, 30_000))
    (tmp_path / "large.png").write_bytes(png_that_declares(12_000, 9_000))
    with pytest.raises(InputError, match="limit of 100 megapixels"):
        read_frame(tmp_path / "bomb.png", "")
    with pytest.raises(InputError, match="12000 x 9000"):
        read_frame(tmp_path / "large.png", "")
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(InputError, match="smaller than 8 px"):
        read_frame(tmp_path / "dot.png", "")


def test_float_raster_is_refused_not_guessed(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((20, 20)).astype(np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match="no stated intensity range"):
        read_frame(tmp_path / "f.tif", "")


def test_unknown_and_missing(tmp_path: Path) -> None:
    assert reader_for(tmp_path / "notes.txt") is None
    with pytest.raises(InputError, match="is gone"):
        read_frame(tmp_path / "gone.png", "")


def test_fit_stretches_with_antialiasing() -> None:
    board = np.indices((64, 96)).sum(0) % 2 * 255
    small = fit(np.repeat(board[..., None], 3, 2).astype(np.uint8), 16)
    assert small.shape == (16, 16, 3)
    assert abs(int(small.mean()) - 127) < 3
    assert small.std() < 12
