"""NIfTI-1 and NIfTI-2 volumes as slices, see ``volume``.

Rule: one for the whole volume, a window where its values are HU, else percentiles; colour by bit depth. Of a
4-D file the first volume is read, and the rule says so.
"""

import gzip
import zlib
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np

from optidel.errors import InputError
from optidel.readers.decoded import Decoded, DecodeOptions, check_bytes
from optidel.readers.source import Source
from optidel.readers.volume import Volume, check_volume, grey_volume, oriented, raw_values, slices

SKIM = 1 << 29
"""Unpacked bytes behind the first volume that are read only for the checksum at their end: a second or
two.
"""

KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
"""Image class by the size of the header, which is the first number in the file."""


def read_nifti(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """Slices ``axial:57`` along the axes of the options."""
    with source.open() as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw as stream:
            volume = _volume(stream, options)
            if packed and locators is None:
                _check_rest(stream)
    yield from slices(volume, options, locators)


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


def _volume(stream: BinaryIO, options: DecodeOptions) -> Volume:
    image = _header(stream)
    shape, count = _shape(image)
    stored = image.dataobj
    check_bytes(int(np.prod(shape)) * max(stored.dtype.itemsize, 4))  # grey is scaled in float32
    check_volume(shape)
    voxels, note = oriented(_first(stream, stored, shape), image.affine)
    if count > 1:
        note += f", first of {count} volumes"
    if voxels.ndim == 4:
        return Volume(voxels=voxels, low=0.0, high=255.0, rule=f"bit depth 8{note}")
    slope, offset = float(stored.slope), float(stored.inter)
    return grey_volume(voxels, slope, offset, options, note)


def _header(stream: BinaryIO) -> Any:
    # The header begins with its own length, in the byte order of the file.
    start = stream.read(4)
    size = int.from_bytes(start, "little"), int.from_bytes(start, "big")
    kind = next((KINDS[number] for number in size if number in KINDS), None)
    if kind is None:
        raise InputError("does not begin with the header of a NIfTI file")
    stream.seek(0)
    try:
        return kind.from_stream(stream)
    except Exception as error:  # nibabel raises anything on a damaged header
        raise InputError(f"has a NIfTI header that cannot be read ({type(error).__name__})") from None


def _shape(image: Any) -> tuple[tuple[int, int, int], int]:
    """The shape of a volume, with a depth of 1 for a plane, and the number of volumes; refuses what is
    neither.
    """
    shape = tuple(int(side) for side in image.shape)
    if len(shape) < 2 or min(shape) < 1 or any(side > 1 for side in shape[4:]):
        raise InputError(f"NIfTI with shape {shape}; only planes, volumes and series of volumes are read")
    if image.get_data_dtype().kind == "c":
        raise InputError("NIfTI of complex numbers; save the magnitude")
    width, height, depth, count = (*shape, 1, 1)[:4]
    return (width, height, depth), count


def _first(stream: BinaryIO, stored: Any, shape: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """The first volume (x, y, z), or (x, y, z, 3) where voxels are colours, as stored; one read of exactly
    its bytes.
    """
    stream.seek(stored.offset)
    data = stream.read(int(np.prod(shape)) * stored.dtype.itemsize)
    voxels: np.ndarray[Any, Any] = raw_values(data, stored.dtype, shape)
    if stored.dtype.fields:
        return np.stack([voxels[name] for name in "RGB"], axis=-1)
    return voxels
