import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import BudgetError
from optidel.features.clusters import cluster, default_k
from optidel.features.rows import unit
from optidel.methods.optidel_paper import optidel_paper
from optidel.methods.quotas import water_fill


def slow_water_fill(sizes, total):
    """Give one at a time to the cluster that has received least and has room; later ones win ties at the last
    level.
    """
    quota = [0] * len(sizes)
    for _ in range(total):
        open_ = [label for label in range(len(sizes)) if quota[label] < sizes[label]]
        quota[min(open_, key=lambda label: (quota[label], -sizes[label], -label))] += 1
    return quota


def slow_optidel(vectors, count, difficulty, labels, radius, slack):
    """Greedy by the definition: five passes over everything, all similarities from scratch."""
    rows, cosine = (
        sorted(range(len(vectors)), key=lambda row: (-difficulty[row], row)),
        unit(vectors) @ unit(vectors).T,
    )
    sizes = np.bincount(labels).tolist()
    quota = [
        min(size, math.ceil(share * slack))
        for size, share in zip(sizes, slow_water_fill(sizes, count), strict=True)
    ]
    taken = []
    for gap, limit in [(radius, quota), (radius / 2, quota), (radius / 4, quota), (0, quota), (0, sizes)]:
        for row in rows:
            near = [other for other in taken if labels[other] == labels[row]]
            close = gap > 0 and any(cosine[row, other] > 1 - gap for other in near)
            if len(taken) < count and row not in taken and len(near) < limit[labels[row]] and not close:
                taken.append(row)
    return taken


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 40),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 999),
    radius=st.sampled_from([None, 0.0, 0.1, 0.5, 1.5]),
    slack=st.sampled_from([1.0, 1.5, 3.0]),
)
def test_it_is_the_greedy_choice_of_its_definition(n, share, seed, radius, slack):
    rng = np.random.default_rng(seed)
    vectors, difficulty, count = (
        rng.normal(size=(n, 4)).astype(np.float32),
        rng.integers(0, 9, n).astype(float),
        max(1, round(share * n)),
    )
    selection = optidel_paper(
        vectors,
        count,
        difficulty=difficulty,
        rng=np.random.default_rng(seed),
        radius=radius,
        quota_slack=slack,
    )
    found = cluster(vectors, min(count, default_k(n)), rng=np.random.default_rng(seed))
    labels, radius = (
        found.labels,
        float(np.median(1 - found.similarity).clip(0)) if radius is None else radius,
    )
    assert selection.indices.tolist() == slow_optidel(vectors, count, difficulty, labels, radius, slack)
    np.testing.assert_array_equal(selection.gains, difficulty[selection.indices])
    twinned = selection.kept_twin >= 0
    np.testing.assert_array_equal(labels[selection.kept_twin[twinned]], labels[twinned])


def test_without_diversity_the_hardest_stay():
    vectors, difficulty = (
        np.random.default_rng(0).normal(size=(30, 4)),
        np.random.default_rng(1).permutation(30).astype(float),
    )
    selection = optidel_paper(
        vectors, 5, difficulty=difficulty, rng=np.random.default_rng(0), diversity=False
    )
    assert difficulty[selection.indices].tolist() == [29, 28, 27, 26, 25]
    assert set(selection.reason) == {"kept", "less hard"}


def test_copies_of_the_hardest_do_not_fill_the_budget():
    rng = np.random.default_rng(2)
    vectors = np.concatenate([np.tile(rng.normal(size=8), (20, 1)), rng.normal(size=(40, 8))])
    difficulty = np.concatenate([np.linspace(2, 3, 20), np.linspace(0, 1, 40)])
    selection = optidel_paper(vectors, 12, difficulty=difficulty, rng=rng)
    assert selection.indices[0] == 19
    assert (selection.indices < 20).sum() == 1
    assert (selection.reason[:19] == "within radius of twin").sum() == 19
    assert (selection.kept_twin[:19] == 19).all()


def test_a_quota_keeps_a_hard_cluster_from_taking_everything():
    rng = np.random.default_rng(3)
    vectors = np.repeat(np.eye(4), 25, axis=0) + 0.2 * rng.normal(size=(100, 4))
    difficulty = np.repeat([3.0, 2.0, 1.0, 0.0], 25) + 0.1 * rng.random(100)
    even = optidel_paper(
        vectors, 20, difficulty=difficulty, rng=np.random.default_rng(0), k=4, radius=0.0, quota_slack=1.0
    )
    labels = cluster(vectors, 4, rng=np.random.default_rng(0)).labels
    assert np.bincount(labels[even.indices]).tolist() == [5, 5, 5, 5]
    assert "cluster quota full" in even.reason
    free = optidel_paper(
        vectors,
        20,
        difficulty=difficulty,
        rng=np.random.default_rng(0),
        k=4,
        radius=0.0,
        quota_slack=math.inf,
    )
    assert set(free.indices) == set(np.argsort(-difficulty)[:20])


def test_relaxing_is_written_in_the_reason():
    vectors = np.ones((10, 3)) + np.linspace(0, 0.01, 10)[:, None] * np.array([1, 0, -1])
    selection = optidel_paper(
        vectors, 6, difficulty=np.arange(10.0), rng=np.random.default_rng(0), radius=0.1, k=1
    )
    assert selection.reason[selection.indices].tolist() == ["kept"] + ["kept, radius 0"] * 5
    two = np.concatenate(
        [np.tile([1.0, 0.0], (1, 1)), np.tile([0.0, 1.0], (9, 1)) + np.linspace(0, 0.001, 9)[:, None]]
    )
    lifted = optidel_paper(two, 10, difficulty=np.arange(10.0), rng=np.random.default_rng(0), radius=0.1, k=2)
    assert len(lifted.indices) == 10


def test_too_few_patches_say_what_to_change():
    with pytest.raises(BudgetError, match="needs 12 key patches, there are 5; lower the budget"):
        optidel_paper(np.ones((5, 2)), 12, difficulty=np.ones(5), rng=np.random.default_rng(0))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.floats(0, 1))
def test_water_filling_is_giving_one_at_a_time(sizes, share):
    total = int(share * sum(sizes))
    quota = water_fill(np.array(sizes), total)
    assert quota.sum() == total
    assert (quota <= sizes).all()
    assert sorted(quota) == sorted(slow_water_fill(sizes, total))
    np.testing.assert_array_equal(quota, slow_water_fill(sizes, total))
