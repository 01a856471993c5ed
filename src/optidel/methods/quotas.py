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
    size = sizes[sizes > 0].astype(np.float64)
    weight = size**gamma
    # Clusters of the smallest size over weight are full first. With the first f of them full, the others
    # share what is left at the level λ; the right f is the first at which no other cluster overflows.
    ratio = size / weight
    order = np.argsort(ratio, kind="stable")
    given_by_full = np.cumsum(size[order]) - size[order]
    weight_of_others = np.cumsum(weight[order][::-1])[::-1]
    level = (total - given_by_full) / weight_of_others
    fits = np.flatnonzero(level <= ratio[order])

    shares = np.zeros(len(sizes))
    shares[sizes > 0] = np.minimum(size, level[fits[0]] * weight) if len(fits) else size
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
    nearest = np.round(shares)
    shares = np.where(np.abs(shares - nearest) < WHOLE, nearest, shares)
    base = np.floor(shares)
    edges = np.cumsum(shares - base)
    # Their sum is a whole number but for rounding errors.
    nearest = np.round(edges)
    edges = np.where(np.abs(edges - nearest) < WHOLE, nearest, edges)
    steps = np.floor(edges + rng.random())
    quota: Int64[np.ndarray, k] = (base + np.diff(steps, prepend=0.0)).astype(np.int64)
    assert quota.sum() == total, "the shares do not sum to the total"
    return quota
