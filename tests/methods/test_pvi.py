"""pvi: a ranking by how little the model adds to knowing nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from optidel.errors import RecipeError
from optidel.methods import METHODS, select
from optidel.methods.pvi import pvi
from optidel.vinformation import difficulty


def slow_pvi(residual: np.ndarray, null_residual: np.ndarray) -> list[float]:
    """−log f_∅(y) + log f[x](y) by SciPy's normal density, both variances from the other rows."""
    found = []
    for row in range(len(residual)):
        scale, null_scale = (
            np.sqrt(np.mean(np.delete(r, row, axis=0) ** 2)) for r in (residual, null_residual)
        )
        found.append(
            float(
                norm.logpdf(residual[row], 0, scale).sum()
                - norm.logpdf(null_residual[row], 0, null_scale).sum()
            )
        )
    return found


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 30), values=st.integers(1, 5), share=st.floats(0.05, 1), seed=st.integers(0, 99))
def test_it_ranks_by_pointwise_v_information_lowest_first(
    n: int, values: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    null_residual, count = rng.normal(size=(n, values)), max(1, round(share * n))
    residual = null_residual * rng.uniform(0.1, 1.2, (n, 1))
    hard = difficulty((residual**2).mean(axis=1), (null_residual**2).mean(axis=1), "pvi")
    expected = slow_pvi(residual, null_residual)
    np.testing.assert_allclose(-hard * values, expected)
    selection = pvi(np.ones((n, 2)), count, difficulty=hard)
    assert selection.indices.tolist() == sorted(range(n), key=lambda row: expected[row])[:count]
    np.testing.assert_array_equal(selection.gains, hard[selection.indices])
    easy = pvi(np.ones((n, 2)), count, difficulty=hard, end="easy")
    assert easy.indices.tolist() == sorted(range(n), key=lambda row: -expected[row])[:count]


def test_contrast_alone_is_not_hard() -> None:
    null = np.array([1.0, 1.0, 8.0, 8.0])
    error = np.array([0.2, 0.9, 1.2, 1.6])  # the last two are richer and better predicted for what they are
    first = select(np.ones((4, 2)), "pvi", 1, difficulty=difficulty(error, null, "pvi")).indices[0]
    assert first == 1
    assert select(np.ones((4, 2)), "hardest", 1, difficulty=error).indices[0] == 3


def test_ties_go_to_the_lower_row_and_a_smaller_budget_is_a_prefix() -> None:
    hard = np.array([1.0, 3.0, 2.0, 3.0])
    assert pvi(np.ones((4, 2)), 4, difficulty=hard).indices.tolist() == [1, 3, 2, 0]
    assert pvi(np.ones((4, 2)), 2, difficulty=hard).indices.tolist() == [1, 3]
    assert METHODS["pvi"].scorer == "pvi"


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(RecipeError, match="end must be 'hard' or 'easy', got 'hrd'; did you mean 'hard'"):
        select(np.ones((4, 2)), "pvi", 2, difficulty=np.ones(4), end="hrd")
