"""ssp, moderate, kmeans-medoids, semdedup, d4, hierarchical-kmeans: what rests on k-means, against loops over
its clusters.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import BudgetError, RecipeError
from optidel.features.clusters import cluster, default_k
from optidel.features.rows import unit
from optidel.methods import select
from optidel.methods.d4 import d4
from optidel.methods.hierarchical_kmeans import default_levels, hierarchical_kmeans, leaf_quotas
from optidel.methods.kmeans_medoids import kmeans_medoids
from optidel.methods.moderate import moderate
from optidel.methods.semdedup import semdedup
from optidel.methods.ssp import ssp

SIZES = {"n": st.integers(1, 40), "share": st.floats(0.05, 1), "seed": st.integers(0, 999)}


def rows(n, seed, d=5):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def seeded(seed=0):
    return np.random.default_rng(seed)


@settings(max_examples=25, deadline=None)
@given(**SIZES, end=st.sampled_from(["hard", "easy"]))
def test_ssp_sorts_by_the_distance_to_the_prototype(n, share, seed, end):
    vectors, count = rows(n, seed), max(1, round(share * n))
    clusters = cluster(vectors, default_k(n), rng=seeded(seed))
    far = [
        1 - float(unit(vectors[row : row + 1])[0] @ clusters.centroids[clusters.labels[row]])
        for row in range(n)
    ]
    selection = ssp(vectors, count, rng=seeded(seed), end=end)
    worst = min if end == "hard" else max
    best_dropped = [far[row] for row in set(range(n)) - set(selection.indices.tolist())]
    edge = worst(far[row] for row in selection.indices)
    assert all(value <= edge + 1e-5 if end == "hard" else value >= edge - 1e-5 for value in best_dropped)
    np.testing.assert_allclose(np.abs(selection.gains), [far[row] for row in selection.indices], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(**SIZES)
def test_moderate_takes_the_same_share_of_each_cluster_around_its_median(n, share, seed):
    vectors, count = rows(n, seed), max(1, round(share * n))
    clusters = cluster(vectors, default_k(n), rng=seeded(seed))
    turns = {}
    for label in range(len(clusters.centroids)):
        members = [row for row in range(n) if clusters.labels[row] == label]
        far = [1 - float(clusters.similarity[row]) for row in members]
        off = [round(abs(value - float(np.median(far))), 6) for value in far] if members else []
        for place, at in enumerate(sorted(range(len(members)), key=lambda at: (off[at], members[at]))):
            turns[members[at]] = ((place + 0.5) / len(members), off[at], members[at])
    expected = sorted(turns, key=turns.__getitem__)[:count]
    selection = moderate(vectors, count, rng=seeded(seed))
    np.testing.assert_allclose(selection.gains, [-turns[row][1] for row in expected], atol=2e-6)
    assert [turns[row][0] for row in selection.indices] == [turns[row][0] for row in expected]


@settings(max_examples=25, deadline=None)
@given(**SIZES)
def test_a_medoid_is_the_row_of_its_cluster_nearest_the_centroid(n, share, seed):
    vectors, count = rows(n, seed), max(1, round(share * n))
    clusters = cluster(vectors, count, rng=seeded(seed))
    selection = kmeans_medoids(vectors, count, rng=seeded(seed))
    for row, gain in zip(selection.indices, selection.gains, strict=True):
        members = np.flatnonzero(clusters.labels == clusters.labels[row])
        if gain:
            assert clusters.similarity[row] >= clusters.similarity[members].max() - 1e-5
            assert gain == len(members)
    assert selection.gains.sum() == n


def test_copies_leave_clusters_empty_and_are_filled_up(rng):
    selection = kmeans_medoids(np.repeat(np.eye(2), 3, axis=0), 4, rng=rng)
    assert sorted(selection.gains.tolist()) == [0, 0, 3, 3]


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 999),
    radius=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_semdedup_keeps_no_two_of_a_cluster_within_its_radius(n, share, seed, radius):
    vectors = rows(n, seed)[np.random.default_rng(seed).integers(0, n, n)]
    clusters = cluster(vectors, 3 if n >= 3 else 1, rng=seeded(seed))
    survivors, cosine = [], unit(vectors) @ unit(vectors).T
    for label in range(len(clusters.centroids)):
        members = np.flatnonzero(clusters.labels == label)
        ordered = sorted(members, key=lambda row: (clusters.similarity[row].round(6), row))
        for place, row in enumerate(ordered):
            if place == 0 or np.round(1 - cosine[row, ordered[:place]].max(), 6) >= radius:
                survivors.append(int(row))
    count = max(1, round(share * len(survivors)))
    selection = semdedup(vectors, count, rng=seeded(seed), radius=radius, k=3 if n >= 3 else 1)
    assert set(selection.indices.tolist()) <= set(survivors)
    assert set(np.flatnonzero(selection.reason != "within radius of twin").tolist()) == set(survivors)


def test_semdedup_draws_among_the_survivors_of_its_radius():
    rng = seeded()
    originals = rng.normal(size=(40, 16))
    groups = np.concatenate([np.arange(40), np.arange(20)])
    vectors = originals[groups] + 0.001 * rng.normal(size=(60, 16))
    selection = semdedup(vectors, 30, rng=seeded(), radius=0.01, k=3)
    assert len(set(groups[selection.indices])) == 30
    assert (selection.gains >= 0.01).all()
    assert set(selection.reason) == {"kept", "not drawn", "within radius of twin"}
    with pytest.raises(BudgetError, match=r"40 rows survive radius 0\.01, the budget asks for 41"):
        semdedup(vectors, 41, rng=seeded(), radius=0.01, k=3)
    searched = semdedup(vectors, 40, rng=seeded(), k=3)
    assert sorted(groups[searched.indices]) == list(range(40))


def test_d4_drops_copies_and_then_the_typical():
    rng = seeded(1)
    groups = np.concatenate([np.arange(60), np.arange(20)])
    vectors = rng.normal(size=(60, 12))[groups] + 0.001 * rng.normal(size=(80, 12))
    selection = d4(vectors, 30, rng=seeded(), dedup=0.75)
    assert len(set(groups[selection.indices])) == 30
    gone = np.flatnonzero(selection.reason == "within radius of twin")
    assert len(gone) == 20
    named = gone[selection.kept_twin[gone] >= 0]
    assert len(named) > 0
    np.testing.assert_array_equal(groups[selection.kept_twin[named]], groups[named])
    # Two steps by hand: what stays after de-duplication, and in it the farthest from its prototype.
    shared = seeded()
    rest = np.sort(semdedup(vectors, 60, rng=shared).indices)
    similarity = cluster(vectors[rest], default_k(60), rng=shared).similarity
    assert set(selection.indices) == set(rest[np.argsort(similarity)[:30]])


def slow_quotas(tree, total):
    """Balanced sampling on a nested list of leaf sizes: give one at a time down the branch that has received
    least and has room.
    """

    def room(node):
        return node if isinstance(node, int) else sum(map(room, node))

    def fill(node, share):
        if isinstance(node, int):
            return [share]
        given_, size = [0] * len(node), [room(child) for child in node]
        for _ in range(share):
            open_ = [child for child in range(len(node)) if given_[child] < size[child]]
            given_[min(open_, key=lambda child: (given_[child], -size[child], -child))] += 1
        return [quota for child, part in zip(node, given_, strict=True) for quota in fill(child, part)]

    return fill(tree, total)


@pytest.mark.parametrize("total", [0, 1, 3, 7, 12, 20, 31])
def test_a_count_is_shared_down_the_tree(total):
    sizes, parents = np.array([10, 1, 5, 9, 0, 6]), [np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1])]
    tree = [[[10, 1, 5], [9, 0]], [[6]]]
    assert leaf_quotas(sizes, parents, total).tolist() == slow_quotas(tree, total)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(12, 60), share=st.floats(0.05, 1), seed=st.integers(0, 999), copies=st.booleans())
def test_every_leaf_gives_its_share_of_the_tree(n, share, seed, copies):
    vectors, count = rows(n, seed), max(1, round(share * n))
    if copies:
        vectors = vectors[seeded(seed).integers(0, n // 3, n)]
    shared = seeded(seed)
    leaves = cluster(vectors, 9, rng=shared)
    branch = cluster(leaves.centroids, 3, rng=shared).labels
    sizes = np.bincount(leaves.labels, minlength=9).tolist()
    tree = [[sizes[leaf] for leaf in range(9) if branch[leaf] == top] for top in range(3)]
    expected = dict(zip(np.argsort(branch, kind="stable").tolist(), slow_quotas(tree, count), strict=True))
    selection = hierarchical_kmeans(vectors, count, rng=seeded(seed), levels=(9, 3))
    taken = np.bincount(leaves.labels[selection.indices], minlength=9)
    assert taken.tolist() == [expected[leaf] for leaf in range(9)]


def test_hierarchical_sampling_evens_out_a_crowded_concept():
    rng = seeded(2)
    concept = np.repeat(np.arange(4), [400, 40, 20, 20])
    vectors = 4 * np.eye(8)[concept] + rng.normal(size=(480, 8)) * 0.3
    selection = hierarchical_kmeans(vectors, 40, rng=seeded(), levels=(20, 4))
    drawn = np.bincount(concept[select(vectors, "random", 40).indices], minlength=4)
    balanced = np.bincount(concept[selection.indices], minlength=4)
    assert balanced.min() > drawn.min()
    assert balanced.max() < drawn.max()
    closest = hierarchical_kmeans(vectors, 40, rng=seeded(), levels=(20, 4), draw="closest")
    labels = cluster(vectors, 20, rng=seeded())
    for label in set(labels.labels[closest.indices].tolist()):
        members = np.flatnonzero(labels.labels == label)
        mine = np.isin(members, closest.indices)
        assert (
            labels.similarity[members[mine]].min() >= labels.similarity[members[~mine]].max(initial=-1) - 1e-5
        )


def test_the_default_levels_fall_by_ten():
    assert default_levels(1_000_000) == [1000, 100, 10]
    assert default_levels(100) == [10]
    assert default_levels(1) == [1]


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("ssp", {"end": "hardest"}, "end must be 'hard' or 'easy', got 'hardest'; did you mean 'hard'"),
        ("ssp", {"k": 2.5}, r"whole number between 1 and 30, got 2\.5"),
        ("semdedup", {"radius": -1}, "cosine distance"),
        ("semdedup", {"keep": "both"}, "'farthest' or 'nearest'"),
        ("d4", {"dedup": 0}, r"share in \(0, 1\]"),
        ("hierarchical-kmeans", {"levels": (3, 3)}, "levels must fall in whole numbers"),
        ("hierarchical-kmeans", {"levels": ()}, "levels must fall in whole numbers"),
        ("hierarchical-kmeans", {"levels": (4.5, 2)}, "levels must fall in whole numbers"),
        ("hierarchical-kmeans", {"draw": "far"}, "'random' or 'closest'"),
    ],
)
def test_parameters_out_of_range_are_refused(method, params, says):
    with pytest.raises(RecipeError, match=says):
        select(rows(30, 0), method, 0.2, **params)
