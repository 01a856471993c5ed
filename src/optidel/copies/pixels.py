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

# The picture described, px; cells along a side; directions. Cells of 8 × 8 px are those of Dalal & Triggs;
# 8 directions in place of their 9 make a quarter turn a whole number of bins.
SIDE, CELLS, BINS = 64, 8, 8

# Numbers of the raw descriptor: the directions and the mean colour of each cell.
DIM = CELLS * CELLS * (BINS + 3)

# Gradient, levels, under which a cell's directions fade out: noise has directions too.
NOISE = 4.0

# Axes kept after whitening, where the corpus has four times as many frames.
WIDTH = 128

# Frames known to be no copies of others under which nothing can be calibrated: the 10 % quantile of 64
# values rests on six of them.
LEAST = 64

Picture = Float32[np.ndarray, "64 64 3"]


def shrink(image: Image) -> Picture:
    """A frame stretched to the side that is described, antialiased."""
    picture = PillowImage.fromarray(image)
    # The box filter averages all pixels that fall into one, so that no fine grid turns into a coarse one.
    small = picture.resize((SIDE, SIDE), PillowImage.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def describe(picture: Picture) -> Float32[np.ndarray, "704"]:
    """The raw descriptor, to be whitened."""
    grey = picture.mean(axis=2)
    histogram = _directions(grey)
    edges = _pooled(histogram)
    squares = np.square(edges)
    length = np.sqrt(squares.sum(axis=2, keepdims=True))
    edges = edges / (length + NOISE)

    colour = _pooled(picture)
    mean = colour.mean(axis=(0, 1))
    colour = colour - mean
    # √12 gives colour as much weight as the directions of two in every five cells.
    spread = np.sqrt(12) * (colour.std() + 2 * NOISE)
    colour = colour / spread
    descriptor = np.concatenate([edges.ravel(), colour.ravel()])
    return descriptor.astype(np.float32)


def _directions(grey: Float32[np.ndarray, "64 64"]) -> Float32[np.ndarray, "64 64 8"]:
    """The strength of each pixel's gradient, shared between the two bins nearest to its direction."""
    down, right = np.gradient(grey)
    strength = 2 * np.hypot(right, down)
    # A direction and its opposite are one, for contrast may be inverted: half a circle fills the bins.
    angle = np.arctan2(down, right)
    direction = angle / np.pi * BINS % BINS
    low = np.floor(direction)
    part = (direction - low).astype(np.float32)

    histogram = np.zeros((SIDE, SIDE, BINS), np.float32)
    y, x = np.ogrid[:SIDE, :SIDE]
    lower = low.astype(np.intp) % BINS
    upper = (lower + 1) % BINS
    histogram[y, x, lower] = strength * (1 - part)
    histogram[y, x, upper] += strength * part
    return histogram


def symmetries(descriptors: Float32[np.ndarray, "n 704"]) -> Float32[np.ndarray, "n 8 704"]:
    """Descriptors of the same pictures under the eight symmetries of the square: as they are, mirrored,
    upside down, both; and the same four of the picture with its axes exchanged. Cells change places,
    directions turn.
    """
    count = len(descriptors)
    border = CELLS * CELLS * BINS
    edges = descriptors[:, :border].reshape(-1, CELLS, CELLS, BINS)
    colour = descriptors[:, border:].reshape(-1, CELLS, CELLS, 3)
    bins = np.arange(BINS)
    # A mirror turns a direction a into −a. Exchanged axes turn it into 90° − a, and half the bins are 90°.
    mirrored = -bins % BINS
    exchanged = (BINS // 2 - bins) % BINS

    views = []
    for exchange, down, across in product((False, True), (1, -1), (1, -1)):
        turned = edges[:, ::down, ::across]
        moved = colour[:, ::down, ::across]
        # Two mirrors are half a turn, which leaves every direction as it is.
        if down != across:
            turned = turned[..., mirrored]
        if exchange:
            turned = turned.swapaxes(1, 2)[..., exchanged]
            moved = moved.swapaxes(1, 2)
        flat_edges = turned.reshape(count, border)
        flat_colour = moved.reshape(count, DIM - border)
        view = np.concatenate([flat_edges, flat_colour], axis=1)
        views.append(view)
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
    # Each probability as the standard Gumbel law's own value: −log(−log p).
    reduced_low = -np.log(-np.log(0.1))
    reduced_middle = -np.log(-np.log(0.5))
    reduced = -np.log(-np.log(1 - rate))

    reduced_range = reduced_middle - reduced_low
    scale = (middle - low) / reduced_range
    above_middle = reduced - reduced_middle
    return float(middle + scale * above_middle)


def best_similarity(
    views: Float32[np.ndarray, "n v k"], rows: Float32[np.ndarray, "m k"]
) -> Float32[np.ndarray, "n m"]:
    """Cosine similarity of each image to each row, the largest over the views of the image; both unit
    vectors.
    """
    count, each, width = views.shape
    flat = views.reshape(count * each, width)
    cosine = flat @ rows.T
    by_view = cosine.reshape(count, each, len(rows))
    best = by_view.max(axis=1)
    return np.asarray(best)


def _pooled(values: Float32[np.ndarray, "64 64 b"]) -> Float32[np.ndarray, "8 8 b"]:
    weights = _weights()
    rows = np.tensordot(weights, values, axes=(1, 0))
    cells = np.tensordot(weights, rows, axes=(1, 1))
    pooled = cells.transpose(1, 0, 2)
    return np.asarray(pooled, dtype=np.float32)


@lru_cache(maxsize=1)
def _weights() -> Float32[np.ndarray, "8 64"]:
    """Overlapping triangles, so that a shift by a pixel changes little."""
    cell = SIDE / CELLS
    centres = (np.arange(CELLS) + 0.5) * SIDE / CELLS
    pixels = np.arange(SIDE) + 0.5
    distance = np.abs(pixels[None, :] - centres[:, None])
    weights = np.maximum(0, 1 - distance / cell)
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / total, dtype=np.float32)
