"""Largest cosine similarities between unit rows, tile by tile: the full matrix never exists."""

import numpy as np
from jaxtyping import Float32, Int64

from optidel.features.rows import spans

# Rows and columns of one tile: 16 MB of float32.
TILE = 2048
# Rows compared at once with all before them: what is computed in vain above the diagonal stays small.
STRIP = 256


def earlier_similarity(rows: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "c"]:
    """The largest cosine similarity of each row to any row before it; −1 for the first.

    Args:
        rows: float32 (c, d), unit length, in the order in which they may stay.
    """
    largest = np.full(len(rows), -1.0, dtype=np.float32)
    size = min(STRIP, len(rows))
    # On and above the diagonal: a row against itself and against those after it.
    later = ~np.tri(size, k=-1, dtype=bool)
    # As many numbers as a square tile has, over fewer rows.
    tile_rows = TILE * TILE // STRIP
    for span in spans(len(rows), 1, STRIP):
        strip = rows[span]
        size = len(strip)
        cosine = strip @ strip.T
        np.copyto(cosine, -1.0, where=later[:size, :size])
        closest = cosine.max(axis=1)
        for before in spans(span.start, 1, tile_rows):
            cosine = strip @ rows[before].T
            closest = np.maximum(closest, cosine.max(axis=1))
        largest[span] = closest
    # Rounding carries a cosine beyond 1.
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
            position = cosine.argmax(axis=1)
            value = np.take_along_axis(cosine, position[:, None], axis=1)[:, 0]
            # Strictly greater: at a tie the earlier tile, and so the first row, stays.
            better = value > similarity[span]
            row = position + against.start
            best[span] = np.where(better, row, best[span])
            similarity[span] = np.where(better, value, similarity[span])
    return best, np.clip(similarity, -1.0, 1.0)
