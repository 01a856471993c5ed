"""k-center: every row close to a chosen one; the next choice is always the row farthest from all chosen."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64, Int64

from optidel.arrays import Vectors
from optidel.features.clusters import Clusters, cluster
from optidel.features.rows import spans, unit
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Strategy, is_exact
from optidel.records import Selection

EXACT_UP_TO = 100_000
WINDOW = 2048
"""Farthest rows, at least, among which the next ones are found; a 128th of all if that is more."""
NEIGHBOURS = 32
"""Clusters whose choices a row is compared with, its own among them."""

HELD = 1 << 29
"""Numbers up to which clusters stay in memory, 2 GB of float32; beyond, they are read again for every batch
of choices.
"""

Meet = Callable[[Float32[np.ndarray, "n"], Int64[np.ndarray, "f"]], None]
"""Lower the distances of all rows (n,) to those to the rows just chosen (f,), in place."""


def k_center(
    vectors: Vectors, count: int, *, rng: np.random.Generator, strategy: Strategy = "auto"
) -> Selection:
    """Farthest-first traversal from the row nearest the mean, in cosine distance; at most twice the best
    possible radius (in Euclidean distance on the sphere). A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering.
        strategy: ``exact`` compares every row with every choice (n·m·d), ``partitioned`` with the first √n
            choices and those in the 32 clusters (of √n) nearest its own, or ``auto``: exact up to 100,000
            rows.

    Returns:
        The selection in the order taken. Gain: cosine distance to the nearest row taken before, as far as
        compared, 2 for the first. Each dropped row names the most similar taken row of its cluster.

    Raises:
        RecipeError: another strategy.

    Source: Gonzalez 1985; as a coreset, Sener & Savarese 2018, algorithm 1 (arXiv 1708.00489).
    """
    exact = is_exact(
        strategy, len(vectors), EXACT_UP_TO, "k-center", f"compared within {NEIGHBOURS} neighbouring clusters"
    )
    clusters = cluster(vectors, rng=rng)
    if exact:
        chosen, gains = farthest_first(unit(vectors), count)
    else:
        chosen, gains = _traverse(vectors, count, _meet_in_clusters(vectors, clusters))
    return outcome(
        len(vectors), chosen, gains, dropped="near a kept one", twins=cluster_twins(vectors, clusters, chosen)
    )


def farthest_first(
    rows: Float32[np.ndarray, "c d"], depth: int
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Rank unit rows: first the one most similar to the mean, then always the farthest from those ranked, the
    lower row at a tie.

    Returns:
        places int64 (depth,) and cosine distances float64 (depth,), 2 for the first; falling.
    """

    def meet(distance: Float32[np.ndarray, "n"], fresh: Int64[np.ndarray, "f"]) -> None:
        for span in spans(len(rows), max(len(fresh), rows.shape[1])):
            distance[span] = np.minimum(distance[span], _apart((rows[span] @ rows[fresh].T).max(axis=1)))

    return _traverse(rows, depth, meet)


def _meet_in_clusters(vectors: Vectors, clusters: Clusters) -> Meet:
    """Rows meet the first choices, about as many as there are clusters, and then those of the clusters
    nearest their own.
    """
    members = clusters.members()
    near = np.zeros((len(members), len(members)), dtype=bool)
    among = np.argsort(-(clusters.centroids @ clusters.centroids.T), axis=1, kind="stable")[:, :NEIGHBOURS]
    near[np.arange(len(members))[:, None], among] = True
    held = [unit(vectors[rows]) for rows in members] if vectors.size <= HELD else None
    met = 0

    def meet(distance: Float32[np.ndarray, "n"], fresh: Int64[np.ndarray, "f"]) -> None:
        nonlocal met
        choices, of = unit(vectors[fresh]), clusters.labels[fresh]
        for label, rows in enumerate(members):
            close = choices[near[label, of]] if met > len(members) else choices
            if len(rows) and len(close):
                cosine = (unit(vectors[rows]) if held is None else held[label]) @ close.T
                distance[rows] = np.minimum(distance[rows], _apart(cosine.max(axis=1)))
        met += len(fresh)

    return meet


def _traverse(
    vectors: Vectors, depth: int, meet: Meet
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Farthest-first traversal, several choices at a time.

    A distance can only shrink as others are chosen. So among the rows now farthest, several can be chosen by
    their distances to each other alone, as long as the next is farther than any row outside; then all rows
    meet these in matrix products.
    """
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    places[0], gains[0] = most_central(vectors), 2.0
    distance = np.full(len(vectors), 2.0, dtype=np.float32)
    known, ranked = 0, 1
    while ranked < depth:
        meet(distance, places[known:ranked])
        # Below every distance, so that copies are chosen only after everything else and no row twice.
        distance[places[:ranked]] = -1
        known = ranked
        if distance.max() == 0:  # only copies are left
            places[ranked:], gains[ranked:] = np.flatnonzero(distance == 0)[: depth - ranked], 0
            break
        found, far = _farthest(vectors, distance, depth - ranked)
        ranked += len(found)
        places[known:ranked], gains[known:ranked] = found, far
    return places, np.minimum.accumulate(gains)


def _farthest(
    vectors: Vectors, distance: Float32[np.ndarray, "n"], most: int
) -> tuple[list[int], list[float]]:
    """The next choices, at least one and at most ``most``, and their distances, as far as the rows now
    farthest can tell.
    """
    top, limit = np.arange(len(distance)), -1.0
    window = max(WINDOW, len(distance) // 128)
    if len(distance) > window:
        edge = np.argpartition(-distance, window)
        limit = float(distance[edge[window]])
        top = np.union1d(edge[:window], distance.argmax())
    rows = unit(vectors[top])
    own, cosine = distance[top], rows @ rows.T
    found: list[int] = []
    far: list[float] = []
    while len(found) < most:
        place = int(own.argmax())
        if found and own[place] <= limit:
            break
        found.append(int(top[place]))
        far.append(float(own[place]))
        np.minimum(own, _apart(cosine[place]), out=own, where=own >= 0)
        own[place] = -1
    return found, far


def _apart(cosine: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Cosine distance to 6 decimals, so that copies tie."""
    distance: Float32[np.ndarray, "*shape"] = (1 - cosine).round(6).clip(0)
    return distance


def most_central(vectors: Vectors) -> int:
    """The row most similar to the mean of all unit rows; the first at a tie (to 6 decimals)."""
    blocks = list(spans(*vectors.shape))
    mean = sum(unit(vectors[span]).sum(axis=0, dtype=np.float64) for span in blocks) / len(vectors)
    return int(
        np.concatenate([unit(vectors[span]) @ mean.astype(np.float32) for span in blocks]).round(6).argmax()
    )
