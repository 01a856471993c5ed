"""Greedy selection in parts: exact in one part, or in many of a few thousand rows each where one is too
large.

A greedy ranking of a part has falling gains. An objective that is a sum over parts is therefore maximised
greedily by merging the rankings by gain, and no part needs a ranking deeper than what the merge takes of it.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from optidel.arrays import Vectors
from optidel.features.clusters import Clusters, cluster
from optidel.features.rows import unit
from optidel.methods.inputs import check_choice
from optidel.progress import say

Strategy = Literal["auto", "exact", "partitioned"]
# Rows, best first, and their falling gains.
Ranking = tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]
# Unit rows and a depth to the best ``depth`` of them.
Greedy = Callable[[Float32[np.ndarray, "c d"], int], Ranking]

# Rows of an average part: their similarities, 64 MB of float32, are quick to compute and to hold.
PART = 4096
# Least depth to which a part is ranked at first, so that small parts are rarely ranked twice.
FIRST_DEPTH = 16
# Rows that the first of two rounds puts forward for each row kept. A round number: more cost a longer second
# round, fewer leave it less choice.
FINALISTS = 3


def divide(
    vectors: Vectors, strategy: Strategy, exact_up_to: int, method: str, rng: np.random.Generator
) -> Clusters:
    """One part, or clusters of about 4,096 rows.

    Args:
        vectors: float (n, d), memory-mapped if large.
        strategy: ``exact`` for one part; ``partitioned``; or ``auto``, one part up to ``exact_up_to`` rows
            and above it parts, with a message.
        exact_up_to: rows.
        method: for the message.
        rng: the clustering.

    Raises:
        RecipeError: another strategy.
    """
    n = len(vectors)
    parts = max(2, -(-n // PART))
    exact = is_exact(strategy, n, exact_up_to, method, f"ranked in {parts} clusters")
    return cluster(vectors, 1 if exact else parts, rng=rng)


def is_exact(strategy: Strategy, n: int, exact_up_to: int, method: str, otherwise: str) -> bool:
    """Whether all ``n`` rows are ranked as one; where ``auto`` decides against it, a message says so.

    Args:
        strategy: as in :func:`divide`.
        n: rows.
        exact_up_to: rows up to which ``auto`` is exact.
        method: for the message.
        otherwise: for the message, what happens to the rows instead.

    Raises:
        RecipeError: another strategy.
    """
    check_choice("strategy", strategy, ("auto", "exact", "partitioned"))
    if strategy != "auto":
        return strategy == "exact"
    if n <= exact_up_to:
        return True
    say(f"{method}: {n:,} rows are {otherwise}; strategy='exact' ranks them as one, in more time")
    return False


def merged_greedy(vectors: Vectors, count: int, parts: Clusters, greedy: Greedy) -> Ranking:
    """The ``count`` best rows over all parts, best first, and their gains; equal gains in order of parts.

    Args:
        vectors: float (n, d), memory-mapped if large; one part at a time is copied.
        count: rows to keep.
        parts: the partition.
        greedy: ranks one part.
    """
    members = [rows for rows in parts.members() if len(rows)]
    if len(members) == 1:
        return _ranked(vectors, members[0], count, greedy)

    # Twice the even share at first: a part that gives more than that is ranked again, deeper.
    depths = []
    for rows in members:
        double_share = 2 * count * len(rows) // len(vectors)
        depths.append(min(len(rows), FIRST_DEPTH + double_share))
    rankings = [_ranked(vectors, rows, depth, greedy) for rows, depth in zip(members, depths, strict=True)]
    while True:
        rows, gains = (np.concatenate(columns) for columns in zip(*rankings, strict=True))
        best = np.argsort(-gains, kind="stable")[:count]
        owner = np.repeat(np.arange(len(members)), depths)
        used = np.bincount(owner[best], minlength=len(members))

        exhausted = [part for part, depth in enumerate(depths) if used[part] == depth < len(members[part])]
        if not exhausted:
            return rows[best], gains[best]
        for part in exhausted:
            depths[part] = min(len(members[part]), 2 * depths[part])
            rankings[part] = _ranked(vectors, members[part], depths[part], greedy)


def two_rounds(vectors: Vectors, count: int, parts: Clusters, greedy: Greedy) -> Ranking:
    """Rank within parts, then rank the finalists, three for each row kept, against each other.

    Rows of neighbouring parts, which may stand in for each other, meet in the second round. One part is
    ranked directly.

    Args:
        vectors: float (n, d), memory-mapped if large; one part, or the finalists, are copied at a time.
        count: rows to keep.
        parts: the partition.
        greedy: ranks unit rows.

    Source: Mirzasoleiman et al. 2013, algorithm 2 (GreeDi; arXiv 1411.0541).
    """
    members = [rows for rows in parts.members() if len(rows)]
    forward = members
    if len(members) > 1:
        share = FINALISTS * count / len(vectors)
        depths = [min(len(rows), 1 + math.ceil(share * len(rows))) for rows in members]
        forward = [
            _ranked(vectors, rows, depth, greedy)[0] for rows, depth in zip(members, depths, strict=True)
        ]
    finalists = np.sort(np.concatenate(forward))
    return _ranked(vectors, finalists, count, greedy)


def _ranked(vectors: Vectors, rows: Int64[np.ndarray, "c"], depth: int, greedy: Greedy) -> Ranking:
    """The ranking of some of the rows, in row numbers of the whole."""
    positions, gains = greedy(unit(np.asarray(vectors[rows])), depth)
    return rows[positions], gains
