"""NRRD: ``.nrrd``, and ``.nhdr`` with its values in a second file beside it.

Rule as for NIfTI. Source: the format's definition, https://teem.sourceforge.net/nrrd/format.html.
"""

import bz2
import gzip
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from optidel.errors import InputError
from optidel.readers.decoded import Decoded, DecodeOptions, check_bytes
from optidel.readers.itk import ITK_LPS, frames_of, whole_numbers
from optidel.readers.source import Source
from optidel.readers.volume import raw_values

_NAMES = {
    "i1": "signed char, int8, int8_t, char",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
TYPES = {name: code for code, names in _NAMES.items() for name in names.split(", ")}

HEADER = 1 << 16
"""Bytes of the longest header that is read; key-value pairs of scanners fill a few thousand."""

SPATIAL = ("domain", "space")
COLOURS = ("rgb-color", "rgba-color", "3-color", "4-color")

RAS = ("right-anterior-superior", "ras", "right-anterior-superior-time", "rast")
LAS = ("left-anterior-superior", "las", "left-anterior-superior-time", "last")


def read_nrrd(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """A plane as one frame, a volume as slices ``axial:57``."""
    header, start = _header(source)
    sizes = whole_numbers(header.get("sizes", ""), "sizes")
    code = TYPES.get(header.get("type", "").lower())
    if code is None:
        raise InputError("has a type that images do not use")
    if min(sizes) < 1 or len(sizes) > 5:
        raise InputError(f"has sizes {sizes}; planes, volumes and series of volumes are read")
    kind = np.dtype((">" if header.get("endian", "little").lower() == "big" else "<") + code)
    check_bytes(int(np.prod([int(side) for side in sizes], dtype=object)) * max(kind.itemsize, 4))

    data = _data(source, header, start, int(np.prod(sizes)) * kind.itemsize)
    values, count = _arranged(raw_values(data, kind, tuple(sizes)), header)
    yield from frames_of(values, _affine(header), count, options, locators)


def _header(source: Source) -> tuple[Mapping[str, str], int]:
    """Fields in lower case to values, and where the header ends: with an empty line."""
    with source.open() as stream:
        head = stream.read(HEADER)
    if not head.startswith(b"NRRD000"):
        raise InputError("does not begin with the header of a NRRD file")
    end = re.search(rb"\r?\n\r?\n", head)
    # A detached header ends with its file.
    text = head[: end.start()] if end else head
    fields = {}
    for line in text.decode("latin-1").splitlines()[1:]:
        name, mark, value = line.partition(": ")
        # Lines with := are the writer's own keys, those with # comments.
        if mark and not line.startswith("#") and ":=" not in line:
            fields[name.strip().lower()] = value.strip()
    return fields, end.end() if end else len(head)


def _data(source: Source, header: Mapping[str, str], start: int, count: int) -> bytes:
    """At least the first ``count`` bytes of values, unpacked."""
    name = header.get("data file", header.get("datafile", ""))
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError("spreads its values over several files; save it as one .nrrd")
    file = source
    if name:
        file, start = source.sibling(name.removeprefix("./")), 0
    encoding = header.get("encoding", "").lower()
    skip = whole_numbers(header.get("byte skip", header.get("byteskip", "0")), "byte skip")[0]
    lines = whole_numbers(header.get("line skip", header.get("lineskip", "0")), "line skip")[0]
    with file.open() as stream:
        # -1: the values are the last bytes of the file, whatever stands before them.
        if skip == -1 and encoding == "raw":
            start, skip = max(0, file.size - count), 0
        stream.seek(start)
        for _ in range(min(lines, HEADER)):
            stream.readline(HEADER)
        try:
            unpacked = _unpacked(stream, encoding)
            unpacked.read(max(skip, 0))
            data: bytes = unpacked.read(count)
            return data
        except (OSError, EOFError, zlib.error):
            raise InputError("is damaged: its values cannot be unpacked") from None


def _unpacked(stream: BinaryIO, encoding: str) -> Any:
    if encoding == "raw":
        return stream
    if encoding in ("gzip", "gz"):
        return gzip.GzipFile(fileobj=stream)
    if encoding in ("bzip2", "bz2"):
        return bz2.BZ2File(stream)
    raise InputError("holds its values as text; save it with the encoding raw or gzip")


def _arranged(values: np.ndarray[Any, Any], header: Mapping[str, str]) -> tuple[np.ndarray[Any, Any], int]:
    """Values (c, x, y) or (c, x, y, z), and the number of volumes, of which the first is kept."""
    kinds = header.get("kinds", "").lower().split()
    if len(kinds) != values.ndim:
        kinds = ["domain"] * values.ndim
        directions = re.findall(r"none|\([^)]*\)", header.get("space directions", "").lower())
        if len(directions) == values.ndim:
            kinds = ["list" if direction == "none" else "space" for direction in directions]
    colour = next((axis for axis, kind in enumerate(kinds) if kind in COLOURS), None)
    if colour is None and values.ndim in (3, 4) and kinds[0] == "vector" and values.shape[0] in (3, 4):
        colour = 0  # as ITK writes colour
    others = [axis for axis, kind in enumerate(kinds) if axis != colour and kind not in SPATIAL]
    spatial = [axis for axis in range(values.ndim) if axis not in (colour, *others)]
    # Without kinds the first three axes are space, as most writers leave them out.
    while len(spatial) > 3:
        others.append(spatial.pop())
    if len(spatial) < 2:
        raise InputError("has fewer than two dimensions of space")

    count = int(np.prod([values.shape[axis] for axis in others], dtype=int))
    order = [*([] if colour is None else [colour]), *spatial, *others]
    values = values.transpose(order)
    for _ in others:
        values = values[..., 0]
    return (values if colour is not None else values[None]), count


def _affine(header: Mapping[str, str]) -> np.ndarray[Any, Any]:
    """Voxel indices to directions, RAS+; only signs and axes matter here."""
    affine = np.eye(4)
    columns = re.findall(r"\(([^)]*)\)", header.get("space directions", ""))
    space = header.get("space", "").lower()
    try:
        directions = [[float(part) for part in column.split(",")] for column in columns]
    except ValueError:
        raise InputError("has no numbers as space directions") from None
    # Fewer directions than three are those of a plane, which has no orientation here.
    if len(directions) == 3 and all(len(direction) >= 3 for direction in directions):
        affine[:3, :3] = np.array([direction[:3] for direction in directions]).T
    if space in RAS:
        return affine
    if space in LAS:
        return np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine
    return ITK_LPS @ affine
