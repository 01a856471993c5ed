"""Rows of a vector matrix, memory-mapped or not, in blocks that fit in memory; the whole matrix is never
copied.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt64

from optidel.arrays import Vectors

# Numbers in one block: 16 MB of float32.
BLOCK_FLOATS = 1 << 22
# Words hashed together: 512 kB, so that what is between stays in the cache.
KEYED = 1 << 16
# Squared lengths from here to its inverse are taken as they are; float32 holds them and their parts.
SMALLEST_SQUARE = 1e-24
# The step of splitmix64: 2^64 over the golden ratio, odd, so that multiples of it spread evenly.
GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def unit(rows: Float[np.ndarray, "b d"]) -> Float32[np.ndarray, "b d"]:
    """Scale rows to length 1, so that a dot product is a cosine.

    Args:
        rows: float16, float32 or float64 (b, d); finite, no row all zero. No length overflows: extreme rows
            are first scaled by their largest entry.
    """
    precision = np.float64 if rows.dtype == np.float64 else np.float32
    wide: Float[np.ndarray, "b d"] = rows.astype(precision, copy=False)
    square = np.einsum("bd,bd->b", wide, wide)
    # Written so that a square that overflowed to infinity, or to NaN, is extreme too.
    usual = (square > SMALLEST_SQUARE) & (square < 1 / SMALLEST_SQUARE)
    extreme = ~usual
    if extreme.any():
        largest = np.abs(wide).max(axis=1)
        divisor = np.where(extreme, largest, 1)
        wide = wide / divisor[:, None]
        square = np.einsum("bd,bd->b", wide, wide)

    length = np.sqrt(square)[:, None]
    # What was converted is ours to overwrite: new memory costs more than the division.
    target = None if wide is rows else wide
    unit_rows: Float[np.ndarray, "b d"] = np.divide(wide, length, out=target)
    return unit_rows.astype(np.float32, copy=False)


def spans(n: int, width: int, floats: int = BLOCK_FLOATS) -> Iterator[slice]:
    """Cut ``n`` rows into consecutive slices, each with at most ``floats`` numbers when a row holds
    ``width``.
    """
    numbers = max(1, width)
    step = max(1, floats // numbers)
    for start in range(0, n, step):
        stop = min(n, start + step)
        yield slice(start, stop)


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
    n, width = vectors.shape
    bytes_per_row = width * vectors.dtype.itemsize
    # Rounded up to whole words of 64 bits.
    words = -(-bytes_per_row // 8)
    # Odd, so that multiplying loses no bit.
    halves = rng.integers(0, 2**63, size=words, dtype=np.uint64)
    multipliers = halves * np.uint64(2) + np.uint64(1)

    keys = np.empty(n, dtype=np.uint64)
    for span in spans(n, words, KEYED):
        rows = np.ascontiguousarray(vectors[span])
        padded = np.zeros((len(rows), 8 * words), dtype=np.uint8)
        padded[:, :bytes_per_row] = rows.view(np.uint8)
        word = padded.view(np.uint64)
        # By 33, not 32: else the sign bits of two float32 in a word cancel but for the highest bit, and a row
        # collides with its opposite.
        mixed = word ^ (word >> np.uint64(33))
        products = mixed * multipliers
        keys[span] = _finalise(products.sum(axis=1, dtype=np.uint64))

    # Equal keys lie side by side once sorted: the first copy keeps its key, the others are hashed by number.
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    fresh = np.concatenate([[True], np.diff(ordered) != 0])
    positions = np.arange(n)
    starts = np.maximum.accumulate(np.where(fresh, positions, 0))
    copy_number = (positions - starts).astype(np.uint64)
    copy_keys = _finalise(ordered + copy_number * GOLDEN_RATIO)
    keys[order] = np.where(fresh, ordered, copy_keys)
    return keys


def random_order(vectors: Vectors, rng: np.random.Generator) -> Int64[np.ndarray, "n"]:
    """All rows in a random order that does not depend on how they were ordered: see :func:`content_keys`."""
    keys = content_keys(vectors, rng)
    return np.argsort(keys, kind="stable")


def _finalise(key: UInt64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """The output function of splitmix64 (Steele et al., OOPSLA 2014); the constants are its own."""
    key = key ^ (key >> np.uint64(30))
    key = key * np.uint64(0xBF58476D1CE4E5B9)
    key = key ^ (key >> np.uint64(27))
    key = key * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, " n"] = key ^ (key >> np.uint64(31))
    return mixed


def evenly_spaced(count: int, most: int) -> Int64[np.ndarray, "m"]:
    """At most ``most`` rows, evenly spaced through ``count`` rows; all where there are no more.

    >>> evenly_spaced(10, 4).tolist()
    [0, 3, 6, 9]
    """
    positions = np.linspace(0, count - 1, min(count, most))
    rows = positions.round().astype(np.int64)
    return np.unique(rows)
