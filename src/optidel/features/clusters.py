"""Spherical k-means: trained on a sample, then one streaming pass gives every row its cluster."""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array

from optidel.arrays import Vectors
from optidel.features.rows import SMALLEST_SQUARE, random_order, spans, unit

# Rows of the training sample, per centroid: a round number.
SAMPLE_PER_CENTROID = 128
# Rows of the sample among which the first centroids are drawn, per centroid.
SEEDS_PER_CENTROID = 8
# Iterations at the most: a round number.
ITERATIONS = 20
# Training stops once an iteration lowers the mean distance to the centroids by less than this share.
SETTLED = 1e-3
# Cosine distance under which a row counts as a copy of its centroid: above the rounding of float32.
SAME = 1e-6
# Similarities of one block of an assignment: 4 MB, which stays in the cache.
ASSIGN_FLOATS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """A partition of rows by direction.

    Args:
        centroids: float32 (k, d), unit length.
        labels: int64 (n,), the most similar centroid of each row; the lower number at a tie. A cluster may be
            empty.
        similarity: float32 (n,), cosine similarity of each row to its own centroid.
        guests: int64 (2, g), rows and the next cluster, at whose border they lie; none unless asked for.
    """

    centroids: Float32[np.ndarray, "k d"]
    labels: Int64[np.ndarray, "n"]
    similarity: Float32[np.ndarray, "n"]
    guests: Int64[np.ndarray, "2 g"] = field(default_factory=lambda: np.empty((2, 0), dtype=np.int64))

    def members(self) -> list[Int64[np.ndarray, "c"]]:
        """The rows of each cluster in ascending order, cluster by cluster; the rows of an empty one are an
        empty array.
        """
        rows = np.arange(len(self.labels))
        return self._split(rows, self.labels)

    def neighbourhoods(self) -> list[Int64[np.ndarray, "c"]]:
        """The rows of each cluster and its guests, in ascending order, cluster by cluster."""
        members = np.arange(len(self.labels))
        guests, hosts = self.guests
        rows = np.append(members, guests)
        labels = np.append(self.labels, hosts)
        return self._split(rows, labels)

    def _split(
        self, rows: Int64[np.ndarray, "m"], labels: Int64[np.ndarray, "m"]
    ) -> list[Int64[np.ndarray, "c"]]:
        sizes = np.bincount(labels, minlength=len(self.centroids))
        ends = np.cumsum(sizes)
        order = np.lexsort((rows, labels))
        ordered = rows[order]
        return np.split(ordered, ends[:-1])


def default_k(n: int) -> int:
    """√n clusters: comparing rows within clusters (n²/k) then costs no more than finding the clusters
    (n·k)."""
    root = math.sqrt(n)
    return max(1, round(root))


def cluster(
    vectors: Vectors, k: int | None = None, *, rng: np.random.Generator, border: float = 0.0
) -> Clusters:
    """Group rows by direction.

    Args:
        vectors: float16, float32 or float64 (n, d), finite, no zero row; memory-mapped if large. Length is
            ignored.
        k: number of clusters, at most n; :func:`default_k` where not given.
        rng: draws the training sample (at most 128 rows a cluster) and the first centroids.
        border: as in :func:`assign`.

    Returns:
        The clusters; the same for the same rows and seed, in whatever order the rows come.

    Source: spherical k-means (Dhillon & Modha 2001), from k-means++ centroids (Arthur & Vassilvitskii 2007).
    """
    n, _ = vectors.shape
    if k is None:
        k = default_k(n)
    k = min(n, k)

    # The sample keeps its content-determined order, so training sees the same input for any order of the
    # rows.
    order = random_order(vectors, rng)
    sampled = order[: SAMPLE_PER_CENTROID * k]
    sample = unit(np.asarray(vectors[sampled]))

    first = _seeds(sample[: SEEDS_PER_CENTROID * k], k, rng)
    centroids = _train(sample, first)
    return assign(vectors, centroids, border)


