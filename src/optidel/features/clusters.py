"""Spherical k-means: trained on a sample, then one streaming pass gives every row its cluster."""

import math
from dataclasses import dataclass

import faiss
import numpy as np
from jaxtyping import Float32, Int64

from optidel.arrays import Vectors
from optidel.features.rows import random_order, spans, unit

SAMPLE_PER_CENTROID = 128
SEEDS_PER_CENTROID = 8
"""Rows of the sample among which the first centroids are drawn, per centroid."""
ITERATIONS = 20
SERIAL_PRODUCTS = 10**8
"""Multiplications of one k-means iteration below which threads cost more than they save, above all on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """A partition of rows by direction.

    Args:
        centroids: float32 (k, d), unit length.
        labels: int64 (n,), the most similar centroid of each row; the lower number at a tie. A cluster may be empty.
        similarity: float32 (n,), cosine similarity of each row to its own centroid.
    """

    centroids: Float32[np.ndarray, "k d"]
    labels: Int64[np.ndarray, "n"]
    similarity: Float32[np.ndarray, "n"]

    def members(self) -> list[Int64[np.ndarray, "c"]]:
        """The rows of each cluster in ascending order, cluster by cluster; the rows of an empty one are an empty array."""
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=len(self.centroids)))
        return np.split(order, ends[:-1])


def default_k(n: int) -> int:
    """√n clusters: comparing rows within clusters (n²/k) then costs no more than finding the clusters (n·k)."""
    return max(1, round(math.sqrt(n)))


def cluster(vectors: Vectors, k: int | None = None, *, rng: np.random.Generator) -> Clusters:
    """Group rows by direction.

    Args:
        vectors: float16, float32 or float64 (n, d), finite, no zero row; memory-mapped if large. Length is ignored.
        k: number of clusters, at most n; :func:`default_k` where not given.
        rng: draws the training sample (at most 128 rows a cluster) and the first centroids.

    Returns:
        The clusters; the same for the same rows and seed, in whatever order the rows come.

    Source: spherical k-means (Dhillon & Modha 2001), trained by faiss from k-means++ centroids (Arthur & Vassilvitskii 2007).
    """
    n, d = vectors.shape
    k = min(n, default_k(n) if k is None else k)
    order = random_order(vectors, rng)
    # The sample keeps its content-determined order, so faiss sees the same input for any order of the rows.
    sample = unit(np.asarray(vectors[order[: SAMPLE_PER_CENTROID * k]]))
    model = faiss.Kmeans(
        d,
        k,
        niter=ITERATIONS,
        spherical=True,
        seed=int(rng.integers(1, 2**31)),
        min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE_PER_CENTROID,
    )
    seeds = _seeds(sample[: SEEDS_PER_CENTROID * k], k, rng)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads if sample.size * k > SERIAL_PRODUCTS else 1)
    try:
        model.train(sample, init_centroids=seeds)
    finally:
        faiss.omp_set_num_threads(threads)
    found = np.asarray(model.centroids, dtype=np.float32)
    # Opposite rows cancel to a centroid without direction; any row serves there.
    centroids = unit(np.where(np.abs(found).max(axis=1, keepdims=True) > 0, found, sample[:1]))
    labels, similarity = assign(vectors, centroids)
    return Clusters(centroids=centroids, labels=labels, similarity=similarity)


def assign(vectors: Vectors, centroids: Float32[np.ndarray, "k d"]) -> tuple[Int64[np.ndarray, "n"], Float32[np.ndarray, "n"]]:
    """The most similar centroid of each row and the cosine similarity to it, in one pass over the rows.

    Args:
        vectors: float (n, d), memory-mapped if large.
        centroids: float32 (k, d), unit length.
    """
    n, d = vectors.shape
    labels, similarity = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.float32)
    for span in spans(n, max(d, len(centroids))):
        cosine = unit(np.asarray(vectors[span])) @ centroids.T
        labels[span] = cosine.argmax(axis=1)
        similarity[span] = np.take_along_axis(cosine, labels[span, None], axis=1)[:, 0]
    return labels, similarity


def _seeds(rows: Float32[np.ndarray, "s d"], k: int, rng: np.random.Generator) -> Float32[np.ndarray, "k d"]:
    """Draw ``k`` of ``s`` ≥ k unit rows one after another, each in proportion to its squared distance from those drawn."""
    gap, places = np.ones(len(rows)), []
    for _ in range(k):
        # Only copies of drawn rows are left when no gap is: any of them serves.
        weight = gap if gap.any() else np.ones(len(rows))
        places.append(min(int(np.searchsorted(np.cumsum(weight), rng.random() * weight.sum(), side="right")), len(rows) - 1))
        gap = np.minimum(gap, np.maximum(1 - rows @ rows[places[-1]], 0))
        gap[places[-1]] = 0
    return rows[places]
