import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.features import neighbours, rows
from optidel.features.clusters import assign, cluster, default_k
from optidel.features.neighbours import earlier_similarity, nearest_rows
from optidel.features.rows import content_keys, random_order, spans, unit


def blobs(n=300, d=16, k=5, spread=0.05, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(d, d)))[0][:k]
    truth = rng.integers(0, k, n)
    return (centres[truth] + spread * rng.normal(size=(n, d))).astype(np.float32), truth


def test_well_separated_groups_are_found():
    vectors, truth = blobs()
    found = cluster(vectors, 5, rng=np.random.default_rng(0))
    assert len(set(zip(truth.tolist(), found.labels.tolist(), strict=True))) == 5
    assert [len(members) for members in found.members()] == np.bincount(found.labels, minlength=5).tolist()
    assert all((found.labels[members] == label).all() for label, members in enumerate(found.members()))


@pytest.mark.parametrize("border", [0.0, 0.5, 1.0])
def test_guests_are_the_rows_whose_second_centroid_is_not_much_farther(border):
    vectors, _ = blobs(spread=0.2)
    found = cluster(vectors, 5, rng=np.random.default_rng(0), border=border)
    distance = 1 - unit(vectors) @ found.centroids.T
    first, second = np.sort(distance, axis=1)[:, :2].T
    at_border = (second <= np.float32(1 + border) * first) if border else np.zeros(len(vectors), dtype=bool)
    assert border == 0 or 0 < at_border.sum() < len(vectors)
    for label, rows_there in enumerate(found.neighbourhoods()):
        visits = at_border & (np.argsort(distance, axis=1)[:, 1] == label)
        assert rows_there.tolist() == np.flatnonzero(visits | (found.labels == label)).tolist()


def test_labels_and_similarity_are_those_of_a_plain_loop():
    vectors, _ = blobs(n=57)
    found = cluster(vectors, 4, rng=np.random.default_rng(1))
    for row, vector in enumerate(vectors.astype(np.float64)):
        cosines = [
            float(centre @ vector) / float(np.linalg.norm(vector))
            for centre in found.centroids.astype(np.float64)
        ]
        assert found.labels[row] == int(np.argmax(cosines))
        assert found.similarity[row] == pytest.approx(max(cosines), abs=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-5)


def slow_k_means(vectors, first, rounds=20):
    """Lloyd's algorithm on the sphere, row by row."""
    centroids = [np.array(row, dtype=np.float64) for row in first]
    for _ in range(rounds):
        own = [
            max(range(len(centroids)), key=lambda label, row=row: row @ centroids[label]) for row in vectors
        ]
        for label in range(len(centroids)):
            total = sum(
                (row for row, mine in zip(vectors, own, strict=True) if mine == label),
                np.zeros(vectors.shape[1]),
            )
            centroids[label] = total / np.linalg.norm(total)
    return np.mean([max(row @ centroid for centroid in centroids) for row in vectors])


def test_each_centroid_is_the_direction_of_the_mean_of_its_rows():
    vectors, _ = blobs(n=200, spread=0.1)
    found = cluster(vectors, 5, rng=np.random.default_rng(0))
    means = np.stack([unit(vectors[members]).mean(axis=0) for members in found.members()])
    np.testing.assert_allclose(found.centroids, unit(means), atol=1e-5)


def test_it_is_as_tight_as_a_plain_loop_from_other_starts():
    vectors = unit(np.random.default_rng(2).normal(size=(150, 6))).astype(np.float64)
    ours = [cluster(vectors, 5, rng=np.random.default_rng(seed)).similarity.mean() for seed in range(8)]
    slow = [slow_k_means(vectors, vectors[5 * start : 5 * start + 5]) for start in range(3)]
    assert np.mean(ours) > 0.95 * np.mean(slow)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_same_rows_in_another_order_get_the_same_clusters(dtype):
    vectors = blobs(n=2_000, k=8, spread=0.3)[0].astype(dtype)
    order = np.random.default_rng(3).permutation(len(vectors))
    first = cluster(vectors, 8, rng=np.random.default_rng(7))
    second = cluster(vectors[order], 8, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(first.centroids, second.centroids)
    np.testing.assert_array_equal(first.labels[order], second.labels)


def test_a_memory_map_gives_the_same_as_the_array(tmp_path):
    vectors, _ = blobs(n=400)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        cluster(mapped, rng=np.random.default_rng(0)).labels,
        cluster(vectors, rng=np.random.default_rng(0)).labels,
    )


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 3)), np.ones((20, 3)), np.array([[1.0, 0.0], [-1.0, 0.0]]), np.repeat(np.eye(3), 4, axis=0)],
    ids=["one row", "all equal", "opposite", "copies"],
)
@pytest.mark.parametrize("k", [1, 2, 50])
def test_degenerate_rows_still_get_a_cluster(vectors, k):
    found = cluster(vectors, k, rng=np.random.default_rng(0))
    assert len(found.centroids) == min(k, len(vectors))
    assert np.isfinite(found.similarity).all()
    assert found.labels.max() < len(found.centroids)


