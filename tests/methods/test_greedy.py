"""k-center, facility-location, log-det: exact against definitions computed from scratch, in parts against the
exact one.
"""

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import RecipeError
from optidel.features import rows as feature_rows
from optidel.features.clusters import Clusters
from optidel.features.rows import unit
from optidel.methods import partition, select
from optidel.methods.facility_location import facility_location, sampled_greedy
from optidel.methods.facility_location import greedy as greedy_choice
from optidel.methods.k_center import farthest_first, k_center
from optidel.methods.log_det import greedy_map, log_det
from optidel.methods.partition import merged_greedy

GREEDY = {"k-center": k_center, "facility-location": facility_location, "log-det": log_det}


def rows(n, seed, d=4):
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


def objective(units, chosen):
    return np.maximum(units @ units[chosen].T, 0).max(axis=1).sum()


def radius(units, chosen):
    return (1 - (units @ units[chosen].T).max(axis=1)).max()


def log_volume(units, chosen, bandwidth):
    wide = units[chosen].astype(np.float64)
    gap = ((wide[:, None] - wide[None]) ** 2).sum(axis=2) / 2
    return np.linalg.slogdet(np.exp(-gap / bandwidth))[1]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 999))
def test_farthest_first_takes_the_farthest(n, seed):
    units = rows(n, seed)
    places, gains = farthest_first(units, n)
    assert sorted(places) == list(range(n))
    for step in range(1, n):
        distance = 1 - (units @ units[places[:step]].T).max(axis=1)
        assert gains[step] == pytest.approx(distance.max(), abs=1e-5)
        assert distance[places[step]] == pytest.approx(distance.max(), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 60), window=st.integers(1, 8), copies=st.booleans(), seed=st.integers(0, 999))
