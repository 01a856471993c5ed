"""Spherical k-means: trained on a sample, then one streaming pass gives every row its cluster."""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array

from optidel.arrays import Vectors
from optidel.features.rows import SMALLEST_SQUARE, random_order, spans, unit

SAMPLE_PER_CENTROID = 128
SEEDS_PER_CENTROID = 8
"""Rows of the sample among which the first centroids are drawn, per centroid."""
ITERATIONS = 20
SETTLED = 1e-3
"""Training stops once an iteration lowers the mean distance to the centroids by less than this share."""
SAME = 1e-6
"""Cosine distance under which a row counts as a copy of its centroid."""
ASSIGN_FLOATS = 1 << 20
"""Similarities of one block of an assignment: 4 MB, which stays in the cache."""


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
        return self._split(np.arange(len(self.labels)), self.labels)

    def neighbourhoods(self) -> list[Int64[np.ndarray, "c"]]:
        """The rows of each cluster and its guests, in ascending order, cluster by cluster."""
        return self._split(
            np.append(np.arange(len(self.labels)), self.guests[0]), np.append(self.labels, self.guests[1])
        )

    def _split(
        self, rows: Int64[np.ndarray, "m"], labels: Int64[np.ndarray, "m"]
    ) -> list[Int64[np.ndarray, "c"]]:
        ends = np.cumsum(np.bincount(labels, minlength=len(self.centroids)))
        return np.split(rows[np.lexsort((rows, labels))], ends[:-1])


def default_k(n: int) -> int:
    """√n clusters: comparing rows within clusters (n²/k) then costs no more than finding the clusters
    (n·k)."""
    return max(1, round(math.sqrt(n)))


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
    k = min(n, default_k(n) if k is None else k)
    order = random_order(vectors, rng)
    # The sample keeps its content-determined order, so training sees the same input for any order of the
    # rows.
    sample = unit(np.asarray(vectors[order[: SAMPLE_PER_CENTROID * k]]))
    centroids = _train(sample, _seeds(sample[: SEEDS_PER_CENTROID * k], k, rng))
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
    labels, similarity, guests = (
        np.empty(n, dtype=np.int64),
        np.empty(n, dtype=np.float32),
        [np.empty((2, 0), dtype=np.int64)],
    )
    for span in spans(n, max(d, len(centroids)), ASSIGN_FLOATS):
        cosine = unit(vectors[span]) @ centroids.T
        labels[span], similarity[span] = own = _nearest(cosine)
        if border:
            cosine[np.arange(len(cosine)), own[0]] = -np.inf
            second, other = _nearest(cosine)
            rows = np.flatnonzero(1 - other <= np.float32(1 + border) * (1 - own[1]))
            guests.append(np.stack([rows + span.start, second[rows]]))
    return Clusters(
        centroids=centroids, labels=labels, similarity=similarity, guests=np.concatenate(guests, axis=1)
    )


def _nearest(cosine: Float32[np.ndarray, "b k"]) -> tuple[Int64[np.ndarray, "b"], Float32[np.ndarray, "b"]]:
    """The most similar centroid of each row, the first at a tie, and the similarity."""
    labels = cosine.argmax(axis=1)
    return labels, cosine[np.arange(len(cosine)), labels]


def _train(
    sample: Float32[np.ndarray, "s d"], centroids: Float32[np.ndarray, "k d"]
) -> Float32[np.ndarray, "k d"]:
    """Lloyd's iterations over unit rows, until they settle.

    A centroid that serves no row moves to the row that is served worst, as long as there is one that is no
    copy of its centroid.
    """
    s, k = len(sample), len(centroids)
    labels, similarity = np.empty(s, dtype=np.int64), np.empty(s, dtype=np.float32)
    before = np.inf
    for _ in range(ITERATIONS):
        for span in spans(s, k, ASSIGN_FLOATS):
            labels[span], similarity[span] = _nearest(sample[span] @ centroids.T)
        distance = float(np.maximum(1 - similarity, 0).mean(dtype=np.float64))
        if before - distance <= SETTLED * distance:
            break
        before = distance
        total = csr_array((np.ones(s, dtype=np.float32), (labels, np.arange(s))), shape=(k, s)) @ sample
        # Opposite rows cancel to a sum without direction; the centroid then stays where it was.
        moves = np.einsum("kd,kd->k", total, total) > SMALLEST_SQUARE
        centroids = np.where(moves[:, None], unit(np.where(moves[:, None], total, 1)), centroids)
        empty = np.flatnonzero(np.bincount(labels, minlength=k) == 0)
        if len(empty):
            worst = np.argsort(similarity, kind="stable")[: len(empty)]
            worst = worst[similarity[worst] < 1 - SAME]
            centroids[empty[: len(worst)]] = sample[worst]
    return centroids


def _seeds(rows: Float32[np.ndarray, "s d"], k: int, rng: np.random.Generator) -> Float32[np.ndarray, "k d"]:
    """Choose ``k`` of ``s`` ≥ k unit rows one after another: of a few drawn in proportion to their distance,
    the one that serves all best.

    Source: greedy k-means++ (Arthur & Vassilvitskii 2007, section 5), with 2 + ln k trials.
    """
    gap, places, trials = (
        np.ones(len(rows), dtype=np.float32),
        np.empty(k, dtype=np.int64),
        2 + int(math.log(k)),
    )
    for step in range(k):
        # Only copies of chosen rows are left when no gap is: any of them serves.
        weight = np.cumsum(gap if gap.any() else np.ones(len(rows)), dtype=np.float64)
        tried = np.searchsorted(weight, rng.random(trials) * weight[-1], side="right").clip(max=len(rows) - 1)
        left = np.minimum(gap, np.maximum(1 - rows[tried] @ rows.T, 0))
        best = int(left.sum(axis=1, dtype=np.float64).argmin())
        places[step], gap = tried[best], left[best]
        gap[tried[best]] = 0
    return rows[places]