def assign(vectors: Vectors, centroids: Float32[np.ndarray, "k d"], border: float = 0.0) -> Clusters:
    """Give each row the cluster of its most similar centroid, in one pass over the rows.

    Args:
        vectors: float (n, d), memory-mapped if large.
        centroids: float32 (k, d), unit length.
        border: a row is also a guest of the cluster of its second centroid, if that is farther in cosine
            distance than its own by at most this share; 0: no guests.
    """
    n, d = vectors.shape
    labels = np.empty(n, dtype=np.int64)
    similarity = np.empty(n, dtype=np.float32)
    guests = [np.empty((2, 0), dtype=np.int64)]
    widest = max(d, len(centroids))
    for span in spans(n, widest, ASSIGN_FLOATS):
        cosine = unit(vectors[span]) @ centroids.T
        nearest, similarity_nearest = _nearest(cosine)
        labels[span] = nearest
        similarity[span] = similarity_nearest
        if border:
            # With the nearest centroid out of the race, the second one wins.
            cosine[np.arange(len(cosine)), nearest] = -np.inf
            second, similarity_second = _nearest(cosine)
            reach = np.float32(1 + border) * (1 - similarity_nearest)
            rows = np.flatnonzero(1 - similarity_second <= reach)
            guests.append(np.stack([rows + span.start, second[rows]]))

    all_guests = np.concatenate(guests, axis=1)
    return Clusters(centroids=centroids, labels=labels, similarity=similarity, guests=all_guests)


def _nearest(cosine: Float32[np.ndarray, "b k"]) -> tuple[Int64[np.ndarray, "b"], Float32[np.ndarray, "b"]]:
    """The most similar centroid of each row, the first at a tie, and the similarity."""
    labels = cosine.argmax(axis=1)
    rows = np.arange(len(cosine))
    return labels, cosine[rows, labels]


def _train(
    sample: Float32[np.ndarray, "s d"], centroids: Float32[np.ndarray, "k d"]
) -> Float32[np.ndarray, "k d"]:
    """Lloyd's iterations over unit rows, until they settle.

    A centroid that serves no row moves to the row that is served worst, as long as there is one that is no
    copy of its centroid.
    """
    s = len(sample)
    k = len(centroids)
    labels = np.empty(s, dtype=np.int64)
    similarity = np.empty(s, dtype=np.float32)
    rows = np.arange(s)
    ones = np.ones(s, dtype=np.float32)
    before = np.inf
    for _ in range(ITERATIONS):
        for span in spans(s, k, ASSIGN_FLOATS):
            cosine = sample[span] @ centroids.T
            labels[span], similarity[span] = _nearest(cosine)
        # Rounding carries a similarity beyond 1; summed in float64, since millions of rows add up.
        distances = np.maximum(1 - similarity, 0)
        distance = float(distances.mean(dtype=np.float64))
        if before - distance <= SETTLED * distance:
            break
        before = distance

        # A sparse product sums the rows of each cluster in one order, whatever the number of threads.
        membership = csr_array((ones, (labels, rows)), shape=(k, s))
        total = membership @ sample
        # Opposite rows cancel to a sum without direction; the centroid then stays where it was.
        squares = np.einsum("kd,kd->k", total, total)
        moves = (squares > SMALLEST_SQUARE)[:, None]
        directed = np.where(moves, total, 1)
        centroids = np.where(moves, unit(directed), centroids)

        sizes = np.bincount(labels, minlength=k)
        empty = np.flatnonzero(sizes == 0)
        if len(empty):
            worst_first = np.argsort(similarity, kind="stable")
            worst = worst_first[: len(empty)]
            worst = worst[similarity[worst] < 1 - SAME]
            refilled = empty[: len(worst)]
            centroids[refilled] = sample[worst]
    return centroids


def _seeds(rows: Float32[np.ndarray, "s d"], k: int, rng: np.random.Generator) -> Float32[np.ndarray, "k d"]:
    """Choose ``k`` of ``s`` ≥ k unit rows one after another: of a few drawn in proportion to their distance,
    the one that serves all best.

    Source: greedy k-means++ (Arthur & Vassilvitskii 2007, section 5), with 2 + ln k trials.
    """
    s = len(rows)
    gap = np.ones(s, dtype=np.float32)
    seeds = np.empty(k, dtype=np.int64)
    trials = 2 + int(math.log(k))
    for step in range(k):
        # Only copies of chosen rows are left when no gap is: any of them serves.
        odds = gap if gap.any() else np.ones(s)
        cumulated = np.cumsum(odds, dtype=np.float64)
        draws = rng.random(trials) * cumulated[-1]
        # Rounding may put a draw at the very end.
        candidates = np.searchsorted(cumulated, draws, side="right").clip(max=s - 1)

        distances = np.maximum(1 - rows[candidates] @ rows.T, 0)
        gaps = np.minimum(gap, distances)
        total_gaps = gaps.sum(axis=1, dtype=np.float64)
        best = int(total_gaps.argmin())
        seed = candidates[best]
        seeds[step] = seed
        gap = gaps[best]
        # Rounding leaves a row some distance from itself.
        gap[seed] = 0
    return rows[seeds]