def test_several_choices_at_a_time_are_those_of_one_at_a_time(n, window, copies, seed):
    units = rows(n, seed, d=3)
    if copies:
        units = units[np.random.default_rng(seed).integers(0, max(1, n // 3), n)]
    expected, distance = [int((units @ units.mean(axis=0)).round(6).argmax())], np.full(n, 2.0)
    for _ in range(n - 1):
        distance = np.minimum(distance, (1 - units @ units[expected[-1]]).round(6).clip(0))
        distance[expected] = -1
        expected.append(int(distance.argmax()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["optidel.methods.k_center"], "WINDOW", window)
        places, _ = farthest_first(units, n)
    far = [
        (1 - (units @ units[order[:step]].T).max(axis=1))[order[step]]
        for order in (places, expected)
        for step in range(1, n)
    ]
    np.testing.assert_allclose(far[: n - 1], far[n - 1 :], atol=3e-6)
    assert sorted(places) == list(range(n))


@pytest.mark.parametrize("dense", [0, 100])
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 25), seed=st.integers(0, 999))
def test_greedy_choice_adds_what_helps_most(dense, n, seed):
    units = rows(n, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["optidel.methods.facility_location"], "WHOLE_UP_TO", dense)
        places, gains = greedy_choice(units, n)
    assert sorted(places) == list(range(n))
    for step in range(n):
        before = objective(units, places[:step]) if step else 0.0
        best = max(objective(units, [*places[:step], row]) for row in range(n)) - before
        assert gains[step] == pytest.approx(best, abs=1e-4)
    assert gains.sum() == pytest.approx(objective(units, places), abs=1e-4)


def shrink(patch):
    """The sampled ranking at a hundredth of its size."""
    module = sys.modules["optidel.methods.facility_location"]
    for name, value in (("EXACT_UP_TO", 40), ("SAMPLE", 30), ("EARLY", 40), ("BLOCK", 41 * 41)):
        patch.setattr(module, name, value)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(41, 90), copies=st.booleans(), seed=st.integers(0, 999))
def test_sampled_ranking_is_greedy_after_its_first_choices(n, copies, seed):
    units = rows(n, seed)
    if copies:
        units = units[np.random.default_rng(seed).integers(0, n // 2, n)]
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        places, gains = sampled_greedy(units, n, np.random.default_rng(seed))
    assert sorted(places) == list(range(n))
    assert (np.diff(gains) <= 0).all()
    for step in range(n // 40, n, 7):
        before = objective(units, places[:step])
        added = objective(units, places[: step + 1]) - before
        assert added == pytest.approx(
            max(objective(units, [*places[:step], row]) for row in range(n)) - before, abs=1e-4
        )


@pytest.mark.parametrize("concepts", [40, 5000])
def test_sampling_loses_a_thousandth_at_most(concepts, capsys):
    rng = np.random.default_rng(concepts)
    centres = unit(rng.normal(size=(concepts, 48)))
    units = unit(centres[rng.integers(0, concepts, 5000)] + 0.1 * rng.normal(size=(5000, 48)))
    exact, sampled = (
        select(units, "facility-location", 250, strategy=strategy).indices for strategy in ("exact", "auto")
    )
    assert "the first 16 choices are proposed by a sample of 1,024" in capsys.readouterr().err
    assert objective(units, sampled) > 0.999 * objective(units, exact)
    few = [
        select(units, "facility-location", 40, strategy=strategy).indices.tolist()
        for strategy in ("exact", "auto")
    ]
    assert few[0] == few[1], "few choices are exact"


def test_similarities_in_blocks_are_those_at_once(monkeypatch):
    units = rows(50, 7)
    at_once = greedy_choice(units, 20)
    monkeypatch.setattr(feature_rows.spans, "__defaults__", (7 * 50,))  # seven rows
    monkeypatch.setattr(sys.modules["optidel.methods.facility_location"], "BLOCK", 9 * 50)
    in_blocks = greedy_choice(units, 20)
    assert in_blocks[0].tolist() == at_once[0].tolist()
    np.testing.assert_allclose(in_blocks[1], at_once[1], atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 14), seed=st.integers(0, 999))
def test_greedy_map_adds_the_most_volume(n, seed):
    units = rows(n, seed)
    places, gains = greedy_map(units, n, 0.5)
    assert sorted(places) == list(range(n))
    for step in range(1, n):
        now = log_volume(units, places[:step], 0.5)
        best = (
            max(
                log_volume(units, [*places[:step], row], 0.5)
                for row in set(range(n)) - set(places[:step].tolist())
            )
            - now
        )
        assert gains[step] == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("method", GREEDY)
def test_copies_are_taken_last(method):
    vectors = np.concatenate([np.eye(5), np.eye(5), np.eye(5)[:2]])
    chosen = GREEDY[method](vectors, 6, rng=np.random.default_rng(0)).indices
    assert len({tuple(vectors[row]) for row in chosen[:5]}) == 5


@pytest.mark.parametrize(
    ("method", "strategy"),
    [
        *(
            (method, strategy)
            for method in GREEDY
            for strategy in ("exact", "partitioned")
            if (method, strategy) != ("log-det", "partitioned")
        ),
        ("facility-location", "sampled"),
    ],
)
def test_a_smaller_count_keeps_a_prefix(method, strategy, monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setattr(partition, "PART", 50)
    monkeypatch.setattr(sys.modules["optidel.methods.k_center"], "NEIGHBOURS", 3)
    vectors = rows(400, 1, d=8)
    large = GREEDY[method](vectors, 80, rng=np.random.default_rng(0), strategy=strategy)
    small = GREEDY[method](vectors, 30, rng=np.random.default_rng(0), strategy=strategy)
    np.testing.assert_array_equal(large.indices[:30], small.indices)
    assert (np.diff(large.gains) <= 1e-12).all()


def test_parts_lose_little(monkeypatch):
    monkeypatch.setattr(partition, "PART", 250)
    monkeypatch.setattr(sys.modules["optidel.methods.k_center"], "NEIGHBOURS", 4)
    rng = np.random.default_rng(3)
    units = unit(np.repeat(rng.normal(size=(40, 16)), 25, axis=0) + 0.4 * rng.normal(size=(1000, 16)))
    picks = {
        (name, strategy): method(units, 100, rng=np.random.default_rng(0), strategy=strategy).indices
        for name, method in GREEDY.items()
        for strategy in ("exact", "partitioned")
    }
    exact, parts = (
        objective(units, picks["facility-location", strategy]) for strategy in ("exact", "partitioned")
    )
    assert parts > 0.99 * exact
    exact, parts = (radius(units, picks["k-center", strategy]) for strategy in ("exact", "partitioned"))
    assert parts < 1.05 * exact
    exact, parts = (
        log_volume(units, picks["log-det", strategy], 0.5) for strategy in ("exact", "partitioned")
    )
    assert parts > exact - 0.01 * abs(exact)


def test_a_part_that_is_taken_whole_is_ranked_deeper():
    vectors, labels = rows(400, 6), np.repeat([0, 1, 2, 3], 100)
    depths = []

    def greedy(units, depth):
        """Gains of the first part are all above those of the others."""
        depths.append(depth)
        first = bool((units[0] == unit(vectors[:1])[0]).all())
        return np.arange(depth), (10.0 if first else 1.0) - np.arange(depth) / 100

    parts = Clusters(centroids=rows(4, 0), labels=labels, similarity=np.ones(400, dtype=np.float32))
    chosen, gains = merged_greedy(vectors, 90, parts, greedy)
    assert chosen.tolist() == list(range(90))
    assert (np.diff(gains) <= 0).all()
    assert max(depths) == 100
    assert sorted(depths)[:4] == [61, 61, 61, 61]


@pytest.mark.parametrize("method", GREEDY)
def test_parts_chosen_automatically_are_said_aloud(method, monkeypatch, capsys):
    for module, limit in (
        ("k_center", "EXACT_UP_TO"),
        ("facility_location", "WHOLE_UP_TO"),
        ("log_det", "EXACT_UP_TO"),
    ):
        monkeypatch.setattr(sys.modules[f"optidel.methods.{module}"], limit, 100)
    select(rows(101, 5), method, 0.1)
    assert re.search(
        rf"{method}: 101 rows are (ranked in|compared within) \d+ .*clusters; strategy='exact'",
        capsys.readouterr().err,
    )
    select(rows(100, 5), method, 0.1)
    assert capsys.readouterr().err == ""


def test_parameters_out_of_range_are_refused():
    with pytest.raises(
        RecipeError,
        match="strategy must be 'auto' or 'exact' or 'partitioned', got 'exakt'; did you mean 'exact'",
    ):
        select(rows(9, 0), "k-center", 3, strategy="exakt")
    with pytest.raises(RecipeError, match="positive cosine distance"):
        select(rows(9, 0), "log-det", 3, bandwidth=-1.0)
