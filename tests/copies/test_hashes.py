"""Near-duplicates among hashes, against plain loops."""

import numpy as np
import pytest

from optidel.copies import hashes as copies
from optidel.copies.hashes import first_equal, hashes, leaders, neighbours
from optidel.readers.decode import pixel_hash


def some(rng: np.random.Generator, count: int) -> np.ndarray:
    """Hashes of 256 bits, many of them a few bits from an earlier one."""
    found = rng.integers(0, 256, (count, 32), dtype=np.uint8)
    for row in range(1, count):
        if rng.random() < 0.6:
            found[row] = found[rng.integers(row)]
            for bit in rng.integers(0, 256, rng.integers(0, 12)):
                found[row, bit // 8] ^= 1 << (bit % 8)
    return found


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.array([[int(np.unpackbits(a ^ b).sum()) for b in other] for a in one])


def test_neighbours_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    rows = some(rng, 80)
    queries = np.concatenate([rows[::3], rng.integers(0, 256, (5, 32), dtype=np.uint8)])
    expected = distances(queries, rows)
    found = {
        query: dict(zip(near.tolist(), far.tolist(), strict=True))
        for query, near, far in neighbours(queries, rows, 9)
    }
    for query in range(len(queries)):
        close = np.flatnonzero(expected[query] <= 9)
        assert found.get(query, {}) == dict(zip(close.tolist(), expected[query][close].tolist(), strict=True))


def test_leaders_keep_the_earliest_and_stay_close_to_it() -> None:
    rows = some(np.random.default_rng(1), 120)
    apart, expected = distances(rows, rows), []
    for row in range(len(rows)):
        kept = [
            earlier for earlier in range(row) if expected[earlier] == earlier and apart[row, earlier] <= 8
        ]
        expected.append(min(kept) if kept else row)
    assert leaders(rows, 8).tolist() == expected


def test_a_million_copies_of_one_frame_cost_no_more_than_one() -> None:
    assert leaders(np.zeros((1_000_000, 32), np.uint8), 32).max() == 0


def test_nothing_and_one() -> None:
    assert leaders(np.empty((0, 32), np.uint8), 4).shape == (0,)
    assert list(neighbours(np.empty((0, 32), np.uint8), np.empty((0, 32), np.uint8), 4)) == []
    assert leaders(np.ones((1, 32), np.uint8), 4).tolist() == [0]
    assert hashes(["00ff"]).tolist() == [[0, 255]]
    assert first_equal(["b", "a", "b", "b"]).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("radius", [0, 1, 9, 24, 31, 40])
def test_the_search_by_bands_finds_what_comparing_all_pairs_finds(
    radius: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    rows = some(rng, 500)
    for row in range(300, 500):  # neighbours at every distance up to 48 bits, as copies and their like have
        rows[row] = rows[row - 300]
        for bit in rng.choice(256, row % 49, replace=False):
            rows[row, bit // 8] ^= 1 << (bit % 8)
    queries = rows[::2]
    monkeypatch.setattr(copies, "ALL_PAIRS", 0)
    monkeypatch.setattr(copies, "SMALLEST_BAND", 1)
    monkeypatch.setattr(copies, "CANDIDATES", 5000)
    by_bands = [(query, *map(np.ndarray.tolist, near)) for query, *near in neighbours(queries, rows, radius)]
    apart = np.bitwise_count(queries[:, None] ^ rows[None]).sum(axis=2, dtype=int)
    near = [np.flatnonzero(line <= radius) for line in apart]
    assert by_bands == [(q, near[q].tolist(), apart[q][near[q]].tolist()) for q in range(len(queries))]


def test_pixels_have_one_hash_whatever_lies_between_them_in_memory() -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert pixel_hash(picture) == pixel_hash(np.asfortranarray(picture)[::1])
    assert pixel_hash(picture) != pixel_hash(picture.reshape(5, 4, 3))
