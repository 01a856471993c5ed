"""Bootstrap intervals of means: over test images, and over pre-training seeds as well.

Legend: s seeds, n images, b resamples.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from optidel.errors import InputError

RESAMPLES = 5000
BLOCK = 4_000_000
"""Values gathered at once, so that memory does not grow with the number of images."""

Scores = Float[np.ndarray, "n"] | Float[np.ndarray, "s n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and the interval that holds it with probability ``level``, in the unit of the values."""

    mean: float
    low: float
    high: float
    level: float


def mean_interval(values: Scores, rng: np.random.Generator, *, level: float = 0.95, resamples: int = RESAMPLES) -> Interval:
    """Percentile bootstrap of the mean.

    One row of values: images are drawn with replacement. Several rows, one a seed: seeds are drawn with replacement, then images, the same
    draw for all seeds, because every seed is tested on the same images and an image hard for one is hard for all; drawing images apart for
    each seed would count them as new evidence and make the interval too narrow. With very few seeds (three, say) the spread between seeds
    is still underestimated, by (s - 1) / s in variance.

    Args:
        values: float (n,) or (s, n), a score of every test image (of every seed).
        rng: its draws, block by block: seeds (b, s) where s > 1, then images (b, n).
        level: probability mass inside the interval, in (0, 1).
        resamples: b.

    Returns:
        The plain mean and the interval's ends.

    Raises:
        InputError: no values, values that are not finite, or a level or number of resamples out of range.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile interval); Owen 2007, arXiv 0712.1111 (crossed factors).
    """
    matrix_SN = _checked(values, level, resamples)
    means = np.empty(resamples)
    block = max(1, BLOCK // matrix_SN.shape[1])
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        means[start:stop] = _resampled_means(matrix_SN, rng, stop - start)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=float(matrix_SN.mean()), low=float(low), high=float(high), level=level)


def difference_interval(
    values: Scores, reference: Scores, rng: np.random.Generator, *, level: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """Interval of the mean of ``values - reference``, paired by image (and seed); one that excludes zero is a difference.

    Args:
        values: float (n,) or (s, n).
        reference: the same shape, the same images in the same order.
        rng: as in :func:`mean_interval`.
        level: as in :func:`mean_interval`.
        resamples: as in :func:`mean_interval`.

    Raises:
        InputError: unequal shapes, and as in :func:`mean_interval`.
    """
    if values.shape != reference.shape:
        raise InputError(
            f"paired scores must have one shape, got {values.shape} and {reference.shape}; test both on the same images and seeds"
        )
    return mean_interval(values - reference, rng, level=level, resamples=resamples)


def _resampled_means(matrix_SN: Float[np.ndarray, "s n"], rng: np.random.Generator, count: int) -> Float[np.ndarray, "b"]:
    seeds, images = matrix_SN.shape
    if seeds == 1:
        return np.asarray(matrix_SN[0][rng.integers(images, size=(count, images))].mean(axis=1))
    drawn_BS: Int64[np.ndarray, "b s"] = rng.integers(seeds, size=(count, seeds))
    weight_BS = (drawn_BS[:, :, None] == np.arange(seeds)).mean(axis=1)  # share of each seed in each resample
    drawn_BN: Int64[np.ndarray, "b n"] = rng.integers(images, size=(count, images))
    return np.asarray(np.take_along_axis(weight_BS @ matrix_SN, drawn_BN, axis=1).mean(axis=1))


def _checked(values: Scores, level: float, resamples: int) -> Float[np.ndarray, "s n"]:
    matrix = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if matrix.ndim != 2 or matrix.size == 0:
        raise InputError(f"scores must be (images,) or (seeds, images) and not empty, got shape {np.shape(values)}")
    if not np.isfinite(matrix).all():
        raise InputError(f"scores must be finite, got {int((~np.isfinite(matrix)).sum())} NaN or infinite values; leave those images out")
    if not 0 < level < 1:
        raise InputError(f"level must be in (0, 1), got {level}; pass 0.95 for a 95 % interval")
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}; the default is {RESAMPLES}")
    return matrix
