"""k-center: every row close to a kept one; the next pick is always the row farthest from all picks."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64, Int64

from optidel.arrays import Vectors
from optidel.features.clusters import Clusters, cluster
from optidel.features.rows import spans, unit
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Ranking, Strategy, is_exact
from optidel.records import Selection

# Rows up to which ``auto`` compares every row with every pick.
EXACT_UP_TO = 100_000
# Farthest rows, at least, among which the next picks are sought: their similarities to each other, 16 MB of
# float32, stay in the cache.
WINDOW = 2048
# The window holds at least one in so many rows: in a large corpus more picks are then made per pass.
WINDOW_SHARE = 128
# Clusters with whose picks a row is compared, its own among them.
NEIGHBOURS = 32
# Numbers up to which clusters stay in memory, 2 GB of float32; beyond, they are read again for every batch of
# picks.
HELD = 1 << 29

# Lower the distances of all rows (n,) to those to the latest picks (f,), in place.
Meet = Callable[[Float32[np.ndarray, "n"], Int64[np.ndarray, "f"]], None]


def k_center(
    vectors: Vectors, count: int, *, rng: np.random.Generator, strategy: Strategy = "auto"
) -> Selection:
    """Farthest-first traversal from the row nearest the mean, in cosine distance.

    The radius is at most twice the best possible (in Euclidean distance on the sphere). A smaller count keeps
    a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering.
        strategy: ``exact`` compares every row with every pick (n·m·d), ``partitioned`` with the first √n
            picks and those in the 32 clusters (of √n) nearest its own, or ``auto``: exact up to 100,000
            rows.

    Returns:
        The selection in the order of the picks. Gain: cosine distance to the nearest earlier pick, as far as
        compared, 2 for the first. Each dropped row names the most similar pick of its cluster.

    Raises:
        RecipeError: another strategy.

    Source: Gonzalez 1985; as a coreset, Sener & Savarese 2018, algorithm 1 (arXiv 1708.00489).
    """
    n = len(vectors)
    otherwise = f"compared within {NEIGHBOURS} neighbouring clusters"
    exact = is_exact(strategy, n, EXACT_UP_TO, "k-center", otherwise)
    clusters = cluster(vectors, rng=rng)
    if exact:
        picks, gains = farthest_first(unit(vectors), count)
    else:
        picks, gains = _traverse(vectors, count, _meet_in_clusters(vectors, clusters))
    twins = cluster_twins(vectors, clusters, picks)
    return outcome(n, picks, gains, dropped="near a kept one", twins=twins)


def farthest_first(rows: Float32[np.ndarray, "c d"], depth: int) -> Ranking:
    """Rank unit rows: first the one most similar to the mean, then always the farthest from those ranked.

    At a tie the lower row comes first.

    Returns:
        picks int64 (depth,) and cosine distances float64 (depth,), 2 for the first; falling.
    """

    def meet(distance: Float32[np.ndarray, "n"], latest: Int64[np.ndarray, "f"]) -> None:
        picks = rows[latest].T
        width = max(len(latest), rows.shape[1])
        for span in spans(len(rows), width):
            cosine = rows[span] @ picks
            distance[span] = np.minimum(distance[span], _apart(cosine.max(axis=1)))

    return _traverse(rows, depth, meet)


def _meet_in_clusters(vectors: Vectors, clusters: Clusters) -> Meet:
    """Rows meet the first picks, about as many as there are clusters, and then those of the clusters nearest
    their own.
    """
    members = clusters.members()
    centroid_cosine = clusters.centroids @ clusters.centroids.T
    nearest = np.argsort(-centroid_cosine, axis=1, kind="stable")[:, :NEIGHBOURS]
    neighbouring = np.zeros((len(members), len(members)), dtype=bool)
    neighbouring[np.arange(len(members))[:, None], nearest] = True
    cache = [unit(vectors[rows]) for rows in members] if vectors.size <= HELD else None
    total = 0

    def meet(distance: Float32[np.ndarray, "n"], latest: Int64[np.ndarray, "f"]) -> None:
        nonlocal total
        picks = unit(vectors[latest])
        pick_labels = clusters.labels[latest]
        for label, rows in enumerate(members):
            close = picks[neighbouring[label, pick_labels]] if total > len(members) else picks
            if len(rows) and len(close):
                own_rows = unit(vectors[rows]) if cache is None else cache[label]
                cosine = own_rows @ close.T
                distance[rows] = np.minimum(distance[rows], _apart(cosine.max(axis=1)))
        total += len(latest)

    return meet


def _traverse(vectors: Vectors, depth: int, meet: Meet) -> Ranking:
    """Farthest-first traversal, several picks at a time.

    A distance can only shrink as picks are added. So among the rows now farthest, several can be picked by
    their distances to each other alone, as long as the next is farther than any row outside. Then all rows
    meet these in matrix products.
    """
    picks = np.empty(depth, dtype=np.int64)
    gains = np.empty(depth)
    picks[0] = most_central(vectors)
    gains[0] = 2.0
    distance = np.full(len(vectors), 2.0, dtype=np.float32)
    compared, ranked = 0, 1
    while ranked < depth:
        meet(distance, picks[compared:ranked])
        # Below every distance, so that copies come after everything else and no row comes twice.
        distance[picks[:ranked]] = -1
        compared = ranked
        if distance.max() == 0:  # only copies are left
            copies = np.flatnonzero(distance == 0)
            picks[ranked:] = copies[: depth - ranked]
            gains[ranked:] = 0
            break
        batch, far = _farthest(vectors, distance, depth - ranked)
        ranked += len(batch)
        picks[compared:ranked], gains[compared:ranked] = batch, far
    # Within a batch the last digit may disagree with the order.
    return picks, np.minimum.accumulate(gains)


def _farthest(
    vectors: Vectors, distance: Float32[np.ndarray, "n"], most: int
) -> tuple[list[int], list[float]]:
    """The next picks, at least one and at most ``most``, and their distances, as far as the rows now farthest
    can decide.
    """
    window = max(WINDOW, len(distance) // WINDOW_SHARE)
    if len(distance) > window:
        edge = np.argpartition(-distance, window)
        limit = float(distance[edge[window]])
        candidates = np.union1d(edge[:window], distance.argmax())
    else:
        limit = -1.0
        candidates = np.arange(len(distance))

    rows = unit(vectors[candidates])
    cosine = rows @ rows.T
    gap = distance[candidates]
    picks: list[int] = []
    far: list[float] = []
    while len(picks) < most:
        best = int(gap.argmax())
        if picks and gap[best] <= limit:
            break
        picks.append(int(candidates[best]))
        far.append(float(gap[best]))
        np.minimum(gap, _apart(cosine[best]), out=gap, where=gap >= 0)
        gap[best] = -1
    return picks, far


def _apart(cosine: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Cosine distance to 6 decimals, so that copies tie."""
    distance: Float32[np.ndarray, "*shape"] = 1 - cosine
    rounded = distance.round(6)
    return rounded.clip(0)


def most_central(vectors: Vectors) -> int:
    """The row most similar to the mean of all unit rows; the first at a tie (to 6 decimals)."""
    blocks = list(spans(*vectors.shape))
    total: Float64[np.ndarray, d] = np.zeros(vectors.shape[1])
    for span in blocks:
        rows = unit(vectors[span])
        total += rows.sum(axis=0, dtype=np.float64)
    mean = (total / len(vectors)).astype(np.float32)
    similarity = np.empty(len(vectors), dtype=np.float32)
    for span in blocks:
        rows = unit(vectors[span])
        similarity[span] = rows @ mean
    return int(similarity.round(6).argmax())
