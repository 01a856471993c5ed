"""Balance over concepts: every cluster gives a share that grows with the square root of its size."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from optidel.arrays import Scores, Vectors
from optidel.errors import InputError, RecipeError
from optidel.features.clusters import Clusters, cluster, default_k
from optidel.features.rows import random_order, unit
from optidel.methods.inputs import check_k
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.quotas import power_shares, rank_in_group, systematic_rounding, within_quota
from optidel.records import Selection

# Digits of a quantile that count: ranks of a concept of a billion rows differ by more.
QUANTILE_DIGITS = 12


def concepts(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    difficulty: Scores | None = None,
    k: int | None = None,
    gamma: float = 0.5,
    window: Sequence[float] | None = None,
    radius: float = 0.0,
) -> Selection:
    """Cluster the rows into concepts, share the count in proportion to size^γ, and draw at random inside
    each.

    Uniform draws repeat the frequent concepts. Equal shares exhaust the rare ones, and with them what is odd
    or broken. The square root lies between the two. The vectors decide what a concept is: centre and whiten
    them first, as a run does, or most of their similarity is what all images have in common.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering, the rounding of the shares and the draws.
        difficulty: float (n,), higher is harder; read only where ``window`` is set.
        k: concepts; default √n, at most ``count``. A concept belongs to the corpus and not to the budget, so
            k grows with n, and with √n finding the clusters costs as much as looking inside them.
        gamma: exponent of the size, in [0, 1]: 1 is proportional to the sizes, 0 equal. 1 suits tiny budgets
            of a homogeneous corpus, 0 large ones.
        window: (low, high), quantiles of the difficulty inside each concept between which rows are drawn; a
            concept whose window holds less than its share gives the rows nearest to it as well. None draws
            from all.
        radius: cosine distance in [0, 2) within which one of two rows of a concept is passed over, as long as
            the concept has other rows in the window. 0 compares nothing.

    Returns:
        The selection: the first draw of every concept, then the second, … Gain: how many rows of its concept
        each stands for. Each dropped row names the most similar kept row of its concept.

    Raises:
        InputError: a window without a difficulty.
        RecipeError: a parameter out of range.

    Source: balance over clusters by a power of their size, as the temperature sampling of multilingual
        corpora (Conneau et al. 2020, arXiv 1911.02116, section 3.1) and between the two ends of Vo et al.
        2024 (arXiv 2405.15613). The window is placed by :func:`optidel.theory.best_window`.
    """
    check_k(k, len(vectors))
    low, high = _check(gamma, window, radius)
    if window is not None and difficulty is None:
        raise InputError("a window needs a difficulty per row; pass difficulty=…, or leave the window out")

    n = len(vectors)
    k = min(count, default_k(n)) if k is None else k
    clusters = cluster(vectors, k, rng=rng)
    sizes = np.bincount(clusters.labels, minlength=k)
    shares = power_shares(sizes, count, gamma)
    quota = systematic_rounding(shares, count, rng)

    order = random_order(vectors, rng)
    outside = np.zeros(n)
    if window is not None and difficulty is not None:
        outside = _distance_to_window(difficulty, clusters.labels, low, high)
        order = order[np.argsort(outside[order], kind="stable")]
    if radius > 0:
        order = _near_rows_last(vectors, clusters, order, outside, quota, radius)

    picks = within_quota(order, clusters.labels, quota)
    label = clusters.labels[picks]
    gains = sizes[label] / quota[label]
    dropped = np.where(outside > 0, "outside the window", "not drawn in its concept")
    kept = np.where(outside > 0, "kept, outside the window", "kept")
    twins = cluster_twins(vectors, clusters, picks)
    return outcome(n, picks, gains, dropped=dropped, kept=kept, twins=twins)


def _check(gamma: float, window: Sequence[float] | None, radius: float) -> tuple[float, float]:
    """The ends of the window, 0 and 1 without one."""
    if not 0 <= gamma <= 1:
        raise RecipeError(
            f"gamma must be in [0, 1], got {gamma}; 0.5 shares in proportion to the root of the size"
        )
    if not 0 <= radius < 2:
        raise RecipeError(f"radius must be a cosine distance in [0, 2), got {radius}; 0.05 is a good start")
    low, high = (0.0, 1.0) if window is None else _ends(window)
    if not 0 <= low < high <= 1:
        raise RecipeError(
            f"window must be two quantiles that rise from at least 0 to at most 1, got {window}; "
            "(0.7, 1.0) draws from the hardest three tenths of each concept"
        )
    return low, high


def _ends(window: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = window
        return float(low), float(high)
    except (TypeError, ValueError):
        return 1.0, 0.0  # in no order, which the caller refuses


def _distance_to_window(
    difficulty: Scores, labels: Int64[np.ndarray, "n"], low: float, high: float
) -> Float64[np.ndarray, "n"]:
    """How far outside the window each row lies, in quantiles of the difficulty of its concept; 0 inside.

    A row of rank r (from 0) among c has the quantile (r + ½)/c, whatever the scale of the difficulty. Equal
    difficulties share the mean of their quantiles, so that the order of the rows does not matter.
    """
    order = np.lexsort((difficulty, labels))
    new_concept = np.diff(labels[order], prepend=-1) != 0
    new_value = np.diff(difficulty[order], prepend=np.nan) != 0
    level = np.empty(len(labels), dtype=np.int64)
    level[order] = np.cumsum(new_concept | new_value) - 1

    rank = np.empty(len(labels))
    rank[order] = rank_in_group(labels[order])
    mean_rank = np.bincount(level, weights=rank) / np.bincount(level)
    size = np.bincount(labels)[labels]
    quantile = (mean_rank[level] + 0.5) / size
    distance = np.maximum(0, np.maximum(low - quantile, quantile - high))
    # A rank that lies on an end of the window is inside, and equal distances are equal: without rounding the
    # last bit of a quotient decided.
    return np.asarray(np.round(distance, QUANTILE_DIGITS))


def _near_rows_last(
    vectors: Vectors,
    clusters: Clusters,
    order: Int64[np.ndarray, "n"],
    outside: Float64[np.ndarray, "n"],
    quota: Int64[np.ndarray, "k"],
    radius: float,
) -> Int64[np.ndarray, "n"]:
    """In each concept, rows within the radius of an earlier one move behind the others that lie in the
    window.
    """
    by_label = np.argsort(clusters.labels[order], kind="stable")
    by_concept = order[by_label]
    ends = np.cumsum(np.bincount(clusters.labels, minlength=len(quota)))
    result = []
    for rows, share in zip(np.split(by_concept, ends[:-1]), quota, strict=True):
        inside = outside[rows] == 0
        candidates = rows[inside]
        near = _near_earlier(vectors, candidates, int(share), radius)
        result += [candidates[~near], candidates[near], rows[~inside]]
    return np.concatenate(result)


def _near_earlier(
    vectors: Vectors, rows: Int64[np.ndarray, "c"], most: int, radius: float
) -> Bool[np.ndarray, "c"]:
    """Which rows lie within the radius of an earlier distinct row, until ``most`` rows are distinct."""
    near = np.zeros(len(rows), dtype=bool)
    if most < 2:
        return near
    distinct = np.empty((min(most, len(rows)), vectors.shape[1]), dtype=np.float32)
    filled = 0
    for position, row in enumerate(rows):
        [vector] = unit(np.asarray(vectors[row : row + 1]))
        cosine = distinct[:filled] @ vector
        near[position] = bool((cosine > 1 - radius).any())
        if not near[position]:
            distinct[filled] = vector
            filled += 1
        if filled == most:
            break
    return near
