"""The ratio of two paired means with its interval: of what could be won, how much a method wins."""

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from optidel.errors import InputError
from optidel.evaluation.intervals import Interval


def ratio_interval(
    numerator: Float[np.ndarray, "s"], denominator: Float[np.ndarray, "s"], *, level: float = 0.95
) -> Interval | None:
    """The mean of one value over the mean of another, paired by seed, with Fieller's interval.

    A ratio ρ lies in it just where a paired t test does not reject that numerator − ρ·denominator has the
    mean 0. So the interval excludes zero just where the numerator's own interval does.

    Args:
        numerator: float (s,), one value a seed.
        denominator: float (s,), of the same seeds.
        level: probability mass inside the interval, in (0, 1).

    Returns:
        The ratio of the means and its interval; None where the denominator is not sure to be above zero, or
        with fewer than two seeds: there is no finite interval then.

    Raises:
        InputError: the two differ in their seeds, or the level is out of range.

    Source: Fieller 1954, Some problems in interval estimation.

    >>> ratio = ratio_interval(np.array([1.0, 1.1, 0.9]), np.array([2.0, 2.1, 1.9]))
    >>> round(ratio.mean, 2), round(ratio.low, 2), round(ratio.high, 2)
    (0.5, 0.43, 0.56)
    """
    if numerator.shape != denominator.shape:
        raise InputError(
            f"a ratio needs both values of every seed, got {len(numerator)} and {len(denominator)} values"
        )
    if not 0 < level < 1:
        raise InputError(f"level must be in (0, 1), got {level}; pass 0.95 for a 95 % interval")
    seeds = len(numerator)
    if seeds < 2:
        return None
    top, bottom = float(numerator.mean()), float(denominator.mean())
    covariance = np.cov(numerator, denominator) / seeds
    of_top, shared, of_bottom = float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])
    t = float(stdtrit(seeds - 1, (1 + level) / 2))
    if bottom <= t * np.sqrt(of_bottom):
        return None

    # The roots of (top − ρ·bottom)² = t²·(of_top − 2ρ·shared + ρ²·of_bottom), a quadratic in ρ.
    square = bottom**2 - t**2 * of_bottom
    half = top * bottom - t**2 * shared
    rest = top**2 - t**2 * of_top
    width = np.sqrt(max(0.0, half**2 - square * rest))
    low, high = float((half - width) / square), float((half + width) / square)
    return Interval(mean=top / bottom, low=low, high=high, level=level)
