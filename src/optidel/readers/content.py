"""The content area of a frame: what a device lights, without the black around it.

Measured on a copy whose longest side is at most 512 px, so that distances, which are fractions of the short
side, mean the same for every corpus.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Raster
from scipy import ndimage

from optidel.arrays import BoolImage, Image
from optidel.records import Box

MEASURE = 512  # px, longest side of the copy that is measured
DARK = 48  # a frame edge brighter than this is no border; 16 is the black of video, JPEG adds a few levels
SPREAD = 12  # levels above the edge's own black that still belong to it
COLOURED = 10  # mean chroma of the lit pixels above which a frame is in colour
LIT = 0.12  # of the frame, the least a device lights
WHOLE = 0.6  # of what is not dark, the least that is one lit area where a device frames it


def content_box(image: Image) -> Box:
    """The smallest box around the lit area of a colour frame that a device frames; the whole frame for every
    other.

    Grey frames are left alone: around a chest, a brain or cells, black is part of the picture. Small pictures
    and text beside the lit area are cut off with the border.

    Args:
        image: u8 (h, w, 3).
    """
    height, width = image.shape[:2]
    small = reduced(image)
    dark = surround(small)
    lit = largest(opened(~dark, 2 * edge_reach(small)))
    if not (dark.any() and is_coloured(small, ~dark) and is_framed(lit, dark)):
        return 0, 0, width, height
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    down, across = height / small.shape[0], width / small.shape[1]
    return (
        int(columns[0] * across),
        int(rows[0] * down),
        min(width, int(np.ceil((columns[-1] + 1) * across))),
        min(height, int(np.ceil((rows[-1] + 1) * down))),
    )


def surround(image: Image) -> BoolImage:
    """Dark pixels connected to the frame's edge, at the level of the edge's own black."""
    level = image.max(axis=-1)
    ring = np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]])
    ring = ring[ring < DARK]
    if ring.size == 0:
        return np.zeros(level.shape, dtype=bool)
    dark = ndimage.median_filter(level, size=3) <= float(np.median(ring)) + SPREAD
    labels, count = ndimage.label(dark)
    outer = np.zeros(count + 1, dtype=bool)
    outer[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    outer[0] = False
    return np.asarray(outer[labels])


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
    padded = np.pad(mask, 2 * radius, mode="edge")
    return np.asarray(
        ndimage.binary_opening(padded, disk(radius))[2 * radius : -2 * radius, 2 * radius : -2 * radius]
    )


def disk(radius: int) -> UInt8[np.ndarray, "d d"]:
    """A round structuring element."""
    across = np.arange(-radius, radius + 1)
    return (across[:, None] ** 2 + across[None, :] ** 2 <= radius * (radius + 0.5)).astype(np.uint8)


def edge_reach(image: Image) -> int:
    """One per cent of the short side, at least 1 px: how far a blurred edge reaches."""
    return max(1, round(0.01 * int(min(image.shape[:2]))))


def reduced(image: Image) -> Image:
    """The copy that is measured."""
    height, width = image.shape[:2]
    ratio = MEASURE / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(Raster.fromarray(image).resize(size, Raster.Resampling.BOX))
