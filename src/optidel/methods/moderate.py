"""Moderate coreset: in each cluster the rows at the median distance from its centre."""

import numpy as np

from optidel.arrays import Vectors
from optidel.features.clusters import cluster
from optidel.methods.inputs import check_k
from optidel.methods.outcome import outcome
from optidel.records import Selection


def moderate(vectors: Vectors, count: int, *, rng: np.random.Generator, k: int | None = None) -> Selection:
    """Take the same share of every cluster: the rows whose distance to the centroid is nearest its median.

    The paper's classes are k-means clusters here. The row of rank p (from 0) of c in its cluster has turn (p
    + ½)/c in the whole. This shares any count between clusters in proportion to their size, the nearest to a
    median first. A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering.
        k: clusters; default √n.

    Returns:
        The selection, best first; ties (to 6 decimals) in row order. Gain: minus the difference of cosine
        distances.

    Raises:
        RecipeError: ``k`` out of range.

    Source: Xia et al., ICLR 2023, equation 2 (Moderate Coreset: A Universal Method of Data Selection).
    """
    check_k(k, len(vectors))
    clusters = cluster(vectors, k, rng=rng)
    gain, turn = np.empty(len(vectors)), np.empty(len(vectors))
    for members in clusters.members():
        if len(members):
            similarity = clusters.similarity[members].astype(np.float64)
            distance = 1 - similarity
            deviation = np.abs(distance - np.median(distance))
            # To six decimals, the precision of a float32 cosine, so that copies tie.
            gain[members] = -deviation.round(6)
            order = np.argsort(-gain[members], kind="stable")
            turn[members[order]] = (np.arange(len(members)) + 0.5) / len(members)
    by_turn = np.lexsort((-gain, turn))
    picks = by_turn[:count]
    return outcome(len(vectors), picks, gain[picks], dropped="far from the median")
