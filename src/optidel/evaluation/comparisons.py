"""Several methods against one reference: intervals that hold all at once, and p-values corrected for their
number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from optidel.errors import InputError
from optidel.evaluation.intervals import RESAMPLES, Estimate, Interval, estimate

DRAWS = 20_000
"""Normal draws from which the largest of several correlated deviations is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One of several paired differences: its own ``interval``, the one that holds together with all
    ``others``, and p-values.
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
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            f"p-values must be in [0, 1], got {', '.join(f'{value:g}' for value in values if not 0 <= value <= 1)}"
        )
    order = np.argsort(values, kind="stable")
    raised = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    adjusted = np.empty(len(values))
    adjusted[order] = raised
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
    found = [estimate(matrix, rng, level=level, resamples=resamples) for matrix in differences]
    largest = np.quantile(_largest(differences, found, rng), level)
    share = stats.norm.cdf(largest)
    adjusted = holm([one.p for one in found])
    return [
        Comparison(
            estimate=one,
            interval=one.interval(level),
            joint=one.interval(level, quantile=float(stats.t.ppf(share, one.df))),
            p=one.p,
            p_holm=corrected,
        )
        for one, corrected in zip(found, adjusted, strict=True)
    ]


def _largest(
    differences: Sequence[Float[np.ndarray, "s n"]], found: Sequence[Estimate], rng: np.random.Generator
) -> Float[np.ndarray, "b"]:
    """The largest absolute value of normal deviations that go together as the differences do over images."""
    by_image = np.stack([np.asarray(matrix, np.float64).mean(axis=0) for matrix in differences])
    images = by_image.shape[1]
    shared = np.atleast_2d(np.cov(by_image)) / images if images > 1 else np.zeros((len(found), len(found)))
    errors = np.sqrt(np.maximum(np.diag(shared), [one.error**2 for one in found]))
    errors[errors == 0] = 1.0
    correlation = shared / np.outer(errors, errors)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(
        np.abs(rng.multivariate_normal(np.zeros(len(found)), correlation, size=DRAWS, method="eigh")).max(
            axis=1
        )
    )
