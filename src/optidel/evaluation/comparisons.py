"""Several methods against one reference: intervals that hold all at once, and p-values corrected for their
number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, stdtrit

from optidel.errors import InputError
from optidel.evaluation.intervals import RESAMPLES, Estimate, Interval, estimate

# Normal draws from which the largest of several correlated deviations is estimated: its 95 % quantile then
# scatters by about .01.
DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One of several paired differences.

    ``interval`` is its own, ``joint`` holds together with those of all others; ``p_holm`` is corrected for
    their number.
    """

    estimate: Estimate
    interval: Interval
    joint: Interval
    p: float
    p_holm: float


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false finding.

    Args:
        p: p-values of a family.

    Returns:
        In the same order, at least the given ones, at most 1.

    Raises:
        InputError: a value outside [0, 1].

    Source: Holm 1979.
    """
    values = np.asarray(p, dtype=np.float64)
    is_inside = (values >= 0) & (values <= 1)
    outside = values[~is_inside]
    if outside.size:
        listed = ", ".join(f"{value:g}" for value in outside)
        raise InputError(f"p-values must be in [0, 1], got {listed}")

    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    raised = np.maximum.accumulate(values[order] * factors)
    adjusted = np.empty(len(values))
    bounded = np.minimum(1, raised)
    adjusted[order] = bounded
    return [float(value) for value in adjusted]


def compare(
    differences: Sequence[Float[np.ndarray, "s n"]],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Judge a family of paired differences.

    The joint intervals are single-step max-T: one quantile such that the largest of the family's deviations,
    each in its own standard errors, stays below it with probability ``level``. How deviations go together
    (all share the reference and the images) is estimated over images, of which there are many; over seeds, of
    which there are few, they are taken as independent, which errs on the wide side: correlations from three
    seeds are mostly noise, and joint intervals that trust them hold 85 times in 100. Each deviation keeps the
    tails of its own t (a normal copula).

    Args:
        differences: each float (s, n): a method minus the reference; all of the same images, seeds may differ
            in number.
        rng: of all draws.
        level: of the intervals.
        resamples: of each bootstrap.

    Returns:
        In the same order.

    Source: Westfall and Young 1993, section 2.5 (max-T); Hothorn, Bretz and Westfall 2008 (simultaneous
        intervals); Holm 1979.
    """
    if not differences:
        return []
    estimates = [estimate(matrix, rng, level=level, resamples=resamples) for matrix in differences]
    largest = np.quantile(_largest(differences, estimates, rng), level)
    share = ndtr(largest)
    adjusted = holm([single.p for single in estimates])

    comparisons = []
    for single, p_holm in zip(estimates, adjusted, strict=True):
        quantile = float(stdtrit(single.df, share))
        comparison = Comparison(
            estimate=single,
            interval=single.interval(level),
            joint=single.interval(level, quantile=quantile),
            p=single.p,
            p_holm=p_holm,
        )
        comparisons.append(comparison)
    return comparisons


def _largest(
    differences: Sequence[Float[np.ndarray, "s n"]],
    estimates: Sequence[Estimate],
    rng: np.random.Generator,
) -> Float[np.ndarray, "b"]:
    """The largest absolute value of normal deviations that go together as the differences do over images."""
    count = len(estimates)
    means = [np.asarray(matrix, np.float64).mean(axis=0) for matrix in differences]
    by_image = np.stack(means)
    images = by_image.shape[1]
    shared = np.zeros((count, count))
    if images > 1:
        shared = np.atleast_2d(np.cov(by_image)) / images

    variances = [single.error**2 for single in estimates]
    errors = np.sqrt(np.maximum(np.diag(shared), variances))
    # A difference that never varies has no correlation; any error serves.
    errors[errors == 0] = 1.0
    correlation = shared / np.outer(errors, errors)
    np.fill_diagonal(correlation, 1.0)

    centre = np.zeros(count)
    draws = rng.multivariate_normal(centre, correlation, size=DRAWS, method="eigh")
    deviations = np.abs(draws)
    return np.asarray(deviations.max(axis=1))
