"""Leaves out further seeds of a comparison that is decided."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from optidel.benchmark.plan import Bench, Cell
from optidel.evaluation.intervals import difference_interval
from optidel.runs.baselines import BASELINES, RANDOM

LEVEL = 0.95


def decided(bench: Bench, cell: Cell, scores: Callable[[Cell], Float[np.ndarray, "n"] | None]) -> str:
    """Why the cell is not needed, or an empty text.

    The seeds before it, in the order of the plan, are compared to ``random`` at the same budget. With ``L``
    looks the interval's level is 1 − 0.05/L (Bonferroni), so that looking more often does not find more.
    References are never left out. A seed that is missing (run by another machine, or failed) does not count.

    Args:
        bench: with its stop rule.
        cell: the cell in question.
        scores: per-image scores of a finished cell, or None.
    """
    before = bench.seeds[: bench.seeds.index(cell.seed)] if cell.seed in bench.seeds else ()
    if bench.stop is None or cell.method in BASELINES or len(before) < bench.stop.seeds:
        return ""
    pairs = [
        (scores(replace(cell, seed=seed)), scores(replace(cell, seed=seed, method=RANDOM))) for seed in before
    ]
    found = [(own, reference) for own, reference in pairs if own is not None and reference is not None]
    if len(found) < bench.stop.seeds:
        return ""
    looks = len(bench.seeds) - bench.stop.seeds
    level = 1 - (1 - LEVEL) / looks
    own, reference = (np.stack(part) for part in zip(*found, strict=True))
    interval = difference_interval(own, reference, np.random.default_rng(0), level=level)
    if interval.low <= 0 <= interval.high:
        return ""
    ends = f"{level:.1%} interval {interval.low:+.3f} to {interval.high:+.3f}"
    return f"decided with {len(found)} seeds: {interval.mean:+.3f} against {RANDOM} ({ends})"
