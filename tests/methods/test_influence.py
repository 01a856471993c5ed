"""Influences against gradients that are written out, and against the loss after a step."""

import numpy as np
import pytest

from optidel.errors import InputError
from optidel.methods import select
from optidel.methods.influence import ghost_influence, influence_scores


def test_scores_are_sums_of_inner_products():
    rng = np.random.default_rng(0)
    rows, held_out, rates = rng.normal(size=(3, 7, 5)), rng.normal(size=(3, 5)), np.array([0.1, 0.5, 0.2])
    expected = [
        sum(rates[c] * sum(rows[c, n, p] * held_out[c, p] for p in range(5)) for c in range(3))
        for n in range(7)
    ]
    np.testing.assert_allclose(influence_scores(rows, held_out, rates), expected)


def test_a_score_is_what_a_small_step_on_the_row_takes_off_the_held_out_loss():
    rng = np.random.default_rng(1)
    weights, inputs, targets = rng.normal(size=4), rng.normal(size=(9, 4)), rng.normal(size=9)
    held_inputs, held_targets = rng.normal(size=(20, 4)), rng.normal(size=20)

    def loss(w):
        return ((held_inputs @ w - held_targets) ** 2).mean()

    rows = 2 * (inputs @ weights - targets)[:, None] * inputs
    held_out = 2 * ((held_inputs @ weights - held_targets)[:, None] * held_inputs).mean(axis=0)
    rate = 1e-5
    fallen = [loss(weights) - loss(weights - rate * row) for row in rows]
    scores = influence_scores(rows[None], held_out[None], np.array([rate]))
    np.testing.assert_allclose(scores, fallen, rtol=1e-2)


def test_the_ghost_product_is_that_of_whole_gradients():
    rng = np.random.default_rng(2)
    inputs, outputs = rng.normal(size=(6, 5, 4)), rng.normal(size=(6, 5, 3))
    held_out = rng.normal(size=(3, 4))
    whole = np.einsum("nlo,nli->noi", outputs, inputs).reshape(6, -1)
    expected = influence_scores(whole[None], held_out.reshape(1, -1), np.ones(1))
    np.testing.assert_allclose(ghost_influence(inputs, outputs, held_out), expected)


def test_copies_of_a_useful_row_do_not_fill_the_budget():
    rng = np.random.default_rng(3)
    vectors = np.concatenate([np.tile(rng.normal(size=8), (20, 1)), rng.normal(size=(40, 8))])
    scores = np.concatenate([np.linspace(2, 3, 20), np.linspace(-1, 1, 40)])
    selection = select(vectors, "influence", 10, influences=scores)
    assert (selection.indices < 20).sum() == 1
    assert selection.gains[0] == 3
    assert "less influence" in selection.reason
    assert "less hard" not in selection.reason


def test_gradients_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"need held-out gradients of shape \(2, 4\) and 2 rates"):
        influence_scores(np.ones((2, 3, 4)), np.ones((2, 5)), np.ones(2))


def test_an_influence_is_asked_for():
    with pytest.raises(InputError, match="method 'influence' needs an influence per row; pass influences="):
        select(np.eye(4), "influence", 2, difficulty=np.ones(4))
