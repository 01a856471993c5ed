"""density, ccs, hardest: weights and strata against plain loops."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import RecipeError
from optidel.features.clusters import cluster
from optidel.features.rows import unit
from optidel.methods import select
from optidel.methods.ccs import ccs
from optidel.methods.density import density, kernel_density
from optidel.methods.hardest import hardest
from optidel.methods.quotas import water_fill


@pytest.mark.parametrize("k", [1, 4])
def test_the_density_is_the_kernel_sum_over_the_cluster(monkeypatch, rng, k):
    monkeypatch.setattr(sys.modules["optidel.methods.density"], "TILE", 7)
    vectors = rng.normal(size=(40, 3))
    clusters = cluster(vectors, k, rng=rng)
    units = unit(vectors).astype(np.float64)
    expected = [
        sum(
            np.exp((a @ b - 1) / 0.2) for b, other in zip(units, clusters.labels, strict=True) if other == own
        )
        for a, own in zip(units, clusters.labels, strict=True)
    ]
    np.testing.assert_allclose(kernel_density(vectors, clusters, 0.2), expected, rtol=1e-4)


def test_a_row_is_drawn_first_in_proportion_to_its_weight():
    vectors = np.concatenate([np.tile([1.0, 0.0], (8, 1)), [[0.0, 1.0], [-1.0, 0.0]]])
    first = [
        density(vectors, 1, rng=np.random.default_rng(seed), bandwidth=0.01, k=1).indices[0]
        for seed in range(600)
    ]
    counts = np.bincount(np.minimum(np.array(first) - 7, 3).clip(0), minlength=3)
    # Eight copies weigh together as much as each lone row; chi-squared, 2 degrees of freedom, p = 0.001.
    assert ((counts - 200) ** 2 / 200).sum() < 13.8


def test_the_gain_is_the_share_of_a_row_that_is_its_own():
    vectors = np.concatenate([np.tile([1.0, 0.0], (4, 1)), [[0.0, 1.0]]])
    selection = density(vectors, 5, rng=np.random.default_rng(0), bandwidth=0.01, k=1)
    own = dict(zip(selection.indices.tolist(), selection.gains.tolist(), strict=True))
    assert own == pytest.approx({0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25, 4: 1}, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 60),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 99),
    prune=st.sampled_from([0.0, 0.1, 0.5]),
    strata=st.integers(1, 9),
)
def test_ccs_fills_strata_evenly_without_the_hardest(n, share, seed, prune, strata):
    rng = np.random.default_rng(seed)
    difficulty, count = rng.normal(size=n).round(1), max(1, round(share * n))
    selection = ccs(np.ones((n, 2)), count, difficulty=difficulty, rng=rng, prune=prune, strata=strata)
    rest = sorted(range(n), key=lambda row: (difficulty[row], row))[: n - min(round(prune * n), n - count)]
    low, high = difficulty[rest[0]], difficulty[rest[-1]]
    edges = np.linspace(low, high, strata + 1)
    of = {row: max([s for s in range(strata) if edges[s] <= difficulty[row]], default=0) for row in rest}
    if low == high:
        of = dict.fromkeys(rest, strata - 1)
    sizes = np.bincount(list(of.values()), minlength=strata)
    assert set(selection.indices.tolist()) <= set(rest)
    assert (
        np.bincount([of[row] for row in selection.indices], minlength=strata).tolist()
        == water_fill(sizes, count).tolist()
    )
    assert set(selection.reason) <= {"kept", "pruned, hardest", "not drawn in its stratum"}


def test_hardest_keeps_the_hardest_in_order():
    difficulty = np.array([1.0, 3.0, 2.0, 3.0])
    assert hardest(np.ones((4, 2)), 3, difficulty=difficulty).indices.tolist() == [1, 3, 2]


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("density", {"bandwidth": 0}, "positive cosine distance"),
        ("ccs", {"prune": 1.0}, r"share in \[0, 1\)"),
        ("ccs", {"strata": 0}, "at least 1"),
        ("ccs", {"strata": 2.5}, "whole number"),
    ],
)
def test_parameters_out_of_range_are_refused(method, params, says):
    with pytest.raises(RecipeError, match=says):
        select(np.ones((30, 2)), method, 0.2, difficulty=np.ones(30), **params)
