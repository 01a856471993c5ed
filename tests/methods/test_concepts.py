"""Balance over concepts: quotas against their definition, and what is drawn inside a concept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import InputError, RecipeError
from optidel.features.clusters import cluster, default_k
from optidel.features.rows import random_order, unit
from optidel.methods import select
from optidel.methods.concepts import concepts
from optidel.methods.quotas import power_shares, systematic_rounding, water_fill


def slow_shares(sizes, total, gamma):
    """min(size, λ·size^γ), the level λ by bisection."""
    low, high = 0.0, 1e9
    for _ in range(200):
        level = (low + high) / 2
        shares = [min(size, level * size**gamma) if size else 0.0 for size in sizes]
        low, high = (level, high) if sum(shares) < total else (low, level)
    return shares


SIZES = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any)


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, share=st.floats(0, 1), gamma=st.floats(0, 1))
def test_shares_are_the_water_level_of_their_definition(sizes, share, gamma):
    total = round(share * sum(sizes))
    shares = power_shares(np.array(sizes), total, gamma)
    np.testing.assert_allclose(shares, slow_shares(sizes, total, gamma), atol=1e-6)
    assert (shares <= np.array(sizes) + 1e-9).all()
    assert shares.sum() == pytest.approx(total)


@settings(max_examples=50, deadline=None)
@given(sizes=SIZES, share=st.floats(0, 1), gamma=st.floats(0, 1), seed=st.integers(0, 99))
def test_rounding_meets_the_total_and_moves_no_share_by_one(sizes, share, gamma, seed):
    total = round(share * sum(sizes))
    shares = power_shares(np.array(sizes), total, gamma)
    quota = systematic_rounding(shares, total, np.random.default_rng(seed))
    assert quota.sum() == total
    assert (quota <= np.array(sizes)).all()
    assert (np.abs(quota - shares) < 1 + 1e-6).all()


def test_equal_shares_are_those_of_water_filling():
    sizes = np.array([3, 50, 8, 20])
    np.testing.assert_allclose(power_shares(sizes, 35, 0.0), water_fill(sizes, 35))


def test_on_average_every_cluster_has_its_share():
    shares, rng = np.array([0.25, 1.5, 0.05, 2.2]), np.random.default_rng(0)
    mean = np.mean([systematic_rounding(shares, 4, rng) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, shares, atol=0.03)


def slow_concepts(vectors, difficulty, count, seed, gamma, window, radius):
    """Concept by concept, all quantiles and similarities from scratch."""
    rng = np.random.default_rng(seed)
    clusters = cluster(vectors, min(count, default_k(len(vectors))), rng=rng)
    labels = clusters.labels.tolist()
    sizes = [labels.count(label) for label in range(len(clusters.centroids))]
    quota = systematic_rounding(np.array(slow_shares(sizes, count, gamma)), count, rng)
    drawn, cosine = random_order(vectors, rng).tolist(), unit(vectors) @ unit(vectors).T
    picks = set()
    for label, share in enumerate(quota):
        rows = [row for row in drawn if labels[row] == label]
        below = {r: sum(difficulty[o] < difficulty[r] for o in rows) for r in rows}
        level = {r: sum(difficulty[o] == difficulty[r] for o in rows) for r in rows}
        quantile = {r: (below[r] + level[r] / 2) / len(rows) for r in rows}
        gap = {r: max(0, window[0] - quantile[r], quantile[r] - window[1]) for r in rows}
        inside = [row for row in rows if gap[row] < 1e-12]
        apart = []
        for row in inside:
            if len(apart) < share and not any(cosine[row, other] > 1 - radius for other in apart):
                apart.append(row)
        rest = [row for row in inside if row not in apart]
        outside = sorted((row for row in rows if row not in inside), key=lambda row: round(gap[row], 9))
        picks |= set([*apart, *rest, *outside][:share])
    return picks


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 50),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 99),
    gamma=st.sampled_from([0.0, 0.5, 1.0]),
    window=st.sampled_from([(0.0, 1.0), (0.7, 1.0), (0.3, 0.6), (0.0, 0.1)]),
    radius=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_it_draws_what_its_definition_draws(n, share, seed, gamma, window, radius):
    rng = np.random.default_rng(seed)
    vectors, difficulty = rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 6, n).astype(float)
    count = max(1, round(share * n))
    selection = concepts(
        vectors,
        count,
        rng=np.random.default_rng(seed),
        difficulty=difficulty,
        gamma=gamma,
        window=window,
        radius=radius,
    )
    expected = slow_concepts(vectors, difficulty, count, seed, gamma, window, radius)
    assert set(selection.indices.tolist()) == expected


def planted(sizes, d=16, seed=0):
    """Tight clusters of these sizes, and the cluster of each row."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    vectors = rng.normal(size=(len(sizes), d))[labels] + 0.02 * rng.normal(size=(len(labels), d))
    return vectors.astype(np.float32), labels


