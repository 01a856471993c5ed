"""Choosing for a target: each method against its definition, and that it finds what was planted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from optidel.errors import InputError, RecipeError
from optidel.features.clusters import assign, cluster
from optidel.features.rows import content_keys, unit
from optidel.methods import select
from optidel.methods.target_importance import log_importance, target_importance
from optidel.methods.target_similarity import target_similarity
from optidel.methods.target_transport import target_transport

TARGETED = ["target-similarity", "target-importance", "target-transport"]


def planted(n=400, d=12, seed=0):
    """A corpus of four clusters, the cluster of each row, and ten target images of the third, the rarest."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, n, p=[0.5, 0.3, 0.08, 0.12])
    centres = 4 * rng.normal(size=(4, d))
    vectors = centres[labels] + rng.normal(size=(n, d))
    target = centres[2] + rng.normal(size=(10, d))
    return vectors.astype(np.float32), labels, target.astype(np.float32)


@pytest.mark.parametrize("method", TARGETED)
def test_the_rows_of_the_target_are_found(method):
    vectors, labels, target = planted()
    params = {"k": 4} if method == "target-importance" else {}
    kept = labels[select(vectors, method, 20, target=target, **params).indices]
    assert (kept == 2).mean() > (0.6 if params else 0.99)


@pytest.mark.parametrize("method", TARGETED)
def test_a_target_of_two_kinds_has_both(method):
    vectors, labels, target = planted()
    other = vectors[np.flatnonzero(labels == 3)[:10]] + 0.1
    params = {"k": 4} if method == "target-importance" else {}
    selection = select(vectors, method, 24, target=np.concatenate([target, other]), **params)
    kept = np.bincount(labels[selection.indices], minlength=4)
    assert kept[2] >= 5
    assert kept[3] >= 5


def slow_similarity(vectors, target, count):
    """Target images take turns, each naming its next neighbour; rows in the order in which they are first
    named.
    """
    cosine = (unit(vectors) @ unit(target).T).astype(float).round(6)
    queues = [
        sorted(range(len(vectors)), key=lambda row, t=t: (-cosine[row, t], row)) for t in range(len(target))
    ]
    picks = []
    for names in zip(*queues, strict=True):
        for row in sorted(set(names), key=lambda row: (-cosine[row].max(), row)):
            if row not in picks:
                picks.append(row)
    return picks[:count]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), t=st.integers(1, 6), share=st.floats(0.05, 1), seed=st.integers(0, 99))
def test_similarity_lets_target_images_take_turns(n, t, share, seed):
    rng = np.random.default_rng(seed)
    vectors, target = (rng.normal(size=(rows, 4)).astype(np.float32) for rows in (n, t))
    count = max(1, round(share * n))
    selection = target_similarity(vectors, count, target=target)
    assert selection.indices.tolist() == slow_similarity(vectors, target, count)
    nearest = (unit(vectors) @ unit(target).T).max(axis=1)
    np.testing.assert_allclose(selection.gains, nearest[selection.indices], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(4, 60), t=st.integers(1, 8), k=st.integers(1, 4), seed=st.integers(0, 99))
def test_importance_is_the_ratio_of_the_shares(n, t, k, seed):
    rng = np.random.default_rng(seed)
    vectors, target = (rng.normal(size=(rows, 4)).astype(np.float32) for rows in (n, t))
    draw = np.random.default_rng(seed)
    clusters = cluster(vectors, k, rng=draw)
    labels, named = clusters.labels.tolist(), assign(target, clusters.centroids).labels.tolist()
    weight = []
    for label in labels:
        corpus = labels.count(label) / n
        weight.append((named.count(label) + 0.5 * corpus) / (t + 0.5) / corpus)
    uniform = (content_keys(vectors, draw) >> np.uint64(11)) / 2.0**53
    expected = sorted(range(n), key=lambda row: -np.log1p(-uniform[row]) / weight[row])
    selection = target_importance(
        vectors, n, target=target, rng=np.random.default_rng(seed), k=k, smoothing=0.5
    )
    assert selection.indices.tolist() == expected
    np.testing.assert_allclose(selection.gains, np.log(weight)[expected])


def test_importance_draws_concepts_in_the_shares_of_the_target():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    weight = np.exp(log_importance(labels, np.repeat([1, 2], [5, 5]), 3, 1e-9))
    drawn = np.bincount(labels, weights=weight[labels])
    np.testing.assert_allclose(drawn / drawn.sum(), [0, 0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_transport_with_a_row_for_each_target_image_is_the_assignment_problem(seed):
    rng = np.random.default_rng(seed)
    vectors, target = (rng.normal(size=(rows, 6)).astype(np.float32) for rows in (120, 12))
    distance = 1 - unit(vectors) @ unit(target).T
    least = distance[linear_sum_assignment(distance)].sum()
    picks = target_transport(
        vectors, 12, target=target, regularisation=0.005, rng=np.random.default_rng(seed)
    ).indices
    reached = distance[picks][linear_sum_assignment(distance[picks])].sum()
    assert least - 1e-5 <= reached <= 1.02 * least
    nearest = np.argsort(distance.min(axis=1))[:12]
    assert reached <= distance[nearest][linear_sum_assignment(distance[nearest])].sum()


@pytest.mark.parametrize("offset", [0.0, 10.0, 40.0])
def test_transport_finds_the_target_in_a_narrow_cone_too(offset):
    """As in a raw embedding: a constant added to all rows brings every cosine near 1."""
    vectors, labels, target = planted()
    cone = np.full(vectors.shape[1], offset, np.float32)
    picks = target_transport(vectors + cone, 20, target=target + cone, rng=np.random.default_rng(0)).indices
    assert (labels[picks] == 2).mean() > 0.9


def test_no_row_takes_more_than_its_limit_and_all_mass_arrives():
    vectors, _, target = planted()
    selection = target_transport(vectors, 400, target=target, rng=np.random.default_rng(0))
    assert selection.gains.max() <= 1 + 0.1
    assert selection.gains.sum() == pytest.approx(400, rel=1e-3)


@pytest.mark.parametrize("method", TARGETED)
def test_copies_of_the_target_are_kept_first(method):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 24)).astype(np.float32)
    params = {"k": 60, "smoothing": 1e-6} if method == "target-importance" else {}
    selection = select(vectors, method, 5, target=vectors[:5], **params)
    assert set(selection.indices) == set(range(5))


@pytest.mark.parametrize("method", TARGETED)
def test_a_target_is_asked_for_and_checked(method):
    vectors, _, target = planted(60)
    with pytest.raises(InputError, match=f"method '{method}' needs images of the target; pass target="):
        select(vectors, method, 5)
    with pytest.raises(InputError, match="target has 3 dimensions, vectors have 12"):
        select(vectors, method, 5, target=target[:, :3])
    with pytest.raises(InputError, match="row 1 of target holds NaN"):
        select(vectors, method, 5, target=np.where(np.arange(10)[:, None] == 1, np.nan, target).astype("f4"))


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("target-importance", {"smoothing": 0}, "smoothing must be a positive number of images, got 0"),
        ("target-importance", {"k": 0}, "k must be a whole number"),
        ("target-transport", {"regularisation": 1e-4}, "regularisation must be at least 0.005"),
    ],
)
def test_a_parameter_out_of_range_is_refused(method, params, says):
    vectors, _, target = planted(60)
    with pytest.raises(RecipeError, match=says):
        select(vectors, method, 5, target=target, **params)
