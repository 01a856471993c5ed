"""Copies and near-copies among many frames: equal hashes of pixels, and perceptual hashes that differ by a
few bits.

Everything goes block by block: memory is that of the matches of one block, never of all pairs.
"""

from collections.abc import Iterator, Sequence

import faiss
import numpy as np
from jaxtyping import Int64, UInt8

BLOCK = 1024
"""Hashes compared with all others at a time."""

Hashes = UInt8[np.ndarray, "n b"]
"""n perceptual hashes of b bytes."""


def hashes(texts: Sequence[str]) -> Hashes:
    """Perceptual hashes from their hex digits."""
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(len(texts), -1)


def first_equal(keys: Sequence[str]) -> Int64[np.ndarray, "n"]:
    """For each key the first row that holds the same one: its own row where it is the first."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(key, row) for row, key in enumerate(keys)], dtype=np.int64)


def neighbours(
    queries: Hashes, rows: Hashes, radius: int
) -> Iterator[tuple[int, Int64[np.ndarray, "m"], Int64[np.ndarray, "m"]]]:
    """For each query that has any: its number, the rows at most ``radius`` bits away in rising order, and by
    how many bits.

    Args:
        queries: u8 (q, b).
        rows: u8 (n, b).
        radius: bits, 0 or more.
    """
    if not len(rows):
        return
    index = faiss.IndexBinaryFlat(8 * rows.shape[1])
    index.add(np.ascontiguousarray(rows))
    for start in range(0, len(queries), BLOCK):
        limits, distance, found = index.range_search(
            np.ascontiguousarray(queries[start : start + BLOCK]), radius + 1
        )  # its radius is exclusive
        for place in np.flatnonzero(np.diff(limits)):
            span = slice(int(limits[place]), int(limits[place + 1]))
            order = np.argsort(found[span], kind="stable")
            yield (
                start + int(place),
                found[span][order].astype(np.int64),
                distance[span][order].astype(np.int64),
            )


def leaders(all_hashes: Hashes, radius: int) -> Int64[np.ndarray, "n"]:
    """For each row the earliest kept row at most ``radius`` bits away; a row without one is kept and leads
    itself.

    So every near-duplicate is close to the one that stands in for it, and long chains of slowly changing
    frames are cut into pieces. Equal hashes are compared once, so a million copies of one frame cost no more
    than one.
    """
    whole = (
        np.ascontiguousarray(all_hashes).view(f"V{all_hashes.shape[1]}").ravel()
        if len(all_hashes)
        else np.empty(0, "V1")
    )
    _, first, member = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # the distinct hashes as they come
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    ordered = all_hashes[first[order]]
    leader = np.arange(len(ordered))
    for row, near, _ in neighbours(ordered, ordered, radius):
        earlier = near[near < row]
        kept = earlier[leader[earlier] == earlier]
        if len(kept):
            leader[row] = kept[0]
    return np.asarray(first[order][leader[rank[member]]], dtype=np.int64)
