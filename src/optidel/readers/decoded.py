"""What every reader gives, the limits every reader keeps, and the intensity rules they share."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped, UInt8

from optidel.arrays import Pixels
from optidel.errors import InputError, RecipeError, nearest
from optidel.readers.source import Source

MAX_PIXELS = 100_000_000
"""Frames that declare more pixels than this are refused before a byte of them is decoded: a decompression
bomb or a whole slide. 100 megapixels are 300 MB in colour, what a decoding process of 1 GiB can hold thrice.
"""

MAX_FRAMES = 200_000
"""Files that hold, or a video that gives, more frames than this are refused: two hours at 25 frames a
second.
"""

MAX_BYTES = 4 << 30
"""Volumes and arrays that declare more decoded bytes than this are refused before they are read: 2,000 slices
of 1,024 x 1,024 px in 16 bits.
"""

MIN_SIDE = 8
"""Frames smaller than this many pixels on a side show nothing: half a patch of a vision transformer."""

PERCENTILES = (0.5, 99.5)
"""Of the values that are not zero: what becomes black and white where the file states no range. One value in
200 at either end is a hot pixel, a vessel or a label burned in.
"""

WINDOWS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "soft-tissue": (40.0, 400.0),
        "abdomen": (60.0, 400.0),
        "mediastinum": (50.0, 350.0),
        "liver": (30.0, 150.0),
        "lung": (-600.0, 1500.0),
        "bone": (300.0, 1500.0),
        "brain": (40.0, 80.0),
        "stroke": (40.0, 40.0),
        "subdural": (75.0, 215.0),
        "angio": (300.0, 600.0),
    }
)
"""Level and width in HU of the windows that have a name: the presets that CT viewers share."""

CT_WINDOW = WINDOWS["soft-tissue"]
"""Where a CT states no window: the one that most viewers open with."""

PERCENTILE_RULE = f"percentiles {PERCENTILES[0]}-{PERCENTILES[1]}"

MISSING = "missing, the nearest shown instead"
DOUBLED = "doubled, the first of a place shown"
"""How the rule of a volume says that its slices do not lie one behind the other."""

UNASSEMBLED = "of a series among too many files to be assembled"
"""How the rule of a slice says that its folder or archive was not looked through."""

NO_GROUPS: Mapping[str, str] = MappingProxyType({})


class ShownElsewhereError(InputError):
    """A file whose frames stand under another file: a slice of a series of which only planes across are
    taken.
    """


Window = tuple[float, float]
"""Level and width in HU."""


def window_of(value: str | Sequence[float] | None) -> Window | None:
    """A window by its name or as [level, width]; None for none.

    Raises:
        RecipeError: an unknown name, or no two numbers of which the second is positive.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if value not in WINDOWS:
            raise RecipeError(
                f"window {value!r} is not known{nearest(value, WINDOWS)}; one of {', '.join(WINDOWS)}, "
                "or [level, width] in HU"
            )
        return WINDOWS[value]
    numbers = [float(number) for number in value]
    if len(numbers) != 2 or not np.isfinite(numbers).all() or numbers[1] <= 0:
        raise RecipeError(f"window must be [level, width] in HU with a width above 0, got {value!r}")
    return numbers[0], numbers[1]


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
        if self.values.dtype.itemsize > 2 and self.values.dtype.kind in "iu":
            # Float32 holds whole numbers up to 2^24 only.
            exact = (self.values.astype(np.float64) - self.low) / scale
            return exact.clip(0, 1).astype(np.float32)
        pixels = self.values.astype(np.float32)
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
    """Which frames of a file become frames of the corpus, and how values in HU become intensities.

    ``axes``: the slices of a volume, among axial, coronal and sagittal. ``every``: seconds between two frames
    of a video; with ``scenes``, of those frames only the ones that differ from the last one kept. These three
    do not matter where frames are read again by their locators.

    ``window``: level and width in HU for all CT, in place of the window that a file states.
    ``damaged``: what to do with a file about which its decoder warns; what is read again by a locator is not
    looked at for damage.
    """

    axes: tuple[str, ...] = ("axial",)
    every: float = 1.0
    scenes: bool = False
    window: Window | None = None
    damaged: Literal["refuse", "keep"] = "refuse"


