"""The corpus images that resemble a few images of the target most, in equal parts for each of them."""

import numpy as np
from jaxtyping import Float64, Int64

from optidel.arrays import Vectors
from optidel.features.rows import spans, unit
from optidel.methods.outcome import outcome
from optidel.records import Selection


def target_similarity(vectors: Vectors, count: int, *, target: Vectors) -> Selection:
    """Take the nearest row of every target image, then the second nearest of each, and so on.

    Every target image has the same say, so a cluster of similar ones does not decide alone. A smaller count
    keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        target: float (t, d), unlabelled images of the target in the same embedding; a few tens are enough.
            n·t ranks are held.

    Returns:
        The selection: by the best rank among the neighbours of any target image, and at a tie the most
        similar first. Gain: cosine similarity to the most similar target image.

    Source: retrieval for every image of the task, as TLM does for text (Yao et al. 2022, arXiv 2111.04130).
    """
    n = len(vectors)
    targets = unit(np.asarray(target))
    turn = np.full(n, n, dtype=np.int64)
    nearest = np.full(n, -np.inf)
    for direction in targets:
        similarity = _similarity(vectors, direction)
        order = np.argsort(-similarity, kind="stable")
        rank: Int64[np.ndarray, n] = np.empty(n, dtype=np.int64)
        rank[order] = np.arange(n)
        turn = np.minimum(turn, rank)
        nearest = np.maximum(nearest, similarity)
    by_turn = np.lexsort((-nearest, turn))
    picks = by_turn[:count]
    return outcome(n, picks, nearest[picks], dropped="less similar to the target")


def _similarity(vectors: Vectors, target: Float64[np.ndarray, "d"]) -> Float64[np.ndarray, "n"]:
    """Cosine of every row to one unit vector, to 6 decimals, so that copies tie."""
    similarity = np.empty(len(vectors))
    for span in spans(*vectors.shape):
        rows = unit(np.asarray(vectors[span]))
        similarity[span] = rows @ target
    return similarity.round(6)
