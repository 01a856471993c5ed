"""What a frame holds: a few measures, the flaws that make it worthless, and a perceptual hash. Nothing is
deleted, only marked.

Everything is measured on samples of the frame (about 100 along the longest side; for sharpness, thin strips
at 384), so that the cost hardly grows with the frame: decoding is dear, looking must not be.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from optidel.arrays import Pixels
from optidel.errors import RecipeError
from optidel.records import Quality

SAMPLES = 96
"""Samples along the longest side for everything but sharpness."""

STRIPS = 384
"""Samples along the longest side for sharpness: what is finer is lost at the size of every model anyway."""

ROWS_APART = 12
"""Sharpness is looked at on every twelfth row: as good as all of them over a frame, and ten times as fast."""

BLACK = 10
"""Levels of 255 up to which a sample is black: 4 % of the range."""

LIT = 24
"""Levels of 255 above which a sample is lit: the black of video is 16, JPEG adds a few."""

LEAST_LIT = 0.12
"""Fraction of the frame that a device lights at least; where less is lit, the dark is part of the picture."""

WHITE = 250
"""Levels of 255 from which a sample is saturated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on a frame is marked; docs/audit.md says on which images the defaults were judged.

    ``blank``: deviation of grey, levels of 255, under it, and ``structure`` under its own: noise has little,
    dim cells on black have more. ``dark`` and ``saturated``: fractions of black and of white, over them; a
    dark frame has a structure under ``dim`` too.
    ``blurred``: sharpness, under it. ``entropy``: bits, under it. ``border``: fraction of a colour frame,
    over it. ``text``: fraction under burned-in text, over it. ``near``: two frames whose perceptual hashes
    differ by at most so many of 256 bits are near-duplicates.
    """

    blank: float = 5.1
    structure: float = 1.5
    dark: float = 0.97
    dim: float = 3.0
    saturated: float = 0.9
    blurred: float = 0.004
    entropy: float = 1.0
    border: float = 0.5
    text: float = 0.005
    near: int = 24

    def __post_init__(self) -> None:
        """Refuse what nothing can be compared with.

        Raises:
            RecipeError: a threshold is not finite.
        """
        for name in self.__slots__:
            value = getattr(self, name)
            if not math.isfinite(value):
                raise RecipeError(f"the threshold {name} must be a finite number, got {value}")


DEFAULTS = Thresholds()

COLOURED = 4
"""Mean difference of red and blue, levels, above which a frame is in colour: its dark surround is a border,
else it may be content.
"""

SIDE, LOW = 32, 16
"""The perceptual hash takes the LOW × LOW lowest cosines of a picture of SIDE × SIDE; 8 × 8 see little but
the device's frame.
"""

Plane = UInt8[np.ndarray, "h w"]


def examine(image: UInt8[np.ndarray, "h w c"]) -> Quality:
    """Measure one frame.

    Args:
        image: u8 (h, w, 1 or 3).

    Source: the hash is that of Zauner (2010), Implementation and benchmarking of perceptual image hash
        functions, DCT variant.
    """
    view = _sampled(image, SAMPLES)
    total, brightest, colour = _grey(view)
    count = total.size

    # All but the edges follows from the histogram of three times grey, 0 to 765.
    levels = np.bincount(total.ravel(), minlength=766).astype(np.float64)
    mean = float(levels @ _VALUES) / count
    if np.count_nonzero(levels) > 1:
        deviation = float(np.sqrt(levels @ (_VALUES - mean) ** 2 / count))
    else:
        deviation = float(image.std())  # the samples are alike; what lies between them may not be
    share = levels[:765].reshape(255, 3).sum(axis=1) / count
    share = share[share > 0]

    coarse = _averaged(total, SIDE)
    laplacian, sharpness = _sharpness(image)
    quality = Quality(
        flaw="",
        mean=mean,
        deviation=deviation,
        structure=float(coarse.std()),
        dark=int(np.count_nonzero(brightest <= BLACK)) / count,
        saturated=float(levels[3 * WHITE :].sum()) / count,
        laplacian=laplacian,
        sharpness=sharpness,
        entropy=float(np.log2(share) @ -share) if share.size > 1 else 0.0,
        border=_border(brightest),
        colour=colour,
        phash=perceptual_hash(coarse),
    )
    flaws = [name for name in marks(quality) if name in FLAWS]
    return replace(quality, flaw=flaws[0]) if flaws else quality


FLAWS = ("blank", "dark", "saturated")
"""Marks of a frame that shows nothing; the others are for a person to judge."""


def marks(quality: Quality, thresholds: Thresholds = DEFAULTS) -> tuple[str, ...]:
    """What is remarkable about a frame: ``blank``, ``constant``, ``dark``, ``saturated``, ``blurred``,
    ``low-entropy``, ``border``.
    """
    blank = quality.deviation < thresholds.blank and quality.structure < thresholds.structure
    dark = quality.dark > thresholds.dark and quality.structure < thresholds.dim
    saturated = quality.saturated > thresholds.saturated
    conditions = {
        "blank": blank,
        "constant": quality.deviation == 0,
        "dark": dark and not blank,
        "saturated": saturated,
        "blurred": quality.sharpness < thresholds.blurred and not (blank or dark or saturated),
        "low-entropy": quality.entropy < thresholds.entropy and not blank,
        "border": quality.border > thresholds.border and quality.colour > COLOURED,
    }
    return tuple(name for name, holds in conditions.items() if holds)


def flaw(pixels: Pixels) -> str:
    """Why a frame is worthless, or an empty string.

    Args:
        pixels: float32 (h, w, c) in [0, 1].
    """
    return examine(np.round(pixels * 255).astype(np.uint8)).flaw


def perceptual_hash(picture: Float32[np.ndarray, "s s"]) -> str:
    """256 bits as hex digits, row by row: which of the lowest cosines of a grey picture are above their
    median.

    Args:
        picture: float32 (32, 32); its scale and offset do not matter.
    """
    # Against the median, half of the bits are set whatever the contrast is.
    low = _COSINES @ picture @ _COSINES.T
    return np.packbits(low > np.median(low)).tobytes().hex()


def _sampled(image: UInt8[np.ndarray, "h w c"], side: int) -> UInt8[np.ndarray, "a b c"]:
    """Every k-th row and column, so that at least ``side`` are left of the longest: a view, no copy."""
    step = max(1, max(image.shape[:2]) // side)
    # A strip narrower than half a step gives the line in its middle.
    top, left = (min(step // 2, length // 2) for length in image.shape[:2])
    return image[top::step, left::step]


def _grey(view: UInt8[np.ndarray, "h w c"]) -> tuple[UInt16[np.ndarray, "h w"], Plane, float]:
    """Three times grey, 0 to 765; the brightest channel; the mean difference of red and blue."""
    if view.shape[2] == 1:
        plane = np.ascontiguousarray(view[..., 0])
        return plane * np.uint16(3), plane, 0.0
    red, green, blue = (np.ascontiguousarray(view[..., channel]) for channel in range(3))
    # Of unsigned bytes only the darker may be taken from the brighter.
    brighter, darker = np.maximum(red, blue), np.minimum(red, blue)
    total = red.astype(np.uint16) + green + blue
    return total, np.maximum(brighter, green), float((brighter - darker).mean())


def _averaged(total: UInt16[np.ndarray, "h w"], side: int) -> Float32[np.ndarray, "side side"]:
    """Grey, in levels, averaged over the cells of a square grid; every sample weighs by how much of it lies
    in the cell.
    """
    rows, columns = _cells(total.shape[0], side), _cells(total.shape[1], side)
    averaged: Float32[np.ndarray, "side side"] = rows @ total.astype(np.float32) @ columns.T / np.float32(3)
    return averaged


@lru_cache(maxsize=64)
def _cells(count: int, side: int) -> Float32[np.ndarray, "side count"]:
    """Weights that average ``count`` samples into ``side`` equal cells."""
    edges = np.arange(side + 1) * (count / side)
    sample = np.arange(count)
    overlap = np.minimum(edges[1:, None], sample + 1) - np.maximum(edges[:-1, None], sample)
    return np.asarray(overlap.clip(0) / (count / side), dtype=np.float32)


def _sharpness(image: UInt8[np.ndarray, "h w c"]) -> tuple[float, float]:
    """Variance of the Laplacian, in levels² and in units of the variance itself, of the green, or only,
    channel.

    Measured on every twelfth row, at most 384 samples wide, and inside the lit area, for the edge of a
    device's black border is sharp in the most blurred of frames; everywhere where little is lit.
    """
    step = max(1, max(image.shape[:2]) // STRIPS)
    plane = image[::step, ::step, image.shape[2] // 2]
    if min(plane.shape) < 3:
        return 0.0, 0.0  # no sample has four neighbours
    above, row, below = (
        np.ascontiguousarray(plane[first : plane.shape[0] - 2 + first : ROWS_APART]) for first in range(3)
    )
    middle, left, right = row[:, 1:-1], row[:, :-2], row[:, 2:]
    above, below = above[:, 1:-1], below[:, 1:-1]
    laplacian = (middle.astype(np.int16) << 2) - above
    for neighbour in (below, left, right):
        laplacian -= neighbour
    darkest = np.minimum(np.minimum(above, below), np.minimum(left, right))
    lit = darkest > LIT
    if np.count_nonzero(lit) >= LEAST_LIT * lit.size:
        bent, level = laplacian[lit].astype(np.float32), middle[lit].astype(np.float32)
    else:
        bent, level = laplacian.ravel().astype(np.float32), middle.ravel().astype(np.float32)
    variance, spread = float(bent.var()), float(level.var())
    return variance, variance / spread if spread else 0.0


def _border(brightest: Plane) -> float:
    """Fraction of the samples before the first and behind the last lit one of their row."""
    # A row without light is border from side to side.
    lit = brightest > LIT
    width = lit.shape[1]
    has_light = lit.any(axis=1)
    outside = lit.argmax(axis=1) + lit[:, ::-1].argmax(axis=1)
    return float(np.where(has_light, outside, width).sum()) / lit.size


def _cosines() -> Float32[np.ndarray, "16 32"]:
    """The lowest rows of the type-II discrete cosine transform."""
    frequency = np.arange(LOW)[:, None]
    sample = np.arange(SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * sample + 1) / (2 * SIDE)).astype(np.float32)


_COSINES = _cosines()
_VALUES = np.arange(766) / 3
