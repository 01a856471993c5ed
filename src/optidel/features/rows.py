"""Rows of a vector matrix, memory-mapped or not, in blocks that fit in memory; the whole matrix is never
copied.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt64

from optidel.arrays import Vectors

BLOCK_FLOATS = 1 << 22
"""Numbers in one block: 16 MB of float32."""
KEYED = 1 << 16
"""Words hashed together: 512 kB, so that what is between stays in the cache."""
SMALLEST_SQUARE = 1e-24
"""Squared lengths from here to its inverse are taken as they are; float32 holds them and their parts."""


def unit(rows: Float[np.ndarray, "b d"]) -> Float32[np.ndarray, "b d"]:
    """Scale rows to length 1, so that a dot product is a cosine.

    Args:
        rows: float16, float32 or float64 (b, d); finite, no row all zero. No length overflows: extreme rows
            are first scaled by their largest entry.
    """
    wide: Float[np.ndarray, "b d"] = rows.astype(
        np.float64 if rows.dtype == np.float64 else np.float32, copy=False
    )
    square = np.einsum("bd,bd->b", wide, wide)
    extreme = ~((square > SMALLEST_SQUARE) & (square < 1 / SMALLEST_SQUARE))
    if extreme.any():
        wide = wide / np.where(extreme, np.abs(wide).max(axis=1), 1)[:, None]
        square = np.einsum("bd,bd->b", wide, wide)
    # What was converted is ours to overwrite: new memory costs more than the division.
    unit_rows: Float[np.ndarray, "b d"] = np.divide(
        wide, np.sqrt(square)[:, None], out=None if wide is rows else wide
    )
    return unit_rows.astype(np.float32, copy=False)


def spans(n: int, width: int, floats: int = BLOCK_FLOATS) -> Iterator[slice]:
    """Cut ``n`` rows into consecutive slices, each with at most ``floats`` numbers when a row holds
    ``width``.
    """
    step = max(1, floats // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def content_keys(vectors: Vectors, rng: np.random.Generator) -> UInt64[np.ndarray, "n"]:
    """A pseudo-random number per row that depends on the row's content and not on its place.

    Sorting by it is a random order that stays the same when the rows are permuted, which makes every draw of
    this project independent of file order. Equal rows get different numbers (their first, second, … copy), so
    copies are drawn independently of each other.

    Args:
        vectors: float (n, d), any float type.
        rng: draws the multipliers of the hash.

    Returns:
        uint64 (n,), uniform.

    Source: multilinear hashing (Lemire & Kaser 2014, arXiv 1202.4961), finalised with splitmix64.
    """
    n, bytes_per_row = vectors.shape[0], vectors.shape[1] * vectors.dtype.itemsize
    words = -(-bytes_per_row // 8)
    multipliers = rng.integers(0, 2**63, size=words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.empty(n, dtype=np.uint64)
    for span in spans(n, words, KEYED):
        padded = np.zeros((span.stop - span.start, 8 * words), dtype=np.uint8)
        padded[:, :bytes_per_row] = np.ascontiguousarray(vectors[span]).view(np.uint8)
        word = padded.view(np.uint64)
        # By 33, not 32: else the sign bits of two float32 in a word cancel but for the highest bit, and a row
        # collides with its opposite.
        keys[span] = _finalise(((word ^ (word >> np.uint64(33))) * multipliers).sum(axis=1, dtype=np.uint64))
    order = np.argsort(keys, kind="stable")
    fresh = np.concatenate([[True], np.diff(keys[order]) != 0])
    starts = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    copy = (np.arange(n) - starts).astype(np.uint64)
    keys[order] = np.where(fresh, keys[order], _finalise(keys[order] + copy * np.uint64(0x9E3779B97F4A7C15)))
    return keys


def random_order(vectors: Vectors, rng: np.random.Generator) -> Int64[np.ndarray, "n"]:
    """All rows in a random order that does not depend on how they were ordered: see :func:`content_keys`."""
    return np.argsort(content_keys(vectors, rng), kind="stable")


def _finalise(key: UInt64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, " n"] = key ^ (key >> np.uint64(31))
    return mixed
