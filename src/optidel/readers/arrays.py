"""NumPy ``.npy`` and ``.npz``: images and stacks of images. Pickled objects are never loaded.

Shapes: (h, w) one grey image; (h, w, 1 | 3 | 4) one image, channels last, alpha dropped; (n, h, w) and (n, h,
    w, 1 | 3 | 4) stacks.
Rule: by type, see ``range_rule``, over the whole array, so a stack keeps its contrast.
"""

import zipfile
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy

from optidel.errors import InputError
from optidel.readers.decoded import (
    MAX_BYTES,
    MIN_SIDE,
    Decoded,
    DecodeOptions,
    Window,
    blacked,
    check_bytes,
    check_frames,
    check_size,
    range_rule,
)
from optidel.readers.hounsfield import hounsfield_limits
from optidel.readers.scale import Limits
from optidel.readers.source import Source

CHANNELS = (1, 3, 4)

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

MAX_RATIO = 1100
"""Deflate cannot pack tighter than about 1 to 1030."""

HEADER = 1024
"""Bytes that the header of an array may add to its values; NumPy's own have 128."""


def read_npy(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """One array: one frame, or ``frame:i`` of a stack."""
    with source.open() as stream:
        shape, _ = _header(stream)
        if not _is_image(shape):
            raise InputError(
                f"holds an array of shape {shape}, which is neither an image nor a stack of images"
            )
        stream.seek(0)
        yield from _frames(_array(stream), "", locators, options.window)


def read_npz(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """Every array that holds images: ``name``, or ``name/frame:i`` of a stack.

    Where there are stacks or colour images, arrays of two dimensions beside them are tables of labels and
    left out.
    """
    with source.open() as stream, zipfile.ZipFile(stream) as archive:
        shapes = {entry.filename: _shape(archive, entry) for entry in archive.infolist() if _is_array(entry)}
        # The archive's own entries decide, in their order; nothing is sorted.
        images = [name for name, shape in shapes.items() if _is_image(shape)]
        names = [name for name in images if len(shapes[name]) > 2] or images
        if not names:
            raise InputError(f"holds no images among its {len(shapes)} arrays")
        check_frames(sum(_count(shapes[name]) for name in names))
        for name in names:
            stem = name.removesuffix(".npy")
            if locators is None or any(item == stem or item.startswith(f"{stem}/") for item in locators):
                with archive.open(name) as member:
                    yield from _frames(_array(member), stem, locators, options.window)


def _is_array(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith(".npy")


def _shape(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[int, ...]:
    if entry.file_size > min(MAX_BYTES, MAX_RATIO * entry.compress_size + HEADER):
        raise InputError(f"has an array that unpacks from {entry.compress_size} to {entry.file_size} bytes")
    with archive.open(entry) as member:
        return _header(member)[0]


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type, without reading a value; refuses pickles and what is too large."""
    try:
        version = npy.read_magic(stream)
        if version not in HEADERS:
            raise InputError(f"has version {version} of the .npy format; versions 1.0 and 2.0 are read")
        shape, _, dtype = HEADERS[version](stream)
    except ValueError:
        raise InputError("does not begin with the header of a .npy file") from None
    # An object array is a pickle, and a pickle is a program.
    if dtype.hasobject:
        raise InputError("holds pickled objects, which are never loaded; save an array of numbers")
    # In Python's integers: a declared shape may overflow those of NumPy.
    check_bytes(int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize)
    return shape, dtype


def _is_image(shape: tuple[int, ...]) -> bool:
    sides = shape[-3:-1] if _has_channels(shape) else shape[-2:]
    return len(shape) - _has_channels(shape) in (2, 3) and min(sides) >= MIN_SIDE and shape[0] > 0


def _has_channels(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 3 and shape[-1] in CHANNELS


def _count(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) - _has_channels(shape) == 3 else 1


def _array(stream: Any) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = npy.read_array(stream, allow_pickle=False)
    except ValueError:
        # NumPy's message names the shape; what is wrong is the end of the file.
        raise InputError("is cut: it holds fewer values than it declares") from None
    return array


def _limits(images: np.ndarray[Any, Any], window: Window | None) -> Limits:
    """A window for signed grey values that look like a CT, else the rule of their type."""
    if images.shape[-1] == 1 and images.dtype.kind in "if":
        limits = hounsfield_limits(images, 1.0, 0.0, window)
        if limits is not None:
            return limits
    return range_rule(images)


def _frames(
    array: np.ndarray[Any, Any], name: str, locators: Collection[str] | None, window: Window | None
) -> Iterator[Decoded]:
    shape = array.shape
    # One layout for all: (n, h, w, c).
    images = array if _has_channels(shape) else array[..., None]
    images = images[..., : 1 if images.shape[-1] == 1 else 3]
    stack = images.ndim == 4
    images = images if stack else images[None]
    check_frames(len(images))
    check_size(images.shape[2], images.shape[1])
    low, high, rule = _limits(images, window)
    for i, image in enumerate(images):
        locator = "/".join(part for part in (name, f"frame:{i}" if stack else "") if part)
        if locators is None or locator in locators:
            values = blacked(np.asarray(image, dtype=image.dtype.newbyteorder("=")), low, high)
            values = np.ascontiguousarray(values)
            yield Decoded(locator=locator, values=values, low=low, high=high, rule=rule, modality=None)
