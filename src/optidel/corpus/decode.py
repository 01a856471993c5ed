"""Decoders: one file to its frames. A new format is one function and one line in ``READERS``."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from optidel.arrays import Image, Pixels
from optidel.errors import InputError

MAX_PIXELS = 100_000_000
"""Frames that declare more pixels than this are refused before a byte of them is decoded (a decompression bomb or a whole slide)."""

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One frame of a file: ``locator`` in the file (empty for single images) and float32 pixels (h, w, c) in [0, 1], c 1 or 3."""

    locator: str
    pixels: Pixels
    modality: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """``axes``: which slices of a volume become frames. Its intensity rule: 0.5 and 99.5 percentiles of the volume's non-zero voxels."""

    axes: tuple[str, ...] = ("axial",)


Reader = Callable[[Path, DecodeOptions], Iterator[Decoded]]


def read_raster(path: Path, options: DecodeOptions) -> Iterator[Decoded]:
    """JPEG, PNG, BMP, TIFF, WebP (first page); EXIF rotation applied; intensities divided by the bit depth's maximum."""
    del options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)  # our own limit follows
        try:
            image = PillowImage.open(path)
        except UnidentifiedImageError:
            raise InputError(f"is no image, though its ending is {path.suffix!r}") from None
        except PillowImage.DecompressionBombError:
            raise InputError(f"declares more pixels than the limit of {MAX_PIXELS // 1_000_000} megapixels") from None
    with image:
        _check_size(image.width, image.height)
        yield Decoded(locator="", pixels=_to_pixels(image), modality=None)


def _to_pixels(image: PillowImage.Image) -> Pixels:
    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("I;16", "I;16B", "I;16L", "I"):
        return (np.asarray(turned, dtype=np.float32) / 65535.0).clip(0, 1)[..., None]
    if turned.mode == "F":
        raise InputError("32-bit float raster has no stated intensity range")
    if turned.mode in ("1", "L"):
        return np.asarray(turned.convert("L"), dtype=np.float32)[..., None] / np.float32(255)
    return np.asarray(turned.convert("RGB"), dtype=np.float32) / np.float32(255)


def read_nifti(path: Path, options: DecodeOptions) -> Iterator[Decoded]:
    """NIfTI volumes as slices, in RAS+ orientation, each turned so that superior, or anterior, is up."""
    volume = nib.as_closest_canonical(nib.load(path))
    if len(volume.shape) != 3:
        raise InputError(f"NIfTI with shape {volume.shape}; only 3-D volumes are read")
    _check_size(*sorted(volume.shape)[1:])
    voxels = np.asarray(volume.dataobj, dtype=np.float32)
    if not np.isfinite(voxels).all():
        raise InputError("NIfTI volume holds voxels that are not finite")
    low, high = _window(voxels)
    for name in options.axes:
        axis = AXES[name]
        for position in range(voxels.shape[axis]):
            plane = np.rot90(np.take(voxels, position, axis=axis))
            pixels = ((plane - low) / (high - low)).clip(0, 1).astype(np.float32)
            yield Decoded(locator=f"{name}:{position}", pixels=np.ascontiguousarray(pixels)[..., None], modality=None)


def _window(voxels: np.ndarray[Any, Any]) -> tuple[float, float]:
    inside = voxels[voxels != 0]
    if inside.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(inside, [0.5, 99.5])
    low = min(float(low), 0.0) if voxels.min() >= 0 else float(low)
    return low, max(float(high), low + 1e-6)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"declares {width} x {height} px, more than the limit of {MAX_PIXELS // 1_000_000} megapixels")
    if min(width, height) < 8:
        raise InputError(f"is {width} x {height} px, smaller than 8 px on a side")


RASTER = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
READERS: dict[str, Reader] = {**dict.fromkeys(RASTER, read_raster), ".nii": read_nifti, ".nii.gz": read_nifti}


def reader_for(path: Path) -> Reader | None:
    """The reader of a file by its ending; None where the ending is unknown."""
    name = path.name.lower()
    return READERS.get(".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower())


@lru_cache(maxsize=2)
def _volume(path: Path, modified: int, axes: tuple[str, ...]) -> dict[str, Pixels]:
    del modified  # part of the key only: a file that changed is read again
    return {decoded.locator: decoded.pixels for decoded in read_nifti(path, DecodeOptions(axes=axes))}


def read_frame(path: Path, locator: str) -> Pixels:
    """One frame again, float32 (h, w, c) in [0, 1].

    Raises:
        InputError: the file is gone or is no longer what was indexed.
    """
    reader = reader_for(path)
    if reader is None or not path.exists():
        raise InputError(f"{path} is gone or has no known reader; index the corpus again")
    if not locator:
        return next(reader(path, DecodeOptions())).pixels
    axis = locator.partition(":")[0]
    return _volume(path, path.stat().st_mtime_ns, (axis,))[locator]


def to_image(pixels: Pixels) -> Image:
    """Float32 (h, w, 1 or 3) in [0, 1] to u8 (h, w, 3)."""
    quantised = np.round(pixels * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(quantised, (*quantised.shape[:2], 3)))


def fit(image: Image, size: int) -> Image:
    """Stretch u8 (h, w, 3) to (size, size, 3) with antialiasing."""
    return np.asarray(PillowImage.fromarray(image).resize((size, size), PillowImage.Resampling.BILINEAR))
