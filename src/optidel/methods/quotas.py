"""How a total is shared between clusters of unequal size."""

import numpy as np
from jaxtyping import Float64, Int64

# Sums of shares this close to a whole number are whole: far above the rounding error of a sum of a million
# shares.
WHOLE = 1e-6


def water_fill(sizes: Int64[np.ndarray, "k"], total: int) -> Int64[np.ndarray, "k"]:
    """Share ``total`` as evenly as the sizes allow.

    Small clusters give all they have, and the others share the rest evenly.

    Args:
        sizes: int64 (k,), at least 0.
        total: at most the sum of the sizes.

    Returns:
        int64 (k,), at most ``sizes``, with sum ``total``; what does not divide goes to larger clusters, at a
        tie to later ones.

    Source: Vo et al. 2024 (arXiv 2405.15613, section 3.3).
    """
    quota = np.zeros(len(sizes), dtype=np.int64)
    left = total
    for step, label in enumerate(np.argsort(sizes, kind="stable")):
        even_share = left // (len(sizes) - step)
        quota[label] = min(int(sizes[label]), even_share)
        left -= quota[label]
    assert left == 0, "the total exceeds the sum of the sizes"
    return quota


def rank_in_group(labels: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
    """How many rows of the same group come before each row.

    Args:
        labels: int64 (m,), the group of each row, in order.
    """
    by_group = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_group] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return rank


def power_shares(sizes: Int64[np.ndarray, "k"], total: int, gamma: float) -> Float64[np.ndarray, "k"]:
    """Share ``total`` in proportion to size^γ; a cluster whose share exceeds its size gives all it has.

    Args:
        sizes: int64 (k,), at least 0.
        total: at most the sum of the sizes.
        gamma: 0 shares evenly, 1 in proportion to the sizes, ½ in between.

    Returns:
        float64 (k,), at most ``sizes``, with sum ``total``: min(size, λ·size^γ) for one λ.
    """
    weights = sizes.astype(np.float64)
    filled = sizes > 0
    weights[filled] **= gamma
    return weighted_shares(sizes, total, weights)


def weighted_shares(
    sizes: Int64[np.ndarray, "k"], total: int, weights: Float64[np.ndarray, "k"]
) -> Float64[np.ndarray, "k"]:
    """Share ``total`` in proportion to the weights; a cluster whose share exceeds its size gives all it has.

    Args:
        sizes: int64 (k,), at least 0.
        total: at most the sum of the sizes of the clusters that have a weight.
        weights: float64 (k,), at least 0.

    Returns:
        float64 (k,), at most ``sizes``, with sum ``total``: min(size, λ·weight) for one λ.
    """
    takes_part = (sizes > 0) & (weights > 0)
    size = sizes[takes_part].astype(np.float64)
    weight = weights[takes_part]
    # Clusters of the smallest size over weight are full first. With the first f of them full, the others
    # share what is left at the level λ; the right f is the first at which no other cluster overflows.
    ratio = size / weight
    order = np.argsort(ratio, kind="stable")
    size_in_order, weight_in_order = size[order], weight[order]
    total_of_full = np.cumsum(size_in_order) - size_in_order
    weight_of_others = np.cumsum(weight_in_order[::-1])[::-1]
    level = (total - total_of_full) / weight_of_others
    fits = np.flatnonzero(level <= ratio[order])

    shares = np.zeros(len(sizes))
    shares[takes_part] = np.minimum(size, level[fits[0]] * weight) if len(fits) else size
    return shares


def systematic_rounding(
    shares: Float64[np.ndarray, "k"], total: int, rng: np.random.Generator
) -> Int64[np.ndarray, "k"]:
    """Round each share up or down such that the sum is ``total`` and each has its share on average.

    A share of 0.3 becomes 1 in three of ten draws, so no small cluster is always left out.

    Args:
        shares: float64 (k,), at least 0, with sum ``total``.
        total: a whole number.
        rng: one draw, the same for all.

    Source: systematic sampling, Madow 1949 (Ann. Math. Stat. 20, 333).
    """
    # Whole shares stay exactly as they are: a cluster that gives all it has cannot give one more.
    shares = _snapped(shares)
    base = np.floor(shares)
    edges = _snapped(np.cumsum(shares - base))
    steps = np.floor(edges + rng.random())
    extra = np.diff(steps, prepend=0.0)
    quota: Int64[np.ndarray, k] = (base + extra).astype(np.int64)
    assert quota.sum() == total, "the shares do not sum to the total"
    return quota


def _snapped(values: Float64[np.ndarray, "k"]) -> Float64[np.ndarray, "k"]:
    """Values that are whole but for rounding errors become whole."""
    nearest = np.round(values)
    is_whole = np.abs(values - nearest) < WHOLE
    snapped: Float64[np.ndarray, k] = np.where(is_whole, nearest, values)
    return snapped


def within_quota(
    order: Int64[np.ndarray, "n"], labels: Int64[np.ndarray, "n"], quota: Int64[np.ndarray, "k"]
) -> Int64[np.ndarray, "m"]:
    """The first rows of every group, as many as its quota: the first of every group, then the second, …

    Args:
        order: int64 (n,), rows, best first.
        labels: int64 (n,), group of each row.
        quota: int64 (k,), rows to keep of each group.
    """
    group = labels[order]
    rank = rank_in_group(group)
    allowed = rank < quota[group]
    by_turn = np.lexsort((group[allowed], rank[allowed]))
    rows: Int64[np.ndarray, m] = order[allowed]
    return rows[by_turn]
