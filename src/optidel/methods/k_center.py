"""k-center: every row close to a chosen one; the next choice is always the row farthest from all chosen."""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from optidel.arrays import Vectors
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Strategy, divide, merged_greedy
from optidel.records import Selection

EXACT_UP_TO = 20_000


def k_center(vectors: Vectors, count: int, *, rng: np.random.Generator, strategy: Strategy = "auto") -> Selection:
    """Farthest-first traversal from the row nearest the mean, in cosine distance; at most twice the best possible radius (in Euclidean
    distance on the sphere). A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering into parts.
        strategy: ``exact`` over all rows at once (n·m·d), ``partitioned`` inside clusters, merged by distance, or ``auto``: exact up to
            20,000 rows.

    Returns:
        The selection in the order taken. Gain: cosine distance to the nearest row taken before, 2 for the first (of a part). Each dropped
        row names the most similar taken row of its part.

    Raises:
        RecipeError: another strategy.

    Source: Gonzalez 1985; as a coreset, Sener & Savarese 2018, algorithm 1 (arXiv 1708.00489).
    """
    parts = divide(vectors, strategy, EXACT_UP_TO, "k-center", rng)
    chosen, gains = merged_greedy(vectors, count, parts, farthest_first)
    return outcome(len(vectors), chosen, gains, dropped="near a kept one", twins=cluster_twins(vectors, parts, chosen))


def farthest_first(rows: Float32[np.ndarray, "c d"], depth: int) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Rank unit rows: first the one most similar to the mean, then always the farthest from those ranked.

    Returns:
        places int64 (depth,) and cosine distances float64 (depth,), 2 for the first; falling.
    """
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    distance = np.full(len(rows), 2.0, dtype=np.float32)
    place = most_central(rows)
    for step in range(depth):
        places[step], gains[step] = place, max(0.0, float(distance[place]))
        distance = np.minimum(distance, (1 - rows @ rows[place]).round(6).clip(0))
        # Below every distance, so that copies are taken only after everything else and no row twice.
        distance[places[: step + 1]] = -1
        place = int(distance.argmax())
    return places, gains


def most_central(rows: Float32[np.ndarray, "c d"]) -> int:
    """The place of the unit row most similar to the mean of all; the first at a tie (to 6 decimals)."""
    return int((rows @ rows.mean(axis=0)).round(6).argmax())