Reader = Callable[[Source, DecodeOptions, Collection[str] | None], Iterator[Decoded]]
"""A file to its frames in order; with locators, only those. Raises ``InputError`` with the reason for a file
that cannot be read.
"""


def check_size(width: int, height: int) -> None:
    """Refuse a frame by its declared size in pixels, before it is decoded.

    Raises:
        InputError: too large or too small.
    """
    # Before anything is allocated: a header of a few bytes may declare terabytes.
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
        is_twelve = size == 16 and values.size and int(values.max()) < 4096
        stored = 12 if is_twelve else size
    name = f"bit depth {stored}" if stored == size else f"bit depth {stored} of {size}"
    return 0.0, float(2**stored - 1), name


def percentile_rule(values: Shaped[np.ndarray, "..."]) -> tuple[float, float, str]:
    """The rule ``percentiles``: robust limits of the values that are not zero (the background); zero stays
    black where nothing is negative. Values that are not finite take no part.

    Args:
        values: real numbers, all that must share one rule.

    Returns:
        What becomes 0, what becomes 1, and the rule's name.

    Raises:
        InputError: no value is finite.
    """
    values = finite(values)
    # Zero is the background of nearly all scans; with it the percentiles would say nothing.
    inside = values[values != 0]
    if inside.size == 0:
        return 0.0, 1.0, PERCENTILE_RULE
    low, high = (float(value) for value in np.percentile(inside, PERCENTILES))
    return *widened(low, high, float(values.min())), PERCENTILE_RULE


def widened(low: float, high: float, least: float) -> tuple[float, float]:
    """Limits that differ, with zero as black where nothing is negative.

    Args:
        low, high: percentiles.
        least: the smallest value.
    """
    if least >= 0:
        low = min(low, 0.0)
    if high > low:
        return low, high
    return low, low + max(abs(low) * 1e-6, 1e-6)  # constant: any width will do, all of it is black


def finite(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """The values that are finite; the array itself where all are.

    Raises:
        InputError: none is.
    """
    if values.dtype.kind != "f":
        return values
    sound = np.isfinite(values)
    if sound.all():
        return values
    if not sound.any():
        raise InputError("holds only values that are not finite")
    remaining: np.ndarray[Any, Any] = values[sound]
    return remaining


def range_rule(values: Shaped[np.ndarray, "..."]) -> tuple[float, float, str]:
    """The rule for values that come without a stated range, by their type.

    Unsigned 8 and 16 bits: bit depth. Floats that lie within [0, 1]: as they are. All others: percentiles.

    Returns:
        What becomes 0, what becomes 1, and the rule's name.

    Raises:
        InputError: no real numbers, or none finite.
    """
    if values.dtype.kind not in "buif":
        raise InputError(f"holds {values.dtype} values; images are made of real numbers")
    # Unsigned whole numbers come from sensors and screens, whose full range means black to white.
    if values.dtype == np.bool_ or values.dtype in (np.uint8, np.uint16):
        return depth_rule(values)
    values = finite(values)
    if values.dtype.kind == "f" and values.size and values.min() >= 0 and values.max() <= 1:
        return 0.0, 1.0, "unit range"
    return percentile_rule(values)


def blacked(
    values: Shaped[np.ndarray, "..."], low: float, high: float, mask: Shaped[np.ndarray, "..."] | None = None
) -> Shaped[np.ndarray, "..."]:
    """The same values, with black for those that show nothing: not finite, or under ``mask``.

    Args:
        values: as stored.
        low, high: what becomes 0 and 1.
        mask: bool, of the same shape: padding; None for the values that are not finite.
    """
    if mask is None:
        if values.dtype.kind != "f":
            return values
        hidden = np.logical_not(np.isfinite(values))
    else:
        # What is black anyway stays as it is stored.
        hidden = np.logical_and(mask, (values - low) / (high - low) > 0)
    if not hidden.any():
        return values
    black = low
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        black = np.clip(np.floor(low) if low <= high else np.ceil(low), limits.min, limits.max)
    filled = values.copy()
    filled[hidden] = black
    return filled


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
    # A name such as .png is hidden and has no ending.
    base = name.rpartition("/")[2].lower()
    if base.endswith(".nii.gz"):
        return ".nii.gz"
    return base[base.rfind(".") :] if "." in base[1:] else ""
