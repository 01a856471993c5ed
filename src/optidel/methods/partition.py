"""Greedy selection cut into parts: exact in one part, and in many of a few thousand rows each where one would
not fit.

A greedy ranking of a part has falling gains. An objective that is a sum over parts is therefore maximised
greedily by merging the rankings by gain, and no part needs to be ranked deeper than it is taken from.
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
Greedy = Callable[[Float32[np.ndarray, "c d"], int], tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]]
"""Unit rows and a depth to the places of the best ``depth`` rows, best first, and their falling gains."""

PART = 4096
"""Rows of an average part."""
FINALISTS = 3
"""Rows that the first of two rounds puts forward for each row wanted."""


def divide(
    vectors: Vectors, strategy: Strategy, exact_up_to: int, method: str, rng: np.random.Generator
) -> Clusters:
    """One part, or clusters of about 4,096 rows.

    Args:
        vectors: float (n, d), memory-mapped if large.
        strategy: ``exact`` for one part, ``partitioned``, or ``auto``: exact up to ``exact_up_to`` rows;
            parts are then said aloud.
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
    """Whether all ``n`` rows are ranked as one; what ``auto`` does ``otherwise`` is said aloud.

    Raises:
        RecipeError: another strategy.
    """
    check_choice("strategy", strategy, ("auto", "exact", "partitioned"))
    if strategy == "auto" and n > exact_up_to:
        say(f"{method}: {n:,} rows are {otherwise}; strategy='exact' ranks them as one, in more time")
    return strategy == "exact" or (strategy == "auto" and n <= exact_up_to)


def merged_greedy(
    vectors: Vectors, count: int, parts: Clusters, greedy: Greedy
) -> tuple[Int64[np.ndarray, "m"], Float64[np.ndarray, "m"]]:
    """The ``count`` best rows over all parts, best first, and their gains; equal gains in order of parts.

    Args:
        vectors: float (n, d), memory-mapped if large; one part at a time is copied.
        count: rows wanted.
        parts: the partition.
        greedy: ranks one part.
    """
    members = [rows for rows in parts.members() if len(rows)]
    depths = [
        min(len(rows), 16 + 2 * count * len(rows) // len(vectors)) if len(members) > 1 else count
        for rows in members
    ]
    ranked: list[tuple[Int64[np.ndarray, r], Float64[np.ndarray, r]]] = [
        (np.empty(0, np.int64), np.empty(0))
    ] * len(members)
    stale = list(range(len(members)))
    while stale:
        for part in stale:
            places, gains = greedy(unit(np.asarray(vectors[members[part]])), depths[part])
            ranked[part] = (members[part][places], gains)
        rows, owner = (
            np.concatenate([row for row, _ in ranked]),
            np.repeat(np.arange(len(ranked)), [len(row) for row, _ in ranked]),
        )
        gains = np.concatenate([gain for _, gain in ranked])
        best = np.argsort(-gains, kind="stable")[:count]
        taken = np.bincount(owner[best], minlength=len(members))
        stale = [
            part
            for part, depth in enumerate(depths)
            if taken[part] == depth < len(members[part]) and len(members) > 1
        ]
        for part in stale:
            depths[part] = min(len(members[part]), 2 * depths[part])
    return rows[best], gains[best]


def two_rounds(
    vectors: Vectors, count: int, parts: Clusters, greedy: Greedy
) -> tuple[Int64[np.ndarray, "m"], Float64[np.ndarray, "m"]]:
    """Rank within parts, then rank those put forward, three times as many as wanted, against each other; one
    part is ranked directly.

    Rows of neighbouring parts, which may stand in for each other, so meet in the second round.

    Args:
        vectors: float (n, d), memory-mapped if large; one part, or the rows put forward, are copied at a
            time.
        count: rows wanted.
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
            rows[greedy(unit(vectors[rows]), depth)[0]] for rows, depth in zip(members, depths, strict=True)
        ]
    finalists = np.sort(np.concatenate(forward))
    places, gains = greedy(unit(vectors[finalists]), count)
    return finalists[places], gains
