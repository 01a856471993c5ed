"""Largest cosine similarities between unit rows, tile by tile: the full matrix never exists."""

import numpy as np
from jaxtyping import Float32, Int64

from optidel.features.rows import spans

TILE = 2048
"""Rows and columns of one tile: 16 MB of float32."""
STRIP = 256
"""Rows compared at once with all before them: what is computed in vain above the diagonal stays small."""


def earlier_similarity(rows: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "c"]:
    """The largest cosine similarity of each row to any row before it; −1 for the first.

    Args:
        rows: float32 (c, d), unit length, in the order in which they may stay.
    """
    largest = np.full(len(rows), -1.0, dtype=np.float32)
    later = ~np.tri(min(STRIP, len(rows)), k=-1, dtype=bool)
    for span in spans(len(rows), 1, STRIP):
        own = rows[span] @ rows[span].T
        np.copyto(own, -1.0, where=later[: len(own), : len(own)])
        largest[span] = own.max(axis=1)
        for before in spans(span.start, 1, TILE * TILE // STRIP):
            largest[span] = np.maximum(largest[span], (rows[span] @ rows[before].T).max(axis=1))
    return np.clip(largest, -1.0, 1.0)


def nearest_rows(
    queries: Float32[np.ndarray, "q d"], rows: Float32[np.ndarray, "c d"]
) -> tuple[Int64[np.ndarray, "q"], Float32[np.ndarray, "q"]]:
    """For each query the most similar row, the first at a tie, and their cosine similarity.

    Args:
        queries: float32 (q, d), unit length.
        rows: float32 (c, d), unit length, c ≥ 1.
    """
    best = np.zeros(len(queries), dtype=np.int64)
    similarity = np.full(len(queries), -np.inf, dtype=np.float32)
    for span in spans(len(queries), 1, TILE):
        for against in spans(len(rows), 1, TILE):
            cosine = queries[span] @ rows[against].T
            place = cosine.argmax(axis=1)
            value = np.take_along_axis(cosine, place[:, None], axis=1)[:, 0]
            better = value > similarity[span]
            best[span] = np.where(better, place + against.start, best[span])
            similarity[span] = np.where(better, value, similarity[span])
    return best, np.clip(similarity, -1.0, 1.0)
