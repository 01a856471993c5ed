"""Finding copies that were changed: a descriptor that needs no training and no download, and a threshold that
is calibrated.

The descriptor is a histogram of gradient directions (Dalal & Triggs, CVPR 2005) over a grid of cells,
contrast-normalised, with the mean colour of each cell, whitened on the corpus (Jégou & Chum, ECCV 2012): what
all frames of a corpus share, such as the device's octagon or the outline of a chest, then counts for nothing,
and what is particular to one frame counts for everything.
"""

from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float32
from PIL import Image as PillowImage

from optidel.arrays import Image

SIDE, CELLS, BINS = 64, 8, 8
"""The picture described, px; cells along a side; directions."""

DIM = CELLS * CELLS * (BINS + 3)
NOISE = 4.0
"""Gradient, levels, under which a cell's directions fade out: noise has directions too."""

WIDTH = 128
"""Axes kept after whitening, where the corpus has four times as many frames."""

LEAST = 64
"""Frames known to be no copies of others under which nothing can be calibrated."""

Picture = Float32[np.ndarray, "64 64 3"]


def shrink(image: Image) -> Picture:
    """A frame stretched to the side that is described, antialiased."""
    return np.asarray(
        PillowImage.fromarray(image).resize((SIDE, SIDE), PillowImage.Resampling.BOX), dtype=np.float32
    )


def describe(picture: Picture) -> Float32[np.ndarray, "704"]:
    """The raw descriptor, to be whitened."""
    grey = picture.mean(axis=2)
    down, right = np.gradient(grey)
    strength = 2 * np.hypot(right, down)
    direction = (
        np.arctan2(down, right) / np.pi * BINS % BINS
    )  # a direction and its opposite are one: contrast may be inverted
    low = np.floor(direction)
    part = (direction - low).astype(np.float32)
    histogram = np.zeros((SIDE, SIDE, BINS), np.float32)
    y, x = np.ogrid[:SIDE, :SIDE]
    first = low.astype(np.intp) % BINS
    histogram[y, x, first] = strength * (1 - part)
    histogram[y, x, (first + 1) % BINS] += strength * part
    edges = _pooled(histogram)
    edges = edges / (np.sqrt(np.square(edges).sum(axis=2, keepdims=True)) + NOISE)
    colour = _pooled(picture)
    colour = colour - colour.mean(axis=(0, 1))
    colour = colour / (
        np.sqrt(12) * (colour.std() + 2 * NOISE)
    )  # as much as the directions of two in every five cells
    return np.concatenate([edges.ravel(), colour.ravel()]).astype(np.float32)


def symmetries(descriptors: Float32[np.ndarray, "n 704"]) -> Float32[np.ndarray, "n 8 704"]:
    """Descriptors of the same pictures under the eight symmetries of the square: as they are, mirrored,
    upside down, both; and the same four of the picture with its axes exchanged. Cells change places,
    directions turn.
    """
    cells = CELLS * CELLS
    edges = descriptors[:, : cells * BINS].reshape(-1, CELLS, CELLS, BINS)
    colour = descriptors[:, cells * BINS :].reshape(-1, CELLS, CELLS, 3)
    bins = np.arange(BINS)
    views = []
    for exchanged, down, across in product((False, True), (1, -1), (1, -1)):
        turned, moved = edges[:, ::down, ::across], colour[:, ::down, ::across]
        if down != across:
            turned = turned[..., -bins % BINS]
        if exchanged:
            # Exchanged axes turn a direction a into 90° − a, and half the bins are 90°.
            turned, moved = turned.swapaxes(1, 2)[..., (BINS // 2 - bins) % BINS], moved.swapaxes(1, 2)
        views.append(np.concatenate([turned.reshape(len(turned), -1), moved.reshape(len(moved), -1)], axis=1))
    return np.stack(views, axis=1)


def similarity_threshold(null: Float32[np.ndarray, "n"], rate: float) -> float:
    """The similarity that the best match of an image without a copy exceeds with probability ``rate``.

    A largest value of many follows a Gumbel law. It is fitted to the lower half of ``null`` (its 10 % and 50
    % quantiles), so that copies inside the corpus, which lie at the top, hardly raise it.

    Args:
        null: float32 (n,), for images known to be no copies, or mostly so, their largest similarity to the
            corpus.
        rate: false positives per image.
    """
    low, middle = np.quantile(null, [0.1, 0.5])
    reduced_low, reduced_middle, reduced = (-np.log(-np.log(p)) for p in (0.1, 0.5, 1 - rate))
    scale = (middle - low) / (reduced_middle - reduced_low)
    return float(middle + scale * (reduced - reduced_middle))


def best_similarity(
    views: Float32[np.ndarray, "n v k"], rows: Float32[np.ndarray, "m k"]
) -> Float32[np.ndarray, "n m"]:
    """Cosine similarity of each image to each row, the largest over the views of the image; both unit
    vectors.
    """
    count, each, width = views.shape
    return np.asarray(
        (views.reshape(count * each, width) @ rows.T).reshape(count, each, len(rows)).max(axis=1)
    )


def _pooled(values: Float32[np.ndarray, "64 64 b"]) -> Float32[np.ndarray, "8 8 b"]:
    weights = _weights()
    rows = np.tensordot(weights, values, axes=(1, 0))
    return np.asarray(np.tensordot(weights, rows, axes=(1, 1)).transpose(1, 0, 2), dtype=np.float32)


@lru_cache(maxsize=1)
def _weights() -> Float32[np.ndarray, "8 64"]:
    """Overlapping triangles, so that a shift by a pixel changes little."""
    centres, pixels, cell = (np.arange(CELLS) + 0.5) * SIDE / CELLS, np.arange(SIDE) + 0.5, SIDE / CELLS
    weights = np.maximum(0, 1 - np.abs(pixels[None, :] - centres[:, None]) / cell)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
