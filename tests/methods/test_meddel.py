import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import RecipeError
from optidel.features.clusters import Clusters, cluster, default_k
from optidel.features.rows import unit
from optidel.methods.meddel import meddel, novelties


def neighbourhoods(vectors, clusters, border):
    """The clusters of each row: its own, and the second if that is farther by at most the share
    ``border``.
    """
    distance = 1 - unit(vectors) @ clusters.centroids.T
    nearest = np.argsort(distance, axis=1, kind="stable")
    shared = [{label} for label in clusters.labels.tolist()]
    for row, order in enumerate(nearest):
        if (
            border
            and len(order) > 1
            and distance[row, order[1]] <= np.float32(1 + border) * distance[row, order[0]]
        ):
            shared[row].add(int(order[1]))
    return shared


def slow_meddel(vectors, radius, clusters, keep, border):
    """SemDeDup as its paper's algorithm reads, with borders: sort, full similarity matrix, drop rows above 1
    − radius to an earlier one.
    """
    typical = clusters.similarity.round(6) * (1 if keep == "farthest" else -1)
    order = sorted(range(len(vectors)), key=lambda row: (typical[row], row))
    shared, cosine, novelty = neighbourhoods(vectors, clusters, border), unit(vectors) @ unit(vectors).T, {}
    for place, row in enumerate(order):
        before = [cosine[row, other] for other in order[:place] if shared[row] & shared[other]]
        novelty[row] = round(float(1 - max(before, default=-1)), 6)
    stay = {row for row in order if novelty[row] >= radius}
    # Of every cluster at least the most novel row stays, the earlier at a tie.
    return stay | {
        max((row for row in order if clusters.labels[row] == label), key=novelty.get)
        for label in set(clusters.labels.tolist())
    }


def copies(n, share, seed, d=6):
    """Rows of which ``share`` are near copies of others."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, d))
    twins = int(share * n)
    vectors[:twins] = vectors[n - 1 - np.arange(twins) % (n - twins)] + 0.01 * rng.normal(size=(twins, d))
    return vectors.astype(np.float32)


@pytest.mark.parametrize("border", [0, 0.1, 1])
@pytest.mark.parametrize("keep", ["farthest", "nearest"])
@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 50), share=st.floats(0.05, 1), seed=st.integers(0, 999))
def test_it_is_semdedup_at_the_radius_that_meets_the_budget(keep, border, n, share, seed):
    vectors, count = copies(n, 0.4, seed), max(1, round(share * n))
    selection = meddel(vectors, count, rng=np.random.default_rng(seed), keep=keep, border=border)
    clusters = cluster(vectors, min(count, default_k(n)), rng=np.random.default_rng(seed))
    # Just below the last gain everything kept stays; among rows with another threshold, everything dropped
    # goes.
    kept = set(selection.indices.tolist())
    assert kept <= slow_meddel(vectors, selection.gains[-1] - 1e-5, clusters, keep, border)
    assert slow_meddel(vectors, selection.gains[-1] + 1e-5, clusters, keep, border) <= kept


@pytest.mark.parametrize("border", [0, 1])
@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 50), share=st.floats(0.05, 0.9), seed=st.integers(0, 999))
def test_the_twin_is_the_most_similar_row_that_stays_of_those_compared(border, n, share, seed):
    vectors, count = copies(n, 0.4, seed), max(1, round(share * n))
    selection = meddel(vectors, count, rng=np.random.default_rng(seed), border=border)
    clusters = cluster(vectors, min(count, default_k(n)), rng=np.random.default_rng(seed))
    shared = neighbourhoods(vectors, clusters, border)
    cosine = unit(vectors) @ unit(vectors).T
    for row in set(range(n)) - set(selection.indices.tolist()):
        rivals = [kept for kept in selection.indices if shared[kept] & shared[row]]
        assert selection.kept_twin[row] in rivals
        assert selection.similarity[row] == pytest.approx(max(cosine[row, rivals]), abs=1e-5)
        assert selection.reason[row] == "within radius of twin"


def test_gains_fall_and_the_last_is_the_radius():
    vectors = copies(80, 0.3, 1)
    selection = meddel(vectors, 40, rng=np.random.default_rng(0))
    assert (np.diff(selection.gains) <= 0).all()
    assert selection.gains[0] == 2
    clusters = cluster(vectors, default_k(80), rng=np.random.default_rng(0))
    assert len(slow_meddel(vectors, selection.gains[-1] - 1e-5, clusters, "farthest", 0.1)) == 40


def test_planted_copies_go_first_and_no_group_is_lost():
    rng = np.random.default_rng(3)
    originals = rng.normal(size=(70, 24))
    groups = np.concatenate([np.arange(70), np.arange(30)])
    vectors = (originals[groups] + 0.001 * rng.normal(size=(100, 24))).astype(np.float32)
    selection = meddel(vectors, 70, rng=rng, k=3)
    assert sorted(groups[selection.indices]) == list(range(70))
    gone = np.setdiff1d(np.arange(100), selection.indices)
    np.testing.assert_array_equal(groups[selection.kept_twin[gone]], groups[gone])
    assert (selection.similarity[gone] > 0.999).all()


def test_copies_on_either_side_of_a_border_do_not_both_stay():
    rng = np.random.default_rng(0)
    originals = unit(rng.normal(size=(2000, 8)))
    vectors = np.concatenate([originals, originals + 0.03 * rng.normal(size=(2000, 8))]).astype(np.float32)
    chosen = [
        meddel(vectors, 2000, rng=np.random.default_rng(0), k=63, border=border).indices
        for border in (0, 0.1)
    ]
    inside, across = (2000 - len(set(rows % 2000)) for rows in chosen)
    assert inside > 50
    assert across < inside / 3


def test_the_one_farther_from_the_centroid_stays_and_the_other_rule_is_its_mirror():
    vectors = np.array([[1, 0.0], [1, 0.3], [1, 0.35]], dtype=np.float32)
    assert meddel(vectors, 1, rng=np.random.default_rng(0), k=1).indices.tolist() == [0]
    # The centroid lies near (1, 0.21): row 1 is the most typical of the near pair 1, 2.
    assert set(meddel(vectors, 2, rng=np.random.default_rng(0), k=1).indices) == {0, 2}
    assert set(meddel(vectors, 2, rng=np.random.default_rng(0), k=1, keep="nearest").indices) == {0, 1}


def test_equal_rows_stay_in_row_order():
    selection = meddel(np.ones((6, 3), dtype=np.float32), 2, rng=np.random.default_rng(0), k=1)
    assert selection.indices.tolist() == [0, 1]
    assert selection.kept_twin.tolist() == [-1, -1, 0, 0, 0, 0]


def test_a_smaller_count_keeps_a_prefix_given_the_clusters():
    vectors = copies(90, 0.3, 5)
    large = meddel(vectors, 50, rng=np.random.default_rng(0), k=4)
    assert (
        large.indices[:20].tolist() == meddel(vectors, 20, rng=np.random.default_rng(0), k=4).indices.tolist()
    )


def outliers(seed=0):
    """Two tight groups of 40 rows, and six rows in directions of their own."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(np.eye(12)[:2], 40, axis=0) + 0.2 * rng.normal(size=(80, 12)) * (np.arange(12) < 4)
    return np.concatenate([vectors, np.eye(12)[6:] + 0.1 * np.eye(12)[0]]).astype(np.float32)


