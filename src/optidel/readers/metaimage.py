"""MetaImage: ``.mha``, and ``.mhd`` with its values in a second file beside it.

Rule as for NIfTI. Source: the format's description in ITK (MetaIO), whose axes are LPS.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from optidel.errors import InputError
from optidel.readers.decoded import Decoded, DecodeOptions, check_bytes
from optidel.readers.itk import ITK_LPS, frames_of, whole_numbers
from optidel.readers.source import Source
from optidel.readers.volume import raw_values

TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_ULONG": "u4",
    "MET_LONG": "i4",
    "MET_ULONG_LONG": "u8",
    "MET_LONG_LONG": "i8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

HEADER = 1 << 16
"""Bytes of the longest header that is read; ITK's have under a thousand."""


def read_metaimage(
    source: Source, options: DecodeOptions, locators: Collection[str] | None
) -> Iterator[Decoded]:
    """A plane as one frame, a volume as slices ``axial:57``."""
    header, start = _header(source)
    sizes = whole_numbers(header.get("dimsize", ""), "DimSize")
    channels = whole_numbers(header.get("elementnumberofchannels", "1"), "ElementNumberOfChannels")[0]
    code = TYPES.get(header.get("elementtype", "").upper().removesuffix("_ARRAY"))
    if code is None:
        raise InputError("has an ElementType that images do not use")
    if len(sizes) not in (2, 3, 4) or min(*sizes, channels) < 1:
        raise InputError(f"has the size {sizes}; planes, volumes and series of volumes are read")
    # Two names of one key; where neither is given, Intel's order.
    is_big = "true" in (
        header.get("binarydatabyteordermsb", "").lower(),
        header.get("elementbyteordermsb", "").lower(),
    )
    kind = np.dtype((">" if is_big else "<") + code)
    shape = (channels, *sizes[:3])
    check_bytes(int(np.prod([int(side) for side in shape], dtype=object)) * max(kind.itemsize, 4))

    data = _data(source, header, start, int(np.prod(shape)) * kind.itemsize)
    values = raw_values(data, kind, shape)
    count = sizes[3] if len(sizes) == 4 else 1
    yield from frames_of(values, _affine(header, len(sizes)), count, options, locators)


def _header(source: Source) -> tuple[Mapping[str, str], int]:
    """Keys in lower case to values, and where the header ends: with the line that says where the values
    are.
    """
    header: dict[str, str] = {}
    with source.open() as stream:
        head = stream.read(HEADER)
    position = 0
    while position < len(head) and "elementdatafile" not in header:
        end = head.find(b"\n", position)
        end = len(head) if end < 0 else end
        name, mark, value = head[position:end].decode("latin-1").partition("=")
        # Every line of a header is KEY = VALUE; anything else is not one.
        if not mark and name.strip():
            raise InputError("is no MetaImage, or its header is damaged")
        header[name.strip().lower()] = value.strip()
        position = end + 1
    if "elementdatafile" not in header:
        raise InputError("is no MetaImage: its header does not say where the values are")
    return header, position


def _data(source: Source, header: Mapping[str, str], start: int, count: int) -> bytes:
    """At least the first ``count`` bytes of values, unpacked."""
    if header.get("binarydata", "true").lower() == "false":
        raise InputError("holds its values as text; save it as binary")
    name = header["elementdatafile"]
    if name.upper() == "LIST" or "%" in name:
        raise InputError("spreads its values over several files; save it as .mha")
    file = source
    if name.upper() != "LOCAL":
        file, start = source.sibling(name), 0
    # Compression is that of zlib, over all values at once.
    packed = header.get("compresseddata", "false").lower() == "true"
    skip = whole_numbers(header.get("headersize", "0"), "HeaderSize")[0]
    # -1: the values are the last bytes of the file, whatever stands before them.
    if skip < 0:
        start = max(0, file.size - count)
    with file.open() as stream:
        stream.seek(start + max(skip, 0))
        if not packed:
            return stream.read(count)
        try:
            return zlib.decompressobj().decompress(stream.read(), count)
        except zlib.error:
            raise InputError("is damaged: its values cannot be unpacked") from None


def _affine(header: Mapping[str, str], dimensions: int) -> np.ndarray[Any, Any]:
    """Voxel indices to directions, RAS+; only signs and axes matter here."""
    affine = np.eye(4)
    for name in ("transformmatrix", "orientation", "rotation"):
        if name in header and dimensions == 3:
            try:
                matrix = np.array([float(value) for value in header[name].split()])
            except ValueError:
                raise InputError(f"has no numbers as {name}") from None
            if matrix.size != 9:
                raise InputError(f"has a {name} of {matrix.size} numbers, not of 9")
            affine[:3, :3] = matrix.reshape(3, 3).T  # one row an axis
            break
    return ITK_LPS @ affine
