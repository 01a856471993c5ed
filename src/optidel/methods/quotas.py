"""How a total is shared between clusters of unequal size."""

import numpy as np
from jaxtyping import Int64


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
