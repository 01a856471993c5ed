"""Coverage-centric selection: drop the hardest few, then draw evenly from strata of difficulty."""

from numbers import Integral

import numpy as np
from jaxtyping import Int64

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
        prune: share of all rows, the hardest, never drawn; fewer where ``count`` needs them. The paper tunes
            it for every budget; a tenth is a round number of this project.
        strata: equally wide ranges of the remaining difficulties, 50 in the paper; small ones give all they
            have (water-filling).

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
    stratum = _strata(difficulty, n - pruned, int(strata))
    sizes = np.bincount(stratum[stratum >= 0], minlength=strata)
    quota = water_fill(sizes, count)

    order = random_order(vectors, rng)
    draws = []
    for label in np.argsort(sizes, kind="stable"):
        members = order[stratum[order] == label]
        draws.append(members[: quota[label]])
    picks = np.concatenate(draws)
    pick_stratum = stratum[picks]
    gains = sizes[pick_stratum] / quota[pick_stratum]
    dropped = np.where(stratum < 0, "pruned, hardest", "not drawn in its stratum")
    return outcome(n, picks, gains, dropped=dropped)


def _strata(difficulty: Scores, count: int, strata: int) -> Int64[np.ndarray, "n"]:
    """The stratum of the ``count`` easiest rows, −1 for the others: int64 (n,)."""
    rest = np.argsort(difficulty, kind="stable")[:count]
    values = difficulty[rest]
    edges = np.linspace(values.min(), values.max(), strata + 1)
    stratum = np.full(len(difficulty), -1, dtype=np.int64)
    # The greatest value lies on the last edge and belongs to the stratum below it.
    above = np.searchsorted(edges, values, side="right")
    stratum[rest] = np.clip(above - 1, 0, strata - 1)
    return stratum
