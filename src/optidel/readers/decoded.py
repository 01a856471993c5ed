"""What every reader gives, the limits every reader keeps, and the intensity rules they share."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from optidel.arrays import Pixels
from optidel.errors import InputError
from optidel.readers.source import Source

MAX_PIXELS = 100_000_000
"""Frames that declare more pixels than this are refused before a byte of them is decoded (a decompression
bomb or a whole slide).
"""

MAX_FRAMES = 200_000
"""Files that hold, or a video that gives, more frames than this are refused."""

MAX_BYTES = 4 << 30
"""Volumes and arrays that declare more decoded bytes than this are refused before they are read."""

MIN_SIDE = 8
"""Frames smaller than this many pixels on a side show nothing."""

PERCENTILES = (0.5, 99.5)
"""Of the values that are not zero: what becomes black and white where the file states no range."""

NO_GROUPS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One frame of a file.

    ``locator`` says where in the file (``page:3``, ``frame:17``, ``axial:57``) or is empty. ``values`` (h, w,
    c), c 1 or 3, are as stored; ``low`` becomes 0 and ``high`` 1 (``low > high``: dark values are bright), by
    the intensity rule that ``rule`` names. ``seconds`` is the time in a video. ``groups`` are identifiers
    from the file itself, in clear: they are hashed before anything is written.
    """

    locator: str
    values: Shaped[np.ndarray, "h w c"]
    low: float
    high: float
    rule: str
    modality: str | None
    seconds: float | None = None
    groups: Mapping[str, str] = field(default_factory=lambda: NO_GROUPS)

    @property
    def pixels(self) -> Pixels:
        """Float32 (h, w, c) in [0, 1]."""
        scale = self.high - self.low
        pixels = self.values.astype(np.float32)
        if (
            self.values.dtype.itemsize > 2 and self.values.dtype.kind in "iu"
        ):  # float32 holds whole numbers up to 2^24 only
            return ((self.values.astype(np.float64) - self.low) / scale).clip(0, 1).astype(np.float32)
        pixels -= np.float32(self.low)
        pixels /= np.float32(scale)
        return pixels.clip(0, 1, out=pixels)

    @property
    def image(self) -> UInt8[np.ndarray, "h w c"]:
        """The same in 256 grey levels; the stored values themselves where they are that already."""
        if self.values.dtype == np.uint8 and (self.low, self.high) == (0.0, 255.0):
            return self.values
        return np.round(self.pixels * np.float32(255)).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """Which frames of a file become frames of the corpus; what a reader is asked for by locator does not
    depend on them.

    ``axes``: the slices of a volume, among axial, coronal and sagittal. ``every``: seconds between two frames
        of a video.
    ``scenes``: of those frames, only the ones that differ from the last one kept.
    """

    axes: tuple[str, ...] = ("axial",)
    every: float = 1.0
    scenes: bool = False


Reader = Callable[[Source, DecodeOptions, Collection[str] | None], Iterator[Decoded]]
"""A file to its frames in order; with locators, only those. Raises ``InputError`` with the reason for a file
that cannot be read.
"""


def check_size(width: int, height: int) -> None:
    """Refuse a frame by its declared size in pixels, before it is decoded.

    Raises:
        InputError: too large or too small.
    """
    if width * height > MAX_PIXELS:
        raise InputError(
            f"declares {width} x {height} px, more than the limit of {MAX_PIXELS // 1_000_000} megapixels"
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"is {width} x {height} px, smaller than {MIN_SIDE} px on a side")


def check_frames(count: int) -> None:
    """Refuse a file by the number of frames it declares.

    Raises:
        InputError: more than the limit, or none.
    """
    if count > MAX_FRAMES:
        raise InputError(f"declares {count} frames, more than the limit of {MAX_FRAMES}")
    if count < 1:
        raise InputError("holds no frame")


def check_bytes(count: int) -> None:
    """Refuse a volume or an array by the bytes it declares.

    Raises:
        InputError: more than the limit.
    """
    if count > MAX_BYTES:
        raise InputError(
            f"declares {count / 2**30:.1f} GiB of values, more than the limit of {MAX_BYTES >> 30} GiB"
        )


def depth_rule(values: Shaped[np.ndarray, "..."], stored: int | None = None) -> tuple[float, float, str]:
    """The rule ``bit depth`` for whole numbers: the full range of the format is [0, 1], so nothing is
    clipped.

    Twelve-bit detectors often write sixteen-bit files; a file of 16 bits with no value over 4095 is one of
    12.

    Args:
        values: unsigned integers of 8 or 16 bits, or bool; all frames that must share one rule.
        stored: bits used of those, where the file states it.

    Returns:
        What becomes 0, what becomes 1, and the rule's name.
    """
    size = 1 if values.dtype == np.bool_ else values.dtype.itemsize * 8
    if stored is None:
        stored = 12 if size == 16 and values.size and int(values.max()) < 4096 else size
    return (
        0.0,
        float(2**stored - 1),
        f"bit depth {stored}" if stored == size else f"bit depth {stored} of {size}",
    )


def percentile_rule(values: Shaped[np.ndarray, "..."]) -> tuple[float, float, str]:
    """The rule ``percentiles``: robust limits of the values that are not zero (the background); zero stays
    black where nothing is negative.

    Args:
        values: real numbers, all that must share one rule.

    Returns:
        What becomes 0, what becomes 1, and the rule's name.

    Raises:
        InputError: a value is not finite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("holds values that are not finite")
    name = f"percentiles {PERCENTILES[0]}-{PERCENTILES[1]}"
    inside = values[values != 0]
    if inside.size == 0:
        return 0.0, 1.0, name
    low, high = (float(value) for value in np.percentile(inside, PERCENTILES))
    if values.min() >= 0:
        low = min(low, 0.0)
    return low, high if high > low else low + max(abs(low) * 1e-6, 1e-6), name


def range_rule(values: Shaped[np.ndarray, "..."]) -> tuple[float, float, str]:
    """The rule for values that come without a stated range, by their type.

    Unsigned 8 and 16 bits: bit depth. Floats that lie within [0, 1]: as they are. All others: percentiles.

    Returns:
        What becomes 0, what becomes 1, and the rule's name.

    Raises:
        InputError: no real numbers, or not finite.
    """
    if values.dtype.kind not in "buif":
        raise InputError(f"holds {values.dtype} values; images are made of real numbers")
    if values.dtype == np.bool_ or values.dtype in (np.uint8, np.uint16):
        return depth_rule(values)
    if values.dtype.kind == "f" and values.size and values.min() >= 0 and values.max() <= 1:
        return 0.0, 1.0, "unit range"
    return percentile_rule(values)


def turned(values: Shaped[np.ndarray, "h w ..."], orientation: int) -> Shaped[np.ndarray, "h w ..."]:
    """Apply the EXIF or TIFF orientation tag (1 to 8; others: as stored)."""
    turn: dict[int, Any] = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a[::-1].swapaxes(0, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a[:, ::-1].swapaxes(0, 1),
    }
    return np.ascontiguousarray(turn[orientation](values)) if orientation in turn else values


def ending(name: str) -> str:
    """The ending of a file's name in lower case, ``.nii.gz`` as a whole; empty where there is none."""
    base = name.rpartition("/")[2].lower()
    return ".nii.gz" if base.endswith(".nii.gz") else base[base.rfind(".") :] if "." in base[1:] else ""