@pytest.mark.parametrize(("gamma", "ratio"), [(0.0, 1), (0.5, 3), (1.0, 9)])
def test_a_concept_nine_times_as_large_gives_as_many_as_gamma_says(gamma, ratio):
    vectors, labels = planted([900, 100])
    kept = np.bincount(labels[select(vectors, "concepts", 40, k=2, gamma=gamma).indices])
    assert kept[0] / kept[1] == pytest.approx(ratio)


def test_a_window_draws_only_between_its_quantiles_in_every_concept():
    vectors, labels = planted([300, 100, 50])
    difficulty = np.random.default_rng(1).normal(size=450) + 100 * labels
    selection = select(vectors, "concepts", 45, difficulty=difficulty, k=3, window=(0.6, 0.9), gamma=1.0)
    for label in range(3):
        scores = difficulty[labels == label]
        kept = difficulty[selection.indices[labels[selection.indices] == label]]
        assert (np.searchsorted(np.sort(scores), kept) / len(scores) >= 0.59).all()
        assert (np.searchsorted(np.sort(scores), kept) / len(scores) <= 0.9).all()
    assert set(selection.reason) == {"kept", "outside the window", "not drawn in its concept"}


def test_a_window_that_holds_too_few_is_widened_and_says_so():
    vectors, _ = planted([20])
    selection = select(vectors, "concepts", 10, difficulty=np.arange(20.0), k=1, window=(0.4, 0.6))
    assert set(selection.indices.tolist()) == set(range(5, 15))
    assert (selection.reason[selection.indices] == "kept, outside the window").sum() == 6


def test_copies_are_passed_over_while_the_concept_has_others():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([np.tile(rng.normal(size=8), (50, 1)), rng.normal(size=(20, 8))])
    vectors = (vectors + 3).astype(np.float32)
    for radius, copies in ((0.0, 10), (1e-4, 1)):
        kept = [
            (select(vectors, "concepts", 15, k=1, radius=radius, seed=seed).indices < 50).sum()
            for seed in range(5)
        ]
        assert np.mean(kept) == pytest.approx(copies, abs=3 if copies > 1 else 0)


def test_a_scale_of_the_difficulty_does_not_matter():
    vectors, _ = planted([40, 30])
    difficulty = np.random.default_rng(2).normal(size=70)
    first, second = (
        select(vectors, "concepts", 12, difficulty=values, window=(0.5, 1.0), seed=3).indices
        for values in (difficulty, np.exp(3 * difficulty))
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1\.5"),
        ({"radius": 2}, "radius must be a cosine distance"),
        ({"window": (0.9, 0.7)}, "window must be two quantiles that rise"),
        ({"window": (0.5,)}, "window must be two quantiles"),
        ({"window": "ab"}, "window must be two quantiles"),
        ({"window": (0.5, 1.1)}, "window must be two quantiles"),
        ({"k": 0}, "k must be a whole number between 1 and"),
    ],
)
def test_a_parameter_out_of_range_is_refused(params, says):
    with pytest.raises(RecipeError, match=says):
        select(planted([30])[0], "concepts", 5, difficulty=np.ones(30), **params)


def test_a_window_without_a_difficulty_is_refused():
    with pytest.raises(InputError, match="a window needs a difficulty per row"):
        select(planted([30])[0], "concepts", 5, window=(0.5, 1.0))
