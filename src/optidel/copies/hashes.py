"""Copies and near-copies among many frames: equal hashes of pixels, and perceptual hashes that differ by a
few bits.

The search is exact and compares no pair without a reason. Two hashes at most r bits apart, cut into r // 2
+ 1 bands, have a band in which they differ by at most one bit; so only rows that share such a band are
compared.

Source: Norouzi, Punjani & Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

# Queries compared at a time; a round number, nothing depends on it.
BLOCK = 1024

# Pairs compared at a time: 128 MB of hashes of 256 bits.
CANDIDATES = 1 << 22

# Bands of a hash of 256 bits at least: a band must fit into 64 bits.
FEWEST_BANDS = 4

# Bits of a band under which too many rows share one: comparing all pairs is then simpler and as fast.
# (Bands of 20 bits compared 1 of 260 pairs of 24,342 medical images: 2 s in place of 74 s.)
SMALLEST_BAND = 12

# Rows up to which all pairs are compared: up to here either way takes less than 0.1 s.
ALL_PAIRS = 1024

Hashes = UInt8[np.ndarray, "n b"]
"""n perceptual hashes of b bytes."""

Rows = Int64[np.ndarray, "m"]


def hashes(texts: Sequence[str]) -> Hashes:
    """Perceptual hashes from their hex digits."""
    digits = "".join(texts)
    octets = bytes.fromhex(digits)
    flat = np.frombuffer(octets, np.uint8)
    return flat.reshape(len(texts), -1)


def first_equal(keys: Sequence[str]) -> Int64[np.ndarray, "n"]:
    """For each key the first row that holds the same one: its own row where it is the first."""
    first: dict[str, int] = {}
    rows = []
    for row, key in enumerate(keys):
        earliest = first.setdefault(key, row)
        rows.append(earliest)
    return np.array(rows, dtype=np.int64)


def neighbours(queries: Hashes, rows: Hashes, radius: int) -> Iterator[tuple[int, Rows, Rows]]:
    """For each query that has any: its number, the rows at most ``radius`` bits away in rising order, and by
    how many bits.

    Args:
        queries: u8 (q, b).
        rows: u8 (n, b), b at most 32.
        radius: bits, 0 or more.
    """
    if not len(rows):
        return
    bits = 8 * rows.shape[1]
    bands = max(radius // 2 + 1, FEWEST_BANDS)
    few = len(rows) <= ALL_PAIRS
    short = bits // bands < SMALLEST_BAND
    index = None if few or short else _index(rows, bands)

    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        pairs = _all_pairs(block, rows) if index is None else _sharing_a_band(block, index)
        query, row, distance = _within(block, rows, pairs, radius)
        # Queries rise, so the pairs of each lie between two of these ends.
        numbers = np.arange(len(block) + 1)
        ends = np.searchsorted(query, numbers)
        counts = np.diff(ends)
        for number in np.flatnonzero(counts):
            span = slice(ends[number], ends[number + 1])
            yield start + int(number), row[span], distance[span]


def leaders(all_hashes: Hashes, radius: int) -> Int64[np.ndarray, "n"]:
    """For each row the earliest kept row at most ``radius`` bits away; a row without one is kept and leads
    itself.

    So every near-duplicate is close to the one that stands in for it, and long chains of slowly changing
    frames are cut into pieces. Equal hashes are compared once, so a million copies of one frame cost no more
    than one.
    """
    first, member = _distinct(all_hashes)
    ordered = all_hashes[first]
    leader = np.arange(len(ordered))
    for row, near, _ in neighbours(ordered, ordered, radius):
        earlier = near[near < row]
        kept = earlier[leader[earlier] == earlier]
        if len(kept):
            leader[row] = kept[0]
    return np.asarray(first[leader[member]], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """One band of all rows: the bits ``first`` to ``last`` of each hash as a number, sorted, and whose it
    is."""

    first: int
    last: int
    keys: UInt64[np.ndarray, "n"]
    rows: Rows


def _index(rows: Hashes, count: int) -> list[_Band]:
    bits = 8 * rows.shape[1]
    edges = np.linspace(0, bits, count + 1)
    borders = edges.round().astype(int).tolist()

    bands = []
    for first, last in itertools.pairwise(borders):
        keys = _keys(rows, first, last)
        order = np.argsort(keys, kind="stable")
        band = _Band(first=first, last=last, keys=keys[order], rows=order)
        bands.append(band)
    return bands


def _keys(rows: Hashes, first: int, last: int) -> UInt64[np.ndarray, "n"]:
    """The bits ``first`` to ``last`` of each hash, at most 64 of them, as one number."""
    start = first // 8
    stop = -(-last // 8)  # rounded up: a band may end within a byte
    offset = 8 * start
    octets = rows[:, start:stop]
    bits = np.unpackbits(octets, axis=1)
    band = bits[:, first - offset : last - offset]

    # Filled up to eight bytes, so that each row can be read as one number of 64 bits.
    packed = np.packbits(band, axis=1)
    width = packed.shape[1]
    filled = np.zeros((len(rows), 8), dtype=np.uint8)
    filled[:, :width] = packed
    return filled.view(np.uint64).ravel()


def _all_pairs(block: Hashes, rows: Hashes) -> Iterator[tuple[Rows, Rows]]:
    """Every query with every row."""
    numbers = np.arange(len(block))
    step = max(1, CANDIDATES // len(block))
    for start in range(0, len(rows), step):
        stop = min(start + step, len(rows))
        part = np.arange(start, stop)
        queries = np.repeat(numbers, len(part))
        yield queries, np.tile(part, len(block))


def _sharing_a_band(block: Hashes, index: list[_Band]) -> Iterator[tuple[Rows, Rows]]:
    """Queries and the rows that differ from them by at most one bit of a band; a pair may come repeatedly."""
    for band in index:
        width = band.last - band.first
        flips = _flips(width)
        exact = _keys(block, band.first, band.last)
        keys = (exact[:, None] ^ flips[None, :]).ravel()
        low = np.searchsorted(band.keys, keys, side="left")
        high = np.searchsorted(band.keys, keys, side="right")
        size = high - low

        # In parts, for a band that many rows share would fill the memory with pairs.
        filled = np.flatnonzero(size)
        parts = np.cumsum(size[filled]) // CANDIDATES
        for part in np.unique(parts):
            lookups = filled[parts == part]
            counts = size[lookups]
            position = ranges(low[lookups], counts)
            queries = lookups // len(flips)
            yield np.repeat(queries, counts), band.rows[position]


def _flips(width: int) -> UInt64[np.ndarray, "w"]:
    """What turns a key of ``width`` bits into each key at most one bit away: every single bit, and none."""
    bits = np.eye(width, dtype=bool)
    octets = np.packbits(bits, axis=1)
    single_bits = _keys(octets, 0, width)
    return np.append(single_bits, np.uint64(0))


def ranges(starts: Rows, counts: Rows) -> Rows:
    """The numbers ``start``, ``start + 1`` … of several ranges, one range after the other.

    Args:
        starts: int64 (m,), where each begins.
        counts: int64 (m,), how many numbers it has, 0 or more.
    """
    total = counts.sum()
    ends = np.cumsum(counts)
    range_starts = np.repeat(ends - counts, counts)
    offset = np.arange(total) - range_starts
    return np.asarray(np.repeat(starts, counts) + offset)


def _within(
    block: Hashes, rows: Hashes, pairs: Iterator[tuple[Rows, Rows]], radius: int
) -> tuple[Rows, Rows, Rows]:
    """Of pairs of a query and a row those at most ``radius`` bits apart, each once, in rising order; and how
    many bits.
    """
    kept = [np.empty((2, 0), dtype=np.int64)]
    for query, row in pairs:
        distance = _distance(block[query], rows[row])
        near = distance <= radius
        pair = np.stack([query[near], row[near]])
        kept.append(pair)

    # A pair that shares several bands came several times; ``unique`` also sorts.
    joined = np.concatenate(kept, axis=1)
    queries, neighbour_rows = np.unique(joined, axis=1)
    distances = _distance(block[queries], rows[neighbour_rows])
    return queries, neighbour_rows, distances


def _distance(first_hashes: Hashes, second_hashes: Hashes) -> Rows:
    differing = first_hashes ^ second_hashes
    counts = np.bitwise_count(differing)
    distance = counts.sum(axis=1, dtype=np.int64)
    return np.asarray(distance)


def _distinct(all_hashes: Hashes) -> tuple[Rows, Int64[np.ndarray, "n"]]:
    """The first row of each distinct hash, in the order in which they come; for each row the number of its
    hash.
    """
    if not len(all_hashes):
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing

    # Each hash as one opaque value, so that whole hashes are compared and not their bytes.
    width = all_hashes.shape[1]
    rows = np.ascontiguousarray(all_hashes)
    whole = rows.view(f"V{width}").ravel()
    _, first, member = np.unique(whole, return_index=True, return_inverse=True)

    # ``unique`` sorts by value; the caller wants the order in which the hashes come.
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[member]
