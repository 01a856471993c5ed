"""The Gaussian family: closed forms, an independent density, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from optidel.errors import InputError
from optidel.vinformation import difficulty, information, null_errors, surprisal


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.9])
def test_a_linear_gaussian_pair_has_shannons_information(rho: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_500_000)
    y = 3 + 2 * (rho * x + np.sqrt(1 - rho**2) * rng.normal(size=len(x)))
    fit, test = slice(0, 500_000), slice(500_000, None)
    slope, offset = np.polyfit(x[fit], y[fit], 1)
    error, null = (y[test] - slope * x[test] - offset) ** 2, (y[test] - y[fit].mean()) ** 2
    expected = -0.5 * np.log(1 - rho**2)
    given_variance = information(
        error, null, 1, variance=float(error.mean()), null_variance=float(null.mean())
    )
    for found in (information(error, null, 1), given_variance):
        assert found.information == pytest.approx(expected, rel=0.02)
        assert found.h_null == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 4), rel=0.01)
        assert found.pvi.mean() == pytest.approx(found.information, abs=1e-9)


@pytest.mark.parametrize("values", [2, 5])
def test_so_has_a_linear_map_between_many_dimensions(values: int) -> None:
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(values, values)))[0]
    x, noise = rng.normal(size=(200_000, values)), 0.5
    y = x @ rotation + noise * rng.normal(size=x.shape)
    fit, test = slice(0, 100_000), slice(100_000, None)
    weights = np.linalg.lstsq(x[fit], y[fit], rcond=None)[0]
    found = information(np.square(y[test] - x[test] @ weights).mean(axis=1), null_errors(y[test]), values)
    covariance = np.cov(y[test].T)
    shannon = 0.5 * (np.linalg.slogdet(covariance)[1] - values * np.log(noise**2))
    assert found.information == pytest.approx(values / 2 * np.log((1 + noise**2) / noise**2), rel=0.02)
    assert found.information == pytest.approx(shannon, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 12), values=st.integers(1, 6), seed=st.integers(0, 99))
def test_surprisal_is_minus_the_log_density_under_the_variance_of_the_others(
    n: int, values: int, seed: int
) -> None:
    residual = np.random.default_rng(seed).normal(size=(n, values))
    found = surprisal(np.square(residual).mean(axis=1), values)
    for row in range(n):
        variance = np.delete(residual, row, axis=0).var(axis=0, mean=0).mean()
        density = multivariate_normal(mean=np.zeros(values), cov=variance * np.eye(values))
        assert found[row] == pytest.approx(-density.logpdf(residual[row]))
    shared = surprisal(np.square(residual).mean(axis=1), values, variance=0.7)
    np.testing.assert_allclose(
        shared, -multivariate_normal(np.zeros(values), 0.7 * np.eye(values)).logpdf(residual)
    )


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 9), seed=st.integers(0, 99))
def test_the_null_model_predicts_the_mean_of_the_others(n: int, seed: int) -> None:
    targets = np.random.default_rng(seed).normal(size=(n, 3, 2))
    slow = [np.square(targets[row] - np.delete(targets, row, axis=0).mean(axis=0)).mean() for row in range(n)]
    np.testing.assert_allclose(null_errors(targets), slow)


def test_a_better_model_lowers_the_conditional_entropy_alone() -> None:
    rng = np.random.default_rng(2)
    null = rng.gamma(4, size=300)
    found = [information(null * share, null, 10) for share in (1.0, 0.5, 0.1, 0.01)]
    assert np.diff([one.h_conditional for one in found]).max() < 0
    assert len({one.h_null for one in found}) == 1
    assert found[0].information == pytest.approx(0)


def test_copies_of_the_set_change_the_entropies_only_by_what_leaving_one_out_does() -> None:
    targets = np.random.default_rng(3).normal(size=(500, 4))
    once, twice = (
        surprisal(null_errors(rows), 4).mean() for rows in (targets, np.concatenate([targets, targets]))
    )
    assert twice <= once
    assert twice == pytest.approx(once, abs=0.02)


def test_scorers_order_by_error_and_by_what_the_error_adds_to_the_null() -> None:
    error, null = np.array([1.0, 2.0, 3.0, 3.0]), np.array([1.2, 9.0, 9.0, 3.5])
    assert difficulty(error, null, "error").tolist() == error.tolist()
    by_pvi = difficulty(error, null, "pvi")
    np.testing.assert_allclose(by_pvi, -information(error, null, 8).pvi / 8)
    assert by_pvi.argmax() == 3  # as wrong as the third, though there was less to know
    assert by_pvi.argmin() == 1


def test_exact_prediction_needs_a_floor() -> None:
    with pytest.raises(InputError, match=r"variance is 0.*pass floor="):
        surprisal(np.zeros(5), 3)
    assert surprisal(np.zeros(5), 3, floor=1e-4) == pytest.approx(np.full(5, 1.5 * np.log(2 * np.pi * 1e-4)))


@pytest.mark.parametrize(
    ("error", "values", "says"),
    [
        (np.array([0.1, np.nan]), 3, "row 1 is nan"),
        (np.array([-0.1, 1.0]), 3, "row 0 is -0.1"),
        (np.ones((2, 2)), 3, r"shape \(n,\).*got \(2, 2\)"),
        (np.empty(0), 3, r"got \(0,\)"),
        (np.ones(2), 0, "at least 1, got 0"),
        (np.ones(1), 3, "variance of one image"),
    ],
)
def test_errors_that_are_none_are_refused(error: np.ndarray, values: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        surprisal(error, values)


def test_pairs_must_fit() -> None:
    with pytest.raises(InputError, match=r"one shape, got \(3,\) and \(2,\)"):
        information(np.ones(3), np.ones(2), 4)
    with pytest.raises(InputError, match="two images or more"):
        null_errors(np.ones((1, 4)))