def test_rows_beyond_epsilon_go_first_and_say_so():
    vectors = outliers()
    without = meddel(vectors, 20, rng=np.random.default_rng(0), k=2)
    assert (without.indices >= 80).sum() == 6
    selection = meddel(vectors, 20, rng=np.random.default_rng(0), k=2, epsilon=0.6)
    assert selection.indices.max() < 80
    assert set(selection.reason[80:]) == {"beyond epsilon of its centroid"}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), epsilon=st.floats(0.05, 1.2), keep=st.sampled_from(["farthest", "nearest"]))
def test_epsilon_is_meddel_of_what_lies_within_it(seed, epsilon, keep):
    vectors, count = copies(60, 0.4, seed), 8
    selection = meddel(vectors, count, rng=np.random.default_rng(seed), epsilon=epsilon, keep=keep)
    clusters = cluster(vectors, min(count, default_k(60)), rng=np.random.default_rng(seed), border=0.1)
    distance = (1 - clusters.similarity).round(6)
    valid = np.flatnonzero(distance <= epsilon)
    if len(valid) < count:
        assert set(selection.indices) == set(np.argsort(distance, kind="stable")[:count])
        return
    assert set(selection.indices) <= set(valid)
    # The same thresholds as over the valid rows alone, with the same clusters.
    alone = Clusters(
        centroids=clusters.centroids,
        labels=clusters.labels[valid],
        similarity=clusters.similarity[valid],
        guests=np.array(
            [
                (np.searchsorted(valid, row), label)
                for row, label in clusters.guests.T
                if distance[row] <= epsilon
            ],
            dtype=np.int64,
        )
        .reshape(-1, 2)
        .T,
    )
    novelty = novelties(vectors[valid], alone, keep)
    expected = valid[np.argsort(-novelty, kind="stable")[:count]]
    assert selection.indices.tolist() == expected.tolist()


def test_an_epsilon_that_leaves_too_few_keeps_the_nearest_and_one_out_of_range_is_refused():
    vectors = outliers()
    few = meddel(vectors, 20, rng=np.random.default_rng(0), k=2, epsilon=1e-6)
    similarity = cluster(vectors, 2, rng=np.random.default_rng(0), border=0.1).similarity
    assert set(few.indices) == set(np.argsort(-similarity.round(6), kind="stable")[:20])
    with pytest.raises(
        RecipeError, match=r"epsilon must be a cosine distance in \(0, 2\], got 0; 0\.9 is MedDEL's"
    ):
        meddel(vectors, 20, rng=np.random.default_rng(0), epsilon=0)
