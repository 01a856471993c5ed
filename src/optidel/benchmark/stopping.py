"""Leaves out further seeds of a comparison that is decided."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from optidel.benchmark.bench import Bench
from optidel.benchmark.plan import Trial
from optidel.evaluation.intervals import Interval, difference_interval
from optidel.runs.baselines import BASELINES, RANDOM

LEVEL = 0.95  # of the interval over all looks together

# Per-image scores of a finished trial, or None.
Scores = Callable[[Trial], Float[np.ndarray, "n"] | None]


def decided(bench: Bench, trial: Trial, scores: Scores) -> str:
    """Why the trial is not needed, or an empty text.

    The seeds before it, in the order of the plan, are compared to ``random`` at the same budget. The
    comparison is decided where the interval of the difference excludes zero or, under ``stop.margin``, lies
    wholly within the margin on either side of it. With ``L`` looks the interval's level is 1 − 0.05/L
    (Bonferroni), so that looking more often does not find more. References are never left out. A seed that is
    missing (run by another machine, or failed) does not count.

    Args:
        bench: with its stop rule.
        trial: the trial in question.
        scores: per-image scores of a finished trial, or None.
    """
    if bench.stop is None or trial.method in BASELINES or trial.seed not in bench.seeds:
        return ""
    method, reference = _pairs(bench, trial, scores)
    if len(method) < bench.stop.seeds:
        return ""

    looks = len(bench.seeds) - bench.stop.seeds
    level = 1 - (1 - LEVEL) / looks
    rng = np.random.default_rng(0)
    interval = difference_interval(np.stack(method), np.stack(reference), rng, level=level)
    verdict = _verdict(interval, bench.stop.margin)
    if not verdict:
        return ""
    ends = f"{level:.1%} interval {interval.low:+.3f} to {interval.high:+.3f}"
    return f"decided with {len(method)} seeds: {verdict} ({ends})"


def _pairs(
    bench: Bench, trial: Trial, scores: Scores
) -> tuple[list[Float[np.ndarray, "n"]], list[Float[np.ndarray, "n"]]]:
    """Scores of the method and of random for every earlier seed that has both."""
    method, reference = [], []
    for seed in bench.seeds[: bench.seeds.index(trial.seed)]:
        method_scores = scores(replace(trial, seed=seed))
        random_scores = scores(replace(trial, seed=seed, method=RANDOM))
        if method_scores is not None and random_scores is not None:
            method.append(method_scores)
            reference.append(random_scores)
    return method, reference


def _verdict(interval: Interval, margin: float | None) -> str:
    """What the interval decides, or an empty text."""
    if interval.low > 0 or interval.high < 0:
        return f"{interval.mean:+.3f} against {RANDOM}"
    if margin is not None and -margin < interval.low and interval.high < margin:
        return f"{interval.mean:+.3f} against {RANDOM}, equal within {margin:g}"
    return ""
