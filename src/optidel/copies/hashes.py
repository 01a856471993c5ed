"""Copies and near-copies among many frames: equal hashes of pixels, and perceptual hashes that differ by a
few bits.

The search is exact and compares no pair without a reason. Two hashes at most r bits apart, cut into r // 2
+ 1 bands, have a band in which they differ by at most one bit; so only rows that share such a band are
compared.

Source: Norouzi, Punjani & Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from optidel.arrays import Image

BLOCK = 1024
"""Queries compared at a time; a round number, nothing depends on it."""

CANDIDATES = 1 << 22
"""Pairs compared at a time: 128 MB of hashes of 256 bits."""

FEWEST_BANDS = 4
"""Bands of a hash of 256 bits at least: a band must fit into 64 bits."""

SMALLEST_BAND = 12
"""Bits of a band under which so many rows share one that comparing all pairs is simpler and as fast. (Bands
of 20 bits compared 1 of 260 pairs of 24,342 medical images: 2 s in place of 74 s.)"""

ALL_PAIRS = 1024
"""Rows up to which all pairs are compared: up to here either way takes less than 0.1 s."""

Hashes = UInt8[np.ndarray, "n b"]
"""n perceptual hashes of b bytes."""

Rows = Int64[np.ndarray, "m"]


def pixel_hash(image: Image) -> str:
    """SHA-256 of a picture as it is shown, as hex digits: equal hashes are equal pixels, whatever the file.

    Args:
        image: u8 (h, w, 3).
    """
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def hashes(texts: Sequence[str]) -> Hashes:
    """Perceptual hashes from their hex digits."""
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(len(texts), -1)


def first_equal(keys: Sequence[str]) -> Int64[np.ndarray, "n"]:
    """For each key the first row that holds the same one: its own row where it is the first."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(key, row) for row, key in enumerate(keys)], dtype=np.int64)


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
    few = len(rows) <= ALL_PAIRS or bits // bands < SMALLEST_BAND
    index = None if few else _index(rows, bands)

    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        pairs = _all_pairs(block, rows) if index is None else _sharing_a_band(block, index)
        query, row, distance = _within(block, rows, pairs, radius)
        ends = np.searchsorted(query, np.arange(len(block) + 1))
        for number in np.flatnonzero(np.diff(ends)):
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
    edges = np.linspace(0, 8 * rows.shape[1], count + 1).round().astype(int).tolist()
    bands = []
    for first, last in itertools.pairwise(edges):
        keys = _keys(rows, first, last)
        order = np.argsort(keys, kind="stable")
        bands.append(_Band(first=first, last=last, keys=keys[order], rows=order))
    return bands


def _keys(rows: Hashes, first: int, last: int) -> UInt64[np.ndarray, "n"]:
    """The bits ``first`` to ``last`` of each hash, at most 64 of them, as one number."""
    start, stop = first // 8, -(-last // 8)
    bits = np.unpackbits(rows[:, start:stop], axis=1)[:, first - 8 * start : last - 8 * start]
    packed = np.zeros((len(rows), 8), dtype=np.uint8)
    octets = np.packbits(bits, axis=1)
    packed[:, : octets.shape[1]] = octets
    return packed.view(np.uint64).ravel()


def _all_pairs(block: Hashes, rows: Hashes) -> Iterator[tuple[Rows, Rows]]:
    """Every query with every row."""
    step = max(1, CANDIDATES // len(block))
    for start in range(0, len(rows), step):
        part = np.arange(start, min(start + step, len(rows)))
        yield np.repeat(np.arange(len(block)), len(part)), np.tile(part, len(block))


def _sharing_a_band(block: Hashes, index: list[_Band]) -> Iterator[tuple[Rows, Rows]]:
    """Queries and the rows that differ from them by at most one bit of a band; a pair may come repeatedly."""
    for band in index:
        width = band.last - band.first
        single_bits = _keys(np.packbits(np.eye(width, dtype=bool), axis=1), 0, width)
        flips = np.append(single_bits, np.uint64(0))
        keys = (_keys(block, band.first, band.last)[:, None] ^ flips[None, :]).ravel()
        low = np.searchsorted(band.keys, keys, side="left")
        size = np.searchsorted(band.keys, keys, side="right") - low

        filled = np.flatnonzero(size)
        parts = np.cumsum(size[filled]) // CANDIDATES
        for part in np.unique(parts):
            lookups = filled[parts == part]
            counts = size[lookups]
            offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            position = np.repeat(low[lookups], counts) + offset
            yield np.repeat(lookups // len(flips), counts), band.rows[position]


def _within(
    block: Hashes, rows: Hashes, pairs: Iterator[tuple[Rows, Rows]], radius: int
) -> tuple[Rows, Rows, Rows]:
    """Of pairs of a query and a row those at most ``radius`` bits apart, each once, in rising order; and how
    many bits.
    """
    kept = [np.empty((2, 0), dtype=np.int64)]
    for query, row in pairs:
        near = _distance(block[query], rows[row]) <= radius
        kept.append(np.stack([query[near], row[near]]))
    pair = np.unique(np.concatenate(kept, axis=1), axis=1)
    return pair[0], pair[1], _distance(block[pair[0]], rows[pair[1]])


def _distance(first_hashes: Hashes, second_hashes: Hashes) -> Rows:
    return np.asarray(np.bitwise_count(first_hashes ^ second_hashes).sum(axis=1, dtype=np.int64))


def _distinct(all_hashes: Hashes) -> tuple[Rows, Int64[np.ndarray, "n"]]:
    """The first row of each distinct hash, in the order in which they come; for each row the number of its
    hash.
    """
    if not len(all_hashes):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    whole = np.ascontiguousarray(all_hashes).view(f"V{all_hashes.shape[1]}").ravel()
    _, first, member = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[member]