def test_the_default_number_of_clusters_is_the_root():
    assert [default_k(n) for n in (1, 2, 100, 10_000)] == [1, 1, 10, 100]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32), st.integers(1, 9))
def test_blocks_do_not_change_an_assignment(n, k, seed, floats):
    rng = np.random.default_rng(seed)
    vectors, centroids = rng.normal(size=(n, 3)).astype(np.float32), unit(rng.normal(size=(k, 3)))
    blocks = [assign(vectors[span], centroids).labels for span in spans(n, 3, floats)]
    np.testing.assert_array_equal(np.concatenate(blocks), assign(vectors, centroids).labels)


def test_unit_survives_extreme_lengths():
    rows_ = np.array([[3e300, 4e300], [3e-300, 4e-300]])
    np.testing.assert_allclose(unit(rows_), [[0.6, 0.8]] * 2, rtol=1e-6)
    np.testing.assert_allclose(
        unit(np.array([[60_000, 60_000]], dtype=np.float16)), [[0.7071068] * 2], rtol=1e-3
    )


def test_the_random_order_is_uniform_and_copies_are_drawn_apart():
    vectors = np.repeat(np.eye(4, dtype=np.float32), [97, 1, 1, 1], axis=0)
    first = np.array([random_order(vectors, np.random.default_rng(seed))[0] for seed in range(2_000)])
    counts = np.histogram(first, bins=10, range=(0, 100))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001


def test_equal_rows_have_distinct_keys_and_keys_follow_their_rows(monkeypatch):
    vectors = np.random.default_rng(4).normal(size=(50, 5)).astype(np.float16)[np.arange(100) % 50]
    order = np.random.default_rng(5).permutation(100)
    keys = content_keys(vectors, np.random.default_rng(6))
    assert len(set(keys.tolist())) == 100
    moved = content_keys(vectors[order], np.random.default_rng(6))
    assert sorted(keys.tolist()) == sorted(moved.tolist())
    monkeypatch.setattr(rows, "BLOCK_FLOATS", 10)
    np.testing.assert_array_equal(content_keys(vectors, np.random.default_rng(6)), keys)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("d", [4, 8, 13])
def test_opposite_and_binary_rows_have_keys_of_their_own(dtype, d):
    signs = np.unique(np.random.default_rng(9).choice([-1.0, 1.0], size=(2_000, d)), axis=0).astype(dtype)
    order = np.random.default_rng(10).permutation(len(signs))
    keys, moved = (content_keys(rows_, np.random.default_rng(11)) for rows_ in (signs, signs[order]))
    np.testing.assert_array_equal(moved, keys[order])
    assert len(set(keys.tolist())) == len(keys)


@pytest.mark.parametrize("tile", [1, 3, 2048])
def test_neighbours_agree_with_the_full_matrix(monkeypatch, tile):
    monkeypatch.setattr(neighbours, "TILE", tile)
    monkeypatch.setattr(neighbours, "STRIP", tile)
    rng = np.random.default_rng(8)
    some, others = unit(rng.normal(size=(11, 4))), unit(rng.normal(size=(7, 4)))
    cosine = some @ some.T
    expected = [max([cosine[i, j] for j in range(i)], default=-1.0) for i in range(11)]
    np.testing.assert_allclose(earlier_similarity(some), expected, atol=1e-6)
    place, value = nearest_rows(some, others)
    np.testing.assert_array_equal(place, (some @ others.T).argmax(axis=1))
    np.testing.assert_allclose(value, (some @ others.T).max(axis=1), atol=1e-6)
