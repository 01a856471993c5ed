"""SemDeDup: drop rows closer than a radius to one that stays. Without a radius, the one that meets the budget
is searched.
"""

import numpy as np

from optidel.arrays import Vectors
from optidel.errors import BudgetError, RecipeError
from optidel.features.clusters import cluster, default_k
from optidel.features.rows import random_order
from optidel.methods.inputs import check_choice, check_k
from optidel.methods.meddel import Keep, meddel, novelties
from optidel.methods.outcome import cluster_twins, outcome
from optidel.records import Selection


def semdedup(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    radius: float | None = None,
    k: int | None = None,
    keep: Keep = "farthest",
) -> Selection:
    """De-duplicate inside each cluster.

    With a ``radius``, ``count`` of the rows that survive it are drawn; without, the radius is searched as
    :func:`meddel` does.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering, and the draw among survivors.
        radius: cosine distance in [0, 2) under which one of two rows of a cluster goes.
        k: clusters; default √n, at most ``count``.
        keep: which of two near-duplicates stays, ``farthest`` from the centroid or ``nearest``.

    Returns:
        The selection; in order of the draw with a radius. Gain: the radius below which the row
        stays, 2 for the first of a cluster.

    Raises:
        BudgetError: fewer rows survive the radius than ``count``.
        RecipeError: a parameter out of range.

    Source: Abbas et al. 2023, algorithm A7 (arXiv 2303.09540).
    """
    if radius is None:
        return meddel(vectors, count, rng=rng, k=k, keep=keep, border=0)
    if not 0 <= radius < 2:
        raise RecipeError(f"radius must be a cosine distance in [0, 2), got {radius}; 0.05 is a good start")
    check_choice("keep", keep, ("farthest", "nearest"))
    check_k(k, len(vectors))
    if k is None:
        k = min(count, default_k(len(vectors)))
    clusters = cluster(vectors, k, rng=rng)
    novelty = novelties(vectors, clusters, keep)
    survives = novelty >= radius
    if survives.sum() < count:
        raise BudgetError(
            f"{survives.sum()} rows survive radius {radius:g}, the budget asks for {count}; "
            "lower the radius or leave it out"
        )
    order = random_order(vectors, rng)
    picks = order[survives[order]][:count]
    dropped = np.where(survives, "not drawn", "within radius of twin")
    twins = cluster_twins(vectors, clusters, picks)
    return outcome(len(vectors), picks, novelty[picks], dropped=dropped, twins=twins)
