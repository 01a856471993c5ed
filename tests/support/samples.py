"""Small valid files of every format, as bytes: what the fuzz test mutates, and what tests of other rooms put
into archives.
"""

import gzip
import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import imagecodecs
import nibabel as nib
import numpy as np
import SimpleITK
import skimage
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

SKIMAGE = Path(skimage.__file__).parent / "data"

DICOM = (
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_2frame.dcm",
    "image_dfl.dcm",
)
"""Files of pydicom's own tests, under 10 kB each, of the transfer syntaxes that differ."""


ALIASES = {
    **dict.fromkeys((".3gp", ".m4v"), ".mp4"),
    **dict.fromkeys((".dicom", ".ima"), ".dcm"),
    **dict.fromkeys((".hdr", ".img"), ".nii"),  # in two files; test_nifti_pair has their own
    **dict.fromkeys((".j2c", ".j2k", ".jpf", ".jpx"), ".jp2"),
    **dict.fromkeys((".m2ts", ".mts"), ".ts"),
    **dict.fromkeys((".mpeg", ".vob"), ".mpg"),
    ".asf": ".wmv",
    ".jpeg": ".jpg",
    ".mhd": ".mha",
    ".nhdr": ".nrrd",
    ".tiff": ".tif",
}
"""Endings that share a sample, to the one under which it stands."""


def dicom_file(name: str) -> Path:
    """A file of pydicom's tests or of pydicom-data; nothing is downloaded."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} is in neither package"
    return Path(path)


def tissue(height: int = 24, width: int = 32) -> np.ndarray:
    """A piece of the astronaut, u8 (h, w, 3)."""
    return np.asarray(Image.open(SKIMAGE / "astronaut.png").convert("RGB"))[
        100 : 100 + height, 200 : 200 + width
    ].copy()


def encoded(save: Callable[[io.BytesIO], object]) -> bytes:
    """What ``save`` writes."""
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def video(
    container: str, codec: str, frames: list[np.ndarray], rate: int = 10, pixels: str = "yuv420p"
) -> bytes:
    """A video of u8 (h, w, 3) frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    return buffer.getvalue()


def written(image: SimpleITK.Image, ending: str, compress: bool) -> bytes:
    """A file of SimpleITK, which writes to disk only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        SimpleITK.WriteImage(image, str(path), compress)
        return path.read_bytes()


@cache
def samples() -> dict[str, list[bytes]]:
    """Ending to one or more files, each of which decodes to at least one frame."""
    colour = tissue()
    picture, grey = Image.fromarray(colour), Image.fromarray(colour[..., 1])
    deep = colour[..., 1].astype(np.uint16) * 257
    others = [Image.fromarray(np.roll(colour, shift, axis=1)) for shift in (5, 10)]
    volume = np.random.default_rng(0).integers(0, 900, (12, 10, 9)).astype(np.int16)
    nifti = nib.Nifti1Image(volume, np.diag([-1.0, 1.0, 1.0, 1.0])).to_bytes()
    clip = [np.roll(tissue(32, 48), 4 * shift, axis=1) for shift in range(12)]

    itk = SimpleITK.GetImageFromArray(volume)

    def npz(out: io.BytesIO) -> None:
        np.savez_compressed(out, images=np.stack([colour, colour[::-1]]), labels=np.array([0, 1]))

    return {
        ".jpg": [
            encoded(lambda out: picture.save(out, "JPEG")),
            encoded(lambda out: grey.save(out, "JPEG", progressive=True)),
        ],
        ".png": [
            encoded(lambda out: picture.save(out, "PNG")),
            encoded(lambda out: picture.quantize(8).save(out, "PNG")),
            encoded(lambda out: grey.convert("1").save(out, "PNG")),
            imagecodecs.png_encode(np.dstack([deep] * 3)),
        ],
        ".bmp": [encoded(lambda out: picture.save(out, "BMP"))],
        ".webp": [
            encoded(lambda out: picture.save(out, "WEBP", lossless=True)),
            encoded(lambda out: picture.save(out, "WEBP")),
        ],
        ".gif": [
            encoded(lambda out: picture.save(out, "GIF", save_all=True, append_images=others, duration=40))
        ],
        ".tif": [
            encoded(lambda out: tifffile.imwrite(out, colour, photometric="rgb", compression="zlib")),
            encoded(
                lambda out: tifffile.imwrite(
                    out, np.stack([deep, deep[::-1]]), photometric="minisblack", tile=(16, 16)
                )
            ),
            encoded(lambda out: tifffile.imwrite(out, deep.astype(np.float32) / 7, compression="lzw")),
        ],
        ".dcm": [dicom_file(name).read_bytes() for name in DICOM],
        ".nii": [nifti],
        ".nii.gz": [gzip.compress(nifti, mtime=0)],
        ".npy": [encoded(lambda out: np.save(out, colour)), encoded(lambda out: np.save(out, volume))],
        ".npz": [encoded(npz)],
        ".nrrd": [written(itk, ".nrrd", compress) for compress in (False, True)],
        ".mha": [written(itk, ".mha", compress) for compress in (False, True)],
        ".jp2": [imagecodecs.jpeg2k_encode(colour, level=0), imagecodecs.jpeg2k_encode(deep, level=0)],
        ".mp4": [video("mp4", "libx264", clip)],
        ".mov": [video("mov", "mpeg4", clip)],
        ".avi": [video("avi", "mjpeg", clip, pixels="yuvj420p")],
        ".mkv": [video("matroska", "ffv1", clip, pixels="bgr0")],
        ".webm": [video("webm", "libvpx", clip)],
        ".mpg": [video("mpeg", "mpeg2video", clip, rate=25)],
        ".ts": [video("mpegts", "libx264", clip)],
        ".wmv": [video("asf", "msmpeg4v3", clip)],
        ".ogv": [video("ogg", "libvpx", clip)],
    }
