"""Coverage-centric selection: drop the hardest few, then spread the budget evenly over strata of difficulty."""

from numbers import Integral

import numpy as np

from optidel.arrays import Scores, Vectors
from optidel.errors import RecipeError
from optidel.features.rows import random_order
from optidel.methods.outcome import outcome
from optidel.methods.quotas import water_fill
from optidel.records import Selection


def ccs(
    vectors: Vectors,
    count: int,
    *,
    difficulty: Scores,
    rng: np.random.Generator,
    prune: float = 0.1,
    strata: int = 50,
) -> Selection:
    """Draw evenly from strata of difficulty, without the hardest, which are often broken.

    Args:
        vectors: float (n, d).
        count: rows to keep.
        difficulty: float (n,), higher is harder.
        rng: the draws within strata.
        prune: share of all rows, the hardest, never drawn; fewer where ``count`` needs them.
        strata: equally wide ranges of the remaining difficulties; small ones give all they have
            (water-filling).

    Returns:
        The selection, rarest strata first. Gain: how many rows of its stratum each stands for.

    Raises:
        RecipeError: a parameter out of range.

    Source: Zheng et al., ICLR 2023, algorithm 1 (arXiv 2210.15809).
    """
    if not 0 <= prune < 1:
        raise RecipeError(f"prune must be a share in [0, 1), got {prune}; 0.1 drops the hardest tenth")
    if not isinstance(strata, Integral) or strata < 1:
        raise RecipeError(f"strata must be a whole number of at least 1, got {strata!r}; 50 is the default")
    n = len(vectors)
    pruned = min(round(prune * n), n - count)
    rest = np.argsort(difficulty, kind="stable")[: n - pruned]
    edges = np.linspace(difficulty[rest].min(), difficulty[rest].max(), strata + 1)
    stratum = np.full(n, -1, dtype=np.int64)
    stratum[rest] = np.clip(np.searchsorted(edges, difficulty[rest], side="right") - 1, 0, strata - 1)
    sizes = np.bincount(stratum[rest], minlength=strata)
    quota = water_fill(sizes, count)
    drawn = random_order(vectors, rng)
    picks = [drawn[stratum[drawn] == label][: quota[label]] for label in np.argsort(sizes, kind="stable")]
    chosen = np.concatenate(picks)
    gains = sizes[stratum[chosen]] / quota[stratum[chosen]]
    return outcome(
        n, chosen, gains, dropped=np.where(stratum < 0, "pruned, hardest", "not drawn in its stratum")
    )
