"""OptiDEL as published: the hardest key patches of the whole set, kept diverse."""

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from optidel.arrays import Scores, Vectors
from optidel.errors import BudgetError, RecipeError
from optidel.features.clusters import Clusters, cluster, default_k
from optidel.features.rows import unit
from optidel.methods.hardest import hardest
from optidel.methods.inputs import check_k
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.quotas import water_fill
from optidel.records import Selection

# Shares of the radius tried in turn when too few rows are far enough apart; the quotas go last. Halving twice
# keeps most of the diversity before it is given up.
RADIUS_STEPS = (1.0, 0.5, 0.25, 0.0)


def optidel_paper(
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

    Rows are visited hardest first. A row is picked if the picks of its cluster are fewer than ``quota_slack``
    times the cluster's even share, and if none of them is closer than ``radius``. If this gives fewer than
    ``count``, the rest are visited again with a half, a quarter and none of the radius, and at last without
    quotas. The reason of a row picked then begins with ``kept`` and says so.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        difficulty: float (n,), higher is harder, any scorer; ties go to the lower row.
        rng: the clustering.
        diversity: without it, simply the hardest rows.
        radius: cosine distance in [0, 2) between any two picks of one cluster; default the median distance of
            a row to its centroid, about half the distance of two rows of a cluster, whatever the scale of the
            embedding.
        quota_slack: at least 1: 1 spreads evenly over clusters (water-filling), infinity lets difficulty
            decide.
        k: clusters; default √n, at most ``count``.

    Returns:
        The selection in the order of the picks. Gain: the difficulty. Each dropped row names the most similar
        pick of its cluster.

    Raises:
        BudgetError: fewer rows than ``count``.
        RecipeError: a parameter out of range.

    Source: OptiDEL (arXiv 2408.07107, section 3; the form of the diversity constraint is this project's).
    """
    if count > len(vectors):
        raise BudgetError(
            f"the budget needs {count} key patches, there are {len(vectors)}; lower the budget, "
            "place fewer patches in a composite or propose more regions per frame"
        )
    _check(radius, quota_slack)
    check_k(k, len(vectors))
    if not diversity:
        return hardest(vectors, count, difficulty=difficulty)
    if k is None:
        k = min(count, default_k(len(vectors)))
    clusters = cluster(vectors, k, rng=rng)
    if radius is None:
        radius = max(0.0, float(np.median(1 - clusters.similarity)))

    order = np.argsort(-difficulty, kind="stable")
    picks, note = _greedy(vectors, count, order, clusters, radius, quota_slack)
    twins = cluster_twins(vectors, clusters, picks)
    return outcome(len(vectors), picks, difficulty[picks], dropped=note, kept=note, twins=twins)


def _greedy(
    vectors: Vectors,
    count: int,
    order: Int64[np.ndarray, "n"],
    clusters: Clusters,
    radius: float,
    quota_slack: float,
) -> tuple[Int64[np.ndarray, "m"], Shaped[np.ndarray, "n"]]:
    """Visit rows in ``order``, pass after pass with a weaker constraint, until there are ``count`` picks.

    Returns:
        The picks, int64 (count,), and a remark for every row, str (n,).
    """
    sizes = np.bincount(clusters.labels, minlength=len(clusters.centroids))
    even_share = water_fill(sizes, count)
    quota = np.minimum(sizes, np.ceil(even_share * quota_slack))
    passes = [("kept", radius, quota)]
    passes += [(f"kept, radius {share * radius:.2g}", share * radius, quota) for share in RADIUS_STEPS[1:]]
    passes += [("kept, quota lifted", 0.0, sizes)]

    picks: list[int] = []
    ranks_of_cluster: list[list[int]] = [[] for _ in sizes]
    units = np.empty((count, vectors.shape[1]), dtype=np.float32)
    note = np.full(len(order), "less hard", dtype="<U32")
    for remark, gap, limit in passes:
        for row in order[~np.isin(order, picks)]:
            if len(picks) == count:
                break
            label = clusters.labels[row]
            ranks = ranks_of_cluster[label]
            [vector] = unit(np.asarray(vectors[row : row + 1]))
            if len(ranks) >= limit[label]:
                note[row] = "cluster quota full"
            elif gap > 0 and _within(units[ranks], vector, gap):
                note[row] = "within radius of twin"
            else:
                units[len(picks)] = vector
                ranks.append(len(picks))
                picks.append(int(row))
                note[row] = remark
    return np.array(picks, dtype=np.int64), note


def _within(picks: Float32[np.ndarray, "p d"], vector: Float32[np.ndarray, "d"], gap: float) -> bool:
    """Whether a pick is closer to the vector than the gap, a cosine distance."""
    if len(picks) == 0:
        return False
    cosine = picks @ vector
    return bool(cosine.max() > 1 - gap)


def _check(radius: float | None, quota_slack: float) -> None:
    if radius is not None and not 0 <= radius < 2:
        raise RecipeError(f"radius must be a cosine distance in [0, 2), got {radius}; 0.1 is a good start")
    if not quota_slack >= 1:
        raise RecipeError(
            f"quota_slack must be at least 1, got {quota_slack}; 1 shares evenly between clusters, "
            "infinity does not share"
        )
