"""OptiDEL: the hardest key patches of the whole set, kept diverse."""

import numpy as np
from jaxtyping import Int64, Shaped

from optidel.arrays import Scores, Vectors
from optidel.errors import BudgetError, RecipeError
from optidel.features.clusters import Clusters, cluster, default_k
from optidel.features.rows import unit
from optidel.methods.hardest import hardest
from optidel.methods.inputs import check_k
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.quotas import water_fill
from optidel.records import Selection

RADIUS_STEPS = (1.0, 0.5, 0.25, 0.0)
"""Shares of the radius tried in turn when too few rows are far enough apart; the quotas go last."""


def optidel(
    vectors: Vectors,
    count: int,
    *,
    difficulty: Scores,
    rng: np.random.Generator,
    diversity: bool = True,
    radius: float | None = None,
    quota_slack: float = 2.0,
    k: int | None = None,
) -> Selection:
    """Take the hardest ``count`` rows such that no cluster and no neighbourhood takes too many.

    Rows are visited hardest first. One is taken if its cluster has not yet taken ``quota_slack`` times its
    even share and if no taken row of its cluster is closer than ``radius``. If fewer than ``count`` can be
    taken so, the rest are visited again with a half, a quarter and none of the radius, and at last without
    quotas; the reason of a row taken then begins with ``kept`` and says so.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        difficulty: float (n,), higher is harder, any scorer; ties go to the lower row.
        rng: the clustering.
        diversity: without it, simply the hardest rows.
        radius: cosine distance in [0, 2) that taken rows of one cluster keep; default the median distance of
            a row to its centroid, about half of what two rows of a cluster are apart, whatever the scale of
            the embedding.
        quota_slack: at least 1: 1 spreads evenly over clusters (water-filling), infinity lets difficulty
            decide.
        k: clusters; default √n, at most ``count``.

    Returns:
        The selection in the order taken. Gain: the difficulty. Each dropped row names the most similar taken
        row of its cluster.

    Raises:
        BudgetError: fewer rows than ``count``.
        RecipeError: a parameter out of range.

    Source: OptiDEL (arXiv 2408.07107, section 3; the form of the diversity constraint is this project's).
    """
    if count > len(vectors):
        raise BudgetError(
            f"the budget needs {count} key patches, there are {len(vectors)}; lower the budget, place fewer patches in a composite "
            "or propose more regions per frame"
        )
    _check(radius, quota_slack)
    check_k(k, len(vectors))
    if not diversity:
        return hardest(vectors, count, difficulty=difficulty)
    order = np.argsort(-difficulty, kind="stable")
    clusters = cluster(vectors, min(count, default_k(len(vectors))) if k is None else k, rng=rng)
    apart = max(0.0, float(np.median(1 - clusters.similarity))) if radius is None else radius
    chosen, note = _greedy(vectors, count, order, clusters, apart, quota_slack)
    twins = cluster_twins(vectors, clusters, chosen)
    selection = outcome(len(vectors), chosen, difficulty[chosen], dropped=note, twins=twins)
    selection.reason[chosen] = note[chosen]
    return selection


def _greedy(
    vectors: Vectors,
    count: int,
    order: Int64[np.ndarray, "n"],
    clusters: Clusters,
    radius: float,
    quota_slack: float,
) -> tuple[Int64[np.ndarray, "m"], Shaped[np.ndarray, "n"]]:
    """Visit rows in ``order``, pass after pass with a weaker constraint, until ``count`` are taken.

    Returns:
        The rows taken, int64 (count,), and a remark for every row, str (n,).
    """
    sizes = np.bincount(clusters.labels, minlength=len(clusters.centroids))
    quota = np.minimum(sizes, np.ceil(water_fill(sizes, count) * quota_slack))
    taken: list[int] = []
    places: list[list[int]] = [[] for _ in sizes]
    units = np.empty((count, vectors.shape[1]), dtype=np.float32)
    note = np.full(len(order), "less hard", dtype="<U32")
    passes = [(share * radius, quota) for share in RADIUS_STEPS] + [(0.0, sizes)]
    for step, (gap, limit) in enumerate(passes):
        remark = (
            "kept" if step == 0 else f"kept, radius {gap:.2g}" if limit is quota else "kept, quota lifted"
        )
        for row in order[~np.isin(order, taken)]:
            if len(taken) == count:
                break
            near = places[clusters.labels[row]]
            vector = unit(np.asarray(vectors[row : row + 1]))[0]
            if len(near) >= limit[clusters.labels[row]]:
                note[row] = "cluster quota full"
            elif near and gap > 0 and (units[near] @ vector).max() > 1 - gap:
                note[row] = "within radius of twin"
            else:
                units[len(taken)] = vector
                near.append(len(taken))
                taken.append(int(row))
                note[row] = remark
    return np.array(taken, dtype=np.int64), note


def _check(radius: float | None, quota_slack: float) -> None:
    if radius is not None and not 0 <= radius < 2:
        raise RecipeError(f"radius must be a cosine distance in [0, 2), got {radius}; 0.1 is a good start")
    if not quota_slack >= 1:
        raise RecipeError(
            f"quota_slack must be at least 1, got {quota_slack}; 1 shares evenly between clusters, infinity does not share"
        )
