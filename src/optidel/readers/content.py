"""The content area of a frame: what a device lights, without the black around it.

Measured on a copy whose longest side is at most 512 px, so that distances, which are fractions of the short
side, mean the same for every corpus.
"""

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image as PillowImage
from scipy import ndimage

from optidel.arrays import BoolImage, Image
from optidel.records import Box

MEASURE = 512
"""Pixels of the longest side of the copy that is measured: finer detail does not move a border."""

DARK = 48
"""A frame edge brighter than this level is no border; 16 is the black of video, JPEG adds a few levels."""

SPREAD = 12
"""Levels above the edge's own black that still belong to it: the noise of a dark sensor after JPEG."""

COLOURED = 10
"""Mean chroma of the lit pixels above which a frame is in colour; grey pictures saved as JPEG stay under
4.
"""

LIT = 0.12
"""Fraction of the frame that a device lights at least; where less is lit, the dark is part of the picture."""

WHOLE = 0.6
"""Fraction of what is not dark that is one lit area where a device frames it; the rest is text and small
pictures beside it.
"""


def content_box(image: Image) -> Box:
    """The smallest box around the lit area of a colour frame that a device frames; the whole frame for every
    other.

    Grey frames are left alone: around a chest, a brain or cells, black is part of the picture. Small pictures
    and text beside the lit area are cut off with the border.

    Args:
        image: u8 (h, w, 3).
    """
    height, width = image.shape[:2]
    # Distances below are fractions of this copy's short side.
    small = reduced(image)
    dark = surround(small)
    lit = largest(opened(~dark, 2 * edge_reach(small)))
    if not (dark.any() and is_coloured(small, ~dark) and is_framed(lit, dark)):
        return 0, 0, width, height

    rows = np.flatnonzero(lit.any(axis=1))
    columns = np.flatnonzero(lit.any(axis=0))
    down = height / small.shape[0]
    across = width / small.shape[1]
    return (
        int(columns[0] * across),
        int(rows[0] * down),
        min(width, int(np.ceil((columns[-1] + 1) * across))),
        min(height, int(np.ceil((rows[-1] + 1) * down))),
    )


def surround(image: Image) -> BoolImage:
    """Dark pixels connected to the frame's edge, at the level of the edge's own black."""
    level = image.max(axis=-1)
    ring = _edge(level)
    black = ring[ring < DARK]
    if black.size == 0:
        return np.zeros(level.shape, dtype=bool)
    # The median takes away text and single lit pixels that would bridge the border.
    dark = ndimage.median_filter(level, size=3) <= float(np.median(black)) + SPREAD

    labels, count = ndimage.label(dark)
    outer = np.zeros(count + 1, dtype=bool)
    outer[_edge(labels)] = True
    outer[0] = False
    return np.asarray(outer[labels])


def _edge(plane: Shaped[np.ndarray, "h w"]) -> Shaped[np.ndarray, "n"]:
    """The outermost pixels of a plane, corners twice."""
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def is_coloured(image: Image, lit: BoolImage) -> bool:
    """Whether the lit pixels have chroma."""
    chroma = image.max(axis=-1).astype(np.int16) - image.min(axis=-1)
    return bool(lit.any() and chroma[lit].mean() > COLOURED)


def is_framed(lit: BoolImage, dark: BoolImage) -> bool:
    """Whether one lit area holds most of what is not dark: a device's field of view, not cells scattered in
    the dark.
    """
    return bool(lit.mean() >= LIT and lit.sum() >= WHOLE * (~dark).sum())


def largest(mask: BoolImage) -> BoolImage:
    """The largest connected part."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def opened(mask: BoolImage, radius: int) -> BoolImage:
    """Opening that does not eat the frame's own corners."""
    margin = 2 * radius
    padded = np.pad(mask, margin, mode="edge")
    smooth = ndimage.binary_opening(padded, disk(radius))
    return np.asarray(smooth[margin:-margin, margin:-margin])


def disk(radius: int) -> UInt8[np.ndarray, "d d"]:
    """A round structuring element."""
    squares = np.arange(-radius, radius + 1) ** 2
    distance = squares[:, None] + squares[None, :]
    # Half a pixel more than the radius, or small discs would be crosses.
    return (distance <= radius * (radius + 0.5)).astype(np.uint8)


def edge_reach(image: Image) -> int:
    """One per cent of the short side, at least 1 px: how far a blurred edge reaches."""
    return max(1, round(0.01 * int(min(image.shape[:2]))))


def reduced(image: Image) -> Image:
    """The copy that is measured."""
    height, width = image.shape[:2]
    ratio = MEASURE / max(height, width)
    if ratio >= 1:
        return image
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    small = PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BOX)
    return np.asarray(small)
