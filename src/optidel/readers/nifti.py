"""NIfTI-1 and NIfTI-2 volumes as slices.

Rule: percentiles over the whole volume, so its slices keep their contrast; colour volumes by bit depth.
Slices are in RAS+ orientation, each turned so that superior, or anterior, is up. Of a 4-D file the first
volume is read, and the rule says so.
"""

import gzip
import zlib
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np

from optidel.errors import InputError
from optidel.readers.decoded import (
    MIN_SIDE,
    Decoded,
    DecodeOptions,
    check_bytes,
    check_frames,
    check_size,
    percentile_rule,
)
from optidel.readers.source import Source

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}

SKIM = 1 << 29
"""Unpacked bytes behind the first volume that are read only for the checksum at their end."""

KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
"""Image class by the size of the header, which is the first number in the file."""


def read_nifti(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    """Slices ``axial:57`` along the axes asked for; planes narrower than 8 px (of a thin stack) are none."""
    with source.open() as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw as stream:
            voxels, low, high, rule = _volume(stream)
            if packed and wanted is None:
                _check_rest(stream)
    if wanted is None:
        names = [name for name in options.axes if min(_plane(voxels.shape, AXES[name])) >= MIN_SIDE]
        if not names:
            raise InputError(
                f"has only {' and '.join(options.axes)} planes narrower than {MIN_SIDE} px; name another axis"
            )
    else:
        names = [name for name in AXES if any(item.startswith(f"{name}:") for item in wanted)]
    for name in names:
        axis = AXES[name]
        for position in range(voxels.shape[axis]):
            locator = f"{name}:{position}"
            if wanted is None or locator in wanted:
                plane = np.ascontiguousarray(np.rot90(voxels.take(position, axis=axis)))
                yield Decoded(locator=locator, values=plane, low=low, high=high, rule=rule, modality=None)


def _check_rest(stream: BinaryIO) -> None:
    """Read on to the checksum, which is the last of a packed file; of a very long series it is not waited
    for.
    """
    left = SKIM
    try:
        while left > 0 and (block := stream.read(1 << 20)):
            left -= len(block)
    except (OSError, EOFError, zlib.error):
        raise InputError("is damaged: its checksum fails, or it is cut short") from None


def _plane(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    height, width = (side for other, side in enumerate(shape[:3]) if other != axis)
    return height, width


def _volume(stream: BinaryIO) -> tuple[np.ndarray[Any, Any], float, float, str]:
    """Voxels (x, y, z, c) as stored, in RAS+ order, and their rule in stored units."""
    start = stream.read(4)
    size = int.from_bytes(start, "little"), int.from_bytes(start, "big")
    kind = next((KINDS[number] for number in size if number in KINDS), None)
    if kind is None:
        raise InputError("does not begin with the header of a NIfTI file")
    stream.seek(0)
    try:
        image = kind.from_stream(stream)
    except Exception as error:  # nibabel raises anything on a damaged header
        raise InputError(f"has a NIfTI header that cannot be read ({type(error).__name__})") from None
    shape, count = image.shape, _volumes(image)
    stored = image.dataobj
    check_bytes(int(np.prod(shape[:3])) * max(stored.dtype.itemsize, 4))
    check_frames(max(shape[:3]))
    check_size(*max((_plane(shape, axis) for axis in range(3)), key=min))
    raw = _first(stream, stored, shape[:3])
    voxels = nib.orientations.apply_orientation(raw, nib.orientations.io_orientation(image.affine))
    slope, offset = float(stored.slope), float(stored.inter)
    if raw.ndim == 4:
        low, high, rule = 0.0, 255.0, "bit depth 8"
    else:
        outside = np.isnan(voxels) if voxels.dtype.kind == "f" else np.zeros(0, np.bool_)
        if outside.any() and not outside.all():  # resampling leaves NaN outside the field of view
            voxels = np.where(outside, voxels.dtype.type(0), voxels)
        low, high, rule = _limits(voxels, slope, offset)
        rule = f"{rule}, NaN is 0" if outside.any() else rule
        voxels = voxels[..., None]
    return voxels, low, high, rule if count == 1 else f"{rule}, first of {count} volumes"


def _volumes(image: Any) -> int:
    """Number of 3-D volumes; refuses what is no volume or series of volumes."""
    shape = image.shape
    if len(shape) < 3 or min(shape, default=0) < 1 or any(side > 1 for side in shape[4:]):
        raise InputError(f"NIfTI with shape {shape}; only volumes and series of volumes are read")
    if image.get_data_dtype().kind == "c":
        raise InputError("NIfTI of complex numbers; save the magnitude")
    return int(shape[3]) if len(shape) > 3 else 1


def _first(stream: BinaryIO, stored: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The first volume (x, y, z), or (x, y, z, 3) where voxels are colours, as stored; one read of exactly
    its bytes.
    """
    stream.seek(stored.offset)
    count = int(np.prod(shape)) * stored.dtype.itemsize
    data = stream.read(count)
    if len(data) < count:
        raise InputError(f"is cut: it declares {count} bytes of voxels and holds {len(data)}")
    voxels = np.frombuffer(data, stored.dtype).reshape(shape, order="F")
    if stored.dtype.fields:
        return np.stack([voxels[name] for name in "RGB"], axis=-1)
    return voxels.astype(stored.dtype.newbyteorder("="), copy=False)


def _limits(voxels: np.ndarray[Any, Any], slope: float, offset: float) -> tuple[float, float, str]:
    """Percentiles of the scaled voxels, in stored units: the scaling never has to be done."""
    if offset == 0 and slope > 0:
        return percentile_rule(voxels)
    low, high, rule = percentile_rule(voxels * np.float32(slope) + np.float32(offset))
    return (low - offset) / slope, (high - offset) / slope, rule
