"""Two coordinates for every frame, from its embedding."""

import numpy as np
from jaxtyping import Float32, Float64

from optidel.arrays import Vectors
from optidel.features.rows import spans

# Rows from which the axes are taken: their directions then move by less than a degree, and a million rows of
# any width need no more memory than this.
SAMPLE = 20_000


def principal_map(vectors: Vectors) -> Float32[np.ndarray, "n 2"]:
    """The first two principal coordinates of vectors, scaled to [-1, 1], the wider one across.

    The axes come from at most :data:`SAMPLE` rows evenly spaced, and the sign of each is the one with which
    its largest entry is positive: the same vectors give the same map.

    Args:
        vectors: float (n, d), memory-mapped if large; every row is brought to unit length first.

    Returns:
        float32 (n, 2); zeros where there are fewer than three rows or one dimension.

    Source: principal component analysis, Pearson 1901.
    """
    count, width = vectors.shape
    if count < 3 or width < 2:
        return np.zeros((count, 2), dtype=np.float32)
    rows = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(np.int64))
    sample = _unit(vectors[rows])
    mean = sample.mean(axis=0)
    covariance = (sample - mean).T @ (sample - mean)
    _, axes = np.linalg.eigh(covariance)
    first_two = axes[:, :-3:-1]
    largest = first_two[np.abs(first_two).argmax(axis=0), [0, 1]]
    first_two = first_two * np.where(largest < 0, -1.0, 1.0)

    points = np.empty((count, 2), dtype=np.float32)
    for rows_of_block in spans(count, width):
        points[rows_of_block] = (_unit(vectors[rows_of_block]) - mean) @ first_two
    return _scaled(points)


def _unit(rows: Vectors) -> Float64[np.ndarray, "m d"]:
    values = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-12))


def _scaled(points: Float32[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 2"]:
    """Each axis between -1 and 1."""
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.maximum(high - low, 1e-12)
    scaled = 2 * (points - low) / spread - 1
    return np.asarray(scaled, dtype=np.float32)
