"""As many clusters as rows to keep, and of each the row nearest its centroid."""

import numpy as np

from optidel.arrays import Vectors
from optidel.features.clusters import cluster
from optidel.features.rows import random_order
from optidel.methods.outcome import cluster_twins, outcome
from optidel.records import Selection


def kmeans_medoids(vectors: Vectors, count: int, *, rng: np.random.Generator) -> Selection:
    """Cluster into ``count`` groups and keep the row most similar to each centroid.

    Where copies leave clusters empty, the rows farthest from their centroid fill up.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep, and clusters.
        rng: the clustering and ties.

    Returns:
        The selection, largest cluster first, then what fills up; ties at random. Gain: how many rows of its
        cluster each stands for, 0 for what fills up. Each dropped row names the most similar kept row of its
        cluster.

    Source: the k-means baseline of Sener & Savarese 2018 (arXiv 1708.00489) and of D4 (arXiv 2308.12284).
    """
    clusters = cluster(vectors, count, rng=rng)
    # The two rows of a pair are always equally near: content decides, so that the order of the rows does not.
    turn = np.argsort(random_order(vectors, rng))
    # To six decimals, the precision of a float32 cosine, so that copies tie.
    typical = clusters.similarity.round(6)
    by_typicality = np.lexsort((turn, -typical))
    ordered_labels = clusters.labels[by_typicality]
    _, first = np.unique(ordered_labels, return_index=True)
    medoids = by_typicality[first]
    sizes = np.bincount(clusters.labels)[clusters.labels[medoids]]
    order = np.lexsort((turn[medoids], -sizes))

    far = np.lexsort((turn, typical))
    other = far[~np.isin(far, medoids)]
    filler = other[: count - len(medoids)]
    picks = np.concatenate([medoids[order], filler])
    gains = np.concatenate([sizes[order], np.zeros(len(filler))])
    twins = cluster_twins(vectors, clusters, picks)
    return outcome(len(vectors), picks, gains, dropped="not the medoid", twins=twins)
