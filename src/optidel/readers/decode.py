"""Frames again, by their locators; and pixels to the images that models take."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from optidel.arrays import Image, Pixels
from optidel.errors import InputError
from optidel.readers.decoded import MAX_PIXELS, MIN_SIDE, Decoded, DecodeOptions, Window
from optidel.readers.formats import RASTER, reader_for
from optidel.readers.source import Source


def read_frames(source: Source, locators: Collection[str], window: Window | None = None) -> Iterator[Decoded]:
    """The frames asked for, in the order of the file, in one pass over it.

    Args:
        source: a file that was indexed.
        locators: where in the file; ``{""}`` for a file of one frame.
        window: level and width in HU, as the corpus was indexed with.

    Raises:
        InputError: the file is gone or is no longer what was indexed.
    """
    if source.path is not None and not source.path.exists():
        raise InputError(f"{source.path} is gone; index the corpus again")
    reader = reader_for(source)
    if reader is None:
        raise InputError(f"{source.name} has no known reader; index the corpus again")
    missing = set(locators)
    for decoded in reader(source, DecodeOptions(window=window), missing.copy()):
        if decoded.locator in missing:
            missing.remove(decoded.locator)
            yield decoded
        if not missing:
            return
    raise InputError(
        f"{source.name} no longer holds {sorted(missing)[0] or 'a single frame'}; index the corpus again"
    )


def read_frame(path: Path, locator: str, window: Window | None = None) -> Pixels:
    """One frame again, float32 (h, w, c) in [0, 1]; for many frames of a file, :func:`read_frames` passes
    over it once.

    Args:
        path: of the file.
        locator: where in it; empty for a file of one frame.
        window: level and width in HU, as the corpus was indexed with.

    Raises:
        InputError: the file is gone or is no longer what was indexed.
    """
    return read_decoded(path, locator, window).pixels


def read_decoded(path: Path, locator: str, window: Window | None = None) -> Decoded:
    """One frame again, with its values as stored; otherwise as :func:`read_frame`.

    Args:
        path: of the file.
        locator: where in it; empty for a file of one frame.
        window: level and width in HU, as the corpus was indexed with.

    Raises:
        InputError: the file is gone or is no longer what was indexed.
    """
    source = Source(name=path.name, path=path)
    axis, _, position = locator.partition(":")
    # A volume is decoded once for all its slices, which are mostly asked for one after the other.
    if position and axis in ("axial", "coronal", "sagittal") and path.exists():
        volume = _volume(path, path.stat().st_mtime_ns, axis, window)
        if locator not in volume:
            raise InputError(f"{path} no longer holds {locator}; index the corpus again")
        return volume[locator]
    return next(read_frames(source, {locator}, window))


@lru_cache(maxsize=2)
def _volume(path: Path, modified: int, axis: str, window: Window | None) -> dict[str, Decoded]:
    del modified  # part of the key only: a file that changed is read again
    source = Source(name=path.name, path=path)
    reader = reader_for(source)
    assert reader
    slices = reader(source, DecodeOptions(window=window), _Along(axis))
    return {decoded.locator: decoded for decoded in slices}


class _Along(Collection[str]):
    """The locators of all slices along an axis, however many there are."""

    def __init__(self, axis: str) -> None:
        self.prefix = f"{axis}:"

    def __contains__(self, locator: object) -> bool:
        return isinstance(locator, str) and locator.startswith(self.prefix)

    def __iter__(self) -> Iterator[str]:
        yield self.prefix

    def __len__(self) -> int:
        return 1


def cropped(decoded: Decoded) -> Decoded:
    """A frame without the border around its content area (``content.content_box``); the same frame where
    there is none.
    """
    if decoded.values.shape[2] == 1:
        return decoded
    from optidel.readers.content import content_box  # scipy is imported only where frames are cropped

    left, top, right, bottom = content_box(decoded.image)
    if min(right - left, bottom - top) < MIN_SIDE:
        return decoded
    return replace(decoded, values=np.ascontiguousarray(decoded.values[top:bottom, left:right]))


def to_image(pixels: Pixels) -> Image:
    """Float32 (h, w, 1 or 3) in [0, 1] to u8 (h, w, 3)."""
    quantised = np.round(pixels * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(quantised, (*quantised.shape[:2], 3)))


def fit(image: Image, size: int) -> Image:
    """Stretch u8 (h, w, 3) to (size, size, 3) with antialiasing."""
    return np.asarray(PillowImage.fromarray(image).resize((size, size), PillowImage.Resampling.BILINEAR))


__all__ = ["MAX_PIXELS", "RASTER", "cropped", "fit", "read_frame", "read_frames", "to_image"]


def pixel_hash(image: Image) -> str:
    """SHA-256 of a picture as it is shown, as hex digits: equal hashes are equal pixels, whatever the file.

    Args:
        image: u8 (h, w, 3).
    """
    # The shape is hashed too: the same bytes in rows of another length are another picture.
    shape = repr(image.shape).encode()
    values = np.ascontiguousarray(image).tobytes()
    digest = hashlib.sha256(shape + values)
    return digest.hexdigest()
