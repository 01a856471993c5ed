"""Difficulty without contrast and noise: against loops, and on images where the answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import InputError
from optidel.vinformation import learnability, scale_free
from optidel.vinformation.hardness import QUANTISATION


@settings(max_examples=50, deadline=None)
@given(
    early=st.lists(st.floats(1e-6, 10), min_size=1, max_size=8),
    ratio=st.floats(0, 3),
    scale=st.floats(0.01, 100),
)
def test_learnability_is_the_share_of_the_error_taken_off(early, ratio, scale):
    errors = np.array(early)
    value = learnability(errors, errors * ratio)
    np.testing.assert_allclose(value, [(e - e * ratio) / e for e in early], atol=1e-9)
    np.testing.assert_allclose(learnability(errors * scale, errors * ratio * scale), value, atol=1e-9)


def test_noise_and_what_was_known_are_below_what_is_being_learnt():
    early, late = np.array([0.30, 0.02, 0.30]), np.array([0.29, 0.019, 0.05])
    value = learnability(early, late)
    assert value.argmax() == 2
    assert learnability(np.zeros(2), np.array([0.0, 0.1])).tolist()[0] == 0
    assert learnability(np.zeros(2), np.array([0.0, 0.1]))[1] < 0


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 5), p=st.integers(1, 6), seed=st.integers(0, 999), scale=st.floats(1, 50))
def test_scale_free_is_the_mean_over_structured_patches(n, p, seed, scale):
    rng = np.random.default_rng(seed)
    error, variance = rng.uniform(1e-3, 1, (n, p)), rng.uniform(1e-3, 1, (n, p))
    variance[rng.random((n, p)) < 0.3] = 0
    expected = []
    for row in range(n):
        logs = [
            math.log(error[row, j] / variance[row, j]) / 2
            for j in range(p)
            if variance[row, j] > QUANTISATION
        ]
        expected.append(sum(logs) / len(logs) if logs else None)
    least = min((value for value in expected if value is not None), default=0.0)
    expected = [least if value is None else value for value in expected]
    np.testing.assert_allclose(scale_free(error, variance), expected, atol=1e-9)
    np.testing.assert_allclose(scale_free(error * scale, variance * scale), expected, atol=1e-9)


def test_contrast_makes_an_image_harder_by_error_and_not_by_this():
    rng = np.random.default_rng(0)
    patch = rng.normal(size=(16, 64))
    prediction = patch + 0.5 * rng.normal(size=(16, 64))
    images = [(0.05 * patch, 0.05 * prediction), (0.2 * patch, 0.2 * prediction)]
    error = np.array([((truth - guess) ** 2).mean(axis=1) for truth, guess in images])
    variance = np.array([truth.var(axis=1) for truth, _ in images])
    assert error.mean(axis=1)[1] == pytest.approx(16 * error.mean(axis=1)[0])
    low, high = scale_free(error, variance)
    assert low == pytest.approx(high)
    # Minus the value is the information: half the logarithm of the ratio of variances.
    assert low == pytest.approx(math.log(0.5), abs=0.1)


def test_a_patch_predicted_by_its_mean_is_0_and_a_perfect_one_is_finite():
    variance = np.full((2, 3), 0.04)
    value = scale_free(np.stack([variance[0], np.zeros(3)]), variance)
    assert value[0] == 0
    assert np.isfinite(value).all()
    assert value[1] < -4


@pytest.mark.parametrize("function", [learnability, scale_free])
def test_errors_that_cannot_be_are_refused(function):
    with pytest.raises(InputError, match="of row 1 must be finite and at least 0"):
        function(np.array([1.0, -1.0]), np.ones(2))
    with pytest.raises(InputError, match="of row 0 must be finite and at least 0"):
        function(np.ones(2), np.array([np.nan, 1.0]))
    with pytest.raises(InputError, match=r"\(2,\) and \(3,\)"):
        function(np.ones(2), np.ones(3))
