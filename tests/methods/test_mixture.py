"""Mixtures of concepts: what is proposed, what is drawn, and that a planted optimum is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import BudgetError, InputError, RecipeError
from optidel.methods.mixture import _ridge, draw_mixture, fit_mixture, propose_mixtures

LABELS = np.repeat([0, 1, 2, 3], [500, 300, 150, 50])
NATURAL = np.array([0.5, 0.3, 0.15, 0.05])


def test_proposals_scatter_around_the_corpus_and_begin_with_it():
    mixtures = propose_mixtures(LABELS, 2000, np.random.default_rng(0))
    np.testing.assert_allclose(mixtures[0], NATURAL)
    np.testing.assert_allclose(mixtures.sum(axis=1), 1)
    np.testing.assert_allclose(mixtures.mean(axis=0), NATURAL, atol=0.01)
    # The variance of a Dirichlet share is p(1 − p)/(concentration + 1).
    np.testing.assert_allclose(mixtures.std(axis=0), np.sqrt(NATURAL * (1 - NATURAL) / 11), atol=0.01)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), share=st.floats(0.01, 1))
def test_a_mixture_is_drawn_as_far_as_the_concepts_last(seed, share):
    rng = np.random.default_rng(seed)
    vectors, shares = rng.normal(size=(1000, 3)).astype(np.float32), rng.dirichlet(np.ones(4))
    count = max(1, round(share * 1000))
    selection = draw_mixture(vectors, LABELS, shares, count, rng=rng)
    drawn = np.bincount(LABELS[selection.indices], minlength=4)
    assert drawn.sum() == count
    level = max(drawn / shares)
    full = drawn == np.array([500, 300, 150, 50])
    # Every concept that is not exhausted has its share of the same level, but for the rounding.
    level = (count - drawn[full].sum()) / max(shares[~full].sum(), 1e-12)
    assert (np.abs(drawn - level * shares)[~full] <= 1 + 1e-6).all() or full.all()


def test_a_mixture_does_not_depend_on_the_order_of_the_rows():
    vectors = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    order = np.random.default_rng(1).permutation(1000)
    first = draw_mixture(vectors, LABELS, NATURAL, 50, rng=np.random.default_rng(2))
    second = draw_mixture(vectors[order], LABELS[order], NATURAL, 50, rng=np.random.default_rng(2))
    assert set(first.indices) == set(order[second.indices])


def test_the_leave_one_out_error_is_that_of_fits_without_the_point():
    rng = np.random.default_rng(3)
    features, values = rng.normal(size=(12, 5)), rng.normal(size=12)
    fit = _ridge(features, values)
    scale = (np.linalg.svd(features - features.mean(axis=0))[1] ** 2).mean()
    errors = []
    for strength in np.geomspace(1e-2, 1e3, 26) * scale:
        residuals = []
        for row in range(12):
            rest = np.arange(12) != row
            x, y = features[rest], values[rest]
            # The mean of all is the one that the closed form centres by; the offset is fitted.
            design = np.column_stack([np.ones(11), x - features.mean(axis=0)])
            penalty = strength * np.diag([0.0] + [1.0] * 5)
            coefficients = np.linalg.solve(design.T @ design + penalty, design.T @ y)
            residuals.append(values[row] - coefficients @ [1, *(features[row] - features.mean(axis=0))])
        errors.append(np.sqrt(np.mean(np.square(residuals))))
    assert fit.error == pytest.approx(min(errors))


def planted_loss(mixtures, rng, noise):
    """Falls with the root of the third concept's share and rises with the first's."""
    return 0.3 + 0.1 * mixtures[:, 0] - 0.1 * np.sqrt(mixtures[:, 2]) + noise * rng.normal(size=len(mixtures))


@pytest.mark.parametrize("seed", range(4))
def test_thirty_proxies_find_the_planted_direction(seed):
    rng = np.random.default_rng(seed)
    mixtures = propose_mixtures(LABELS, 30, rng)
    mixture = fit_mixture(mixtures, planted_loss(mixtures, rng, 0.002), rng)
    assert mixture.shares.sum() == pytest.approx(1)
    assert mixture.error < 0.5 * mixture.spread
    assert mixture.shares[2] > NATURAL[2] + 0.1
    assert mixture.shares[0] < NATURAL[0] - 0.1
    truth = planted_loss(np.stack([mixture.shares, NATURAL]), rng, 0.0)
    assert truth[0] < truth[1] - 0.02
    assert mixture.predicted == pytest.approx(truth[0], abs=0.01)
    assert mixture.predicted_natural == pytest.approx(truth[1], abs=0.01)


def test_a_loss_that_no_share_explains_says_so_by_its_error():
    rng = np.random.default_rng(5)
    mixtures = propose_mixtures(LABELS, 30, rng)
    mixture = fit_mixture(mixtures, rng.normal(size=30), rng)
    assert mixture.error > 0.9 * mixture.spread


def test_what_cannot_be_used_is_refused():
    rng = np.random.default_rng(0)
    vectors = np.ones((1000, 2), dtype=np.float32)
    with pytest.raises(RecipeError, match="proxies must be at least 4, got 2"):
        propose_mixtures(LABELS, 2, rng)
    with pytest.raises(RecipeError, match="concentration must be positive"):
        propose_mixtures(LABELS, 20, rng, concentration=0)
    with pytest.raises(InputError, match="concept 1 has no row"):
        propose_mixtures(np.array([0, 2, 2]), 20, rng)
    with pytest.raises(BudgetError, match="asks for 60 rows of concepts that hold 50"):
        draw_mixture(vectors, LABELS, np.array([0, 0, 0, 1.0]), 60, rng=rng)
    with pytest.raises(InputError, match="must be at least 0 and not all 0"):
        draw_mixture(vectors, LABELS, np.array([0, 0, 0, -1.0]), 6, rng=rng)
    with pytest.raises(InputError, match=r"at least 4 mixtures, got \(3,\) for 5"):
        fit_mixture(np.full((5, 4), 0.25), np.ones(3), rng)
    with pytest.raises(InputError, match="the loss of proxy 2 is not finite"):
        fit_mixture(np.full((5, 4), 0.25), np.array([1, 1, np.nan, 1, 1]), rng)
