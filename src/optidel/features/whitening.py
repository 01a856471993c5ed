"""Whitening: what all rows of a corpus share counts for nothing, what sets a row apart counts for everything.

Raw embeddings of images lie in a narrow cone: two random images have a cosine near 0.9. Centring and scaling
every principal axis to the same variance spreads the cone over the sphere, so that clusters and distances
describe the pictures and no longer the device. Everything streams over memory-mapped rows, block by block.

Source: Jégou & Chum, "Negative evidences and co-occurrences in image retrieval", ECCV 2012; leaving out the
first axes: Mu & Viswanath, "All-but-the-top", ICLR 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from optidel.arrays import Vectors
from optidel.features.rows import spans, unit

# Rows that an axis needs at least: the variance of an axis that fewer rows carry is mostly noise.
ROWS_PER_AXIS = 4

# Variances below this share of the largest are raised to it: float32 rows resolve no finer ones.
SMALLEST_VARIANCE = 1e-6

# Share of the mean variance that is added to the variance of each axis before the division.
#
# Measured on 4,000 images of 15 modalities, embedded by a small MAE after 800 steps: random pairs have a
# cosine of 0.54 (raw) and 0.00 (any whitening); the nearest image is of the same clip or tile in 90 % (raw),
# 83 % (0), 86 % (0.1), 87 % (1) of the cases, and an effective 4, 186, 69 and 28 images are told apart.
SHRINKAGE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """An affine map of rows onto the unit sphere.

    Args:
        mean: float64 (d,), subtracted first.
        components: float64 (k, d), orthonormal rows, by falling variance; the entry of the largest size of
            each is positive.
        scale: float64 (k,), the factor of each component after the projection.
    """

    mean: Float64[np.ndarray, "d"]
    components: Float64[np.ndarray, "k d"]
    scale: Float64[np.ndarray, "k"]

    def transform(self, vectors: Vectors) -> Float32[np.ndarray, "n k"]:
        """Centre, project, scale and normalise rows.

        Args:
            vectors: float (n, d), finite; memory-mapped if large.

        Returns:
            float32 (n, k), unit length. A row that equals the mean has no direction and gets all entries
            alike.
        """
        whitened = np.empty((len(vectors), len(self.scale)), dtype=np.float32)
        for span in spans(*vectors.shape):
            projected = self.project(vectors[span])
            directionless = ~projected.any(axis=1)
            projected[directionless] = 1.0
            whitened[span] = unit(projected)
        return whitened

    def project(self, vectors: Vectors) -> Float64[np.ndarray, "b k"]:
        """Centre, project and scale one block of rows, float (b, d), without normalising."""
        rows = np.asarray(vectors, dtype=np.float64)
        centred = rows - self.mean
        coordinates = centred @ self.components.T
        projected: Float64[np.ndarray, "b k"] = coordinates * self.scale
        return projected


def fit(
    vectors: Vectors, *, width: int | None = None, drop: int = 0, shrinkage: float = SHRINKAGE
) -> Whitening:
    """Find the principal axes of rows and the factor that gives each the same variance.

    Args:
        vectors: float (n, d), n ≥ 1, finite; memory-mapped if large. Sums are float64, in a fixed order of
            blocks: the same rows give the same bytes.
        width: axes kept at most; as many as four rows an axis allow where not given.
        drop: leading axes left out: they often say which device took the picture.
        shrinkage: share of the mean variance added to each variance; 0 whitens fully, a large value only
            rotates.

    Returns:
        A whitening with k = min(width, n // 4, d) − drop axes, at least 1.

    Example:
        >>> import numpy as np
        >>> from optidel.features.whitening import fit
        >>> rows = np.random.default_rng(0).normal(5, [1, 10], (100, 2))
        >>> fit(rows).transform(rows).shape
        (100, 2)
    """
    mean = _mean(vectors)
    covariance = _covariance(vectors, mean)
    rising_variance, columns = np.linalg.eigh(covariance)
    variance = rising_variance[::-1]
    axes = columns.T[::-1]

    supported = max(1, len(vectors) // ROWS_PER_AXIS)
    last = min(len(axes), supported)
    if width is not None:
        last = min(last, drop + width)
    # One axis stays, however many were to be left out.
    first = min(drop, last - 1)
    components = _signed(axes[first:last])

    resolved = SMALLEST_VARIANCE * float(variance[0])
    # Rows that are all alike have no variance at all, and are not divided by 0.
    floor = max(resolved, float(np.finfo(np.float32).tiny))
    raised = np.maximum(variance[first:last], floor)
    # Rounding makes a variance of 0 slightly negative.
    mean_variance = float(np.maximum(variance, 0).mean())
    damped = raised + shrinkage * mean_variance
    return Whitening(mean=mean, components=components, scale=1 / np.sqrt(damped))


def fuse(blocks: Sequence[Float32[np.ndarray, "n k"]]) -> Float32[np.ndarray, "n m"]:
    """Join the whitened rows of several encoders.

    Args:
        blocks: for each encoder float32 (n, k_i), unit length, the same n images.

    Returns:
        float32 (n, Σ k_i), unit length: the cosine of two images is the mean of their cosines over the
        encoders.

    Source: MEDP (fusion of several medical encoders before selection).
    """
    joined = np.concatenate(blocks, axis=1)
    # Each block has length 1, so the joined row has the root of their number.
    length = np.sqrt(len(blocks))
    return joined / np.float32(length)


def _mean(vectors: Vectors) -> Float64[np.ndarray, "d"]:
    total = np.zeros(vectors.shape[1])
    for span in spans(*vectors.shape):
        block = np.asarray(vectors[span])
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(vectors)


def _covariance(vectors: Vectors, mean: Float64[np.ndarray, "d"]) -> Float64[np.ndarray, "d d"]:
    """Second moments around the mean, in a second pass: a one-pass formula cancels for rows far from 0."""
    total = np.zeros((len(mean), len(mean)))
    for span in spans(*vectors.shape):
        block = np.asarray(vectors[span], dtype=np.float64)
        centred = block - mean
        total += centred.T @ centred
    return total / len(vectors)


def _signed(axes: Float64[np.ndarray, "k d"]) -> Float64[np.ndarray, "k d"]:
    """Turn each axis so that its largest entry is positive: an eigenvector's sign is arbitrary."""
    largest = np.abs(axes).argmax(axis=1)
    rows = np.arange(len(axes))
    sign = np.sign(axes[rows, largest])
    return np.asarray(axes * sign[:, None])
