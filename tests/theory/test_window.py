"""The window of difficulty: against the published measurements, against simulated students, and its
limits.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optidel.errors import InputError, RecipeError
from optidel.theory import best_window, max_margin, perceptron_error, probe_angle


@pytest.mark.parametrize(
    ("angle", "alpha", "skip", "error"),
    [
        (10, 100, 0.10, 0.028),
        (10, 200, 0.05, 0.011),
        (10, 500, 0.02, 0.004),
        (20, 100, 0.20, 0.050),
        (20, 500, 0.10, 0.008),
        (30, 50, 0.40, 0.140),
        (30, 200, 0.20, 0.030),
    ],
)
def test_the_best_window_of_a_twentieth_is_where_a_coarse_search_of_skips_put_it(angle, alpha, skip, error):
    at_skip = perceptron_error(alpha, 0.05, angle, skip=skip)
    assert at_skip == pytest.approx(error, abs=6e-4)
    window = best_window(alpha, angle, 0.05)
    assert window.error <= at_skip
    assert window.error == pytest.approx(error, abs=2e-3)
    assert 1 - window.high == pytest.approx(skip, abs=0.1)
    assert window.high - window.low == pytest.approx(0.05)


@pytest.mark.parametrize(("angle", "skip"), [(0, 0.0), (0, 0.1), (10, 0.1), (20, 0.5)])
def test_simulated_students_reach_the_error_of_theory_after_a_skip(angle, skip):
    alpha, keep, size = 20, 0.1, 100
    errors = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(alpha * size, size))
        radians = np.radians(angle)
        margin = np.abs(inputs[:, 0] * np.cos(radians) + inputs[:, 1] * np.sin(radians))
        order = np.argsort(margin)
        start = round(skip * len(inputs))
        kept = inputs[order[start : start + round(keep * len(inputs))]]
        student = max_margin(kept * np.where(kept[:, :1] < 0, -1.0, 1.0))
        errors.append(np.arccos(student[0] / np.linalg.norm(student)) / np.pi)
    spread = np.std(errors, ddof=1) / np.sqrt(len(errors))
    # 3 standard errors, and what 100 instead of infinitely many dimensions may shift.
    assert np.mean(errors) == pytest.approx(
        perceptron_error(alpha, keep, angle, skip=skip), abs=3 * spread + 0.004
    )


def test_skipping_all_that_is_harder_is_keeping_the_easiest():
    for angle in (0, 15):
        easiest = perceptron_error(10, 0.2, angle, rule="easiest")
        assert perceptron_error(10, 0.2, angle, skip=0.8) == pytest.approx(easiest, abs=1e-6)
        hardest = perceptron_error(10, 0.2, angle)
        assert perceptron_error(10, 0.2, angle, rule="easiest", skip=0.8) == pytest.approx(hardest, abs=1e-6)


@settings(max_examples=6, deadline=None)
@given(alpha=st.floats(1, 300), angle=st.floats(0, 40), keep=st.floats(0.02, 1))
def test_a_window_is_never_worse_than_the_hardest(alpha, angle, keep):
    window = best_window(alpha, angle, keep)
    assert window.error <= window.hardest_error
    assert 0 <= window.low <= window.high <= 1
    assert window.high - window.low == pytest.approx(keep)


def test_a_wide_window_costs_an_imprecise_scorer_little():
    narrow, wide = best_window(285, 20, 0.05), best_window(285, 20, 0.05, 0.3)
    assert wide.high - wide.low == pytest.approx(0.3)
    assert narrow.error <= wide.error <= 1.1 * narrow.error
    assert (wide.low, wide.high) == pytest.approx((0.7, 1.0), abs=0.03)
    assert best_window(285, 20, 0.05, 1.0).error == pytest.approx(wide.random_error)


def test_a_wide_window_is_random_inside_it():
    alpha, keep, width, skip, size = 20, 0.1, 0.4, 0.1, 100
    errors = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(alpha * size, size))
        order = np.argsort(np.abs(inputs[:, 0]))
        start, stop = round(skip * len(inputs)), round((skip + width) * len(inputs))
        kept = inputs[rng.choice(order[start:stop], round(keep * len(inputs)), replace=False)]
        student = max_margin(kept * np.where(kept[:, :1] < 0, -1.0, 1.0))
        errors.append(np.arccos(student[0] / np.linalg.norm(student)) / np.pi)
    spread = np.std(errors, ddof=1) / np.sqrt(len(errors))
    expected = perceptron_error(alpha, keep, skip=skip, width=width)
    assert np.mean(errors) == pytest.approx(expected, abs=3 * spread + 0.004)


def test_everything_has_one_window():
    window = best_window(5, 10, 1.0)
    assert (window.low, window.high) == (0, 1)
    assert window.error == pytest.approx(window.random_error)


def test_a_skip_out_of_range_is_refused():
    with pytest.raises(
        RecipeError, match=r"skip must be a fraction in \[0, 1 − width\], at most 0\.9, got 0\.95"
    ):
        perceptron_error(10, 0.1, skip=0.95)


@pytest.mark.parametrize("angle", [0.0, 10.0, 25.0, 45.0])
def test_the_agreement_of_two_scorers_gives_back_their_angle(angle):
    rng = np.random.default_rng(1)
    teacher, left, right = rng.normal(size=(3, 20_000))
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    first, second = (-np.abs(cos * teacher + sin * side) for side in (left, right))
    assert probe_angle(first, second) == pytest.approx(angle, abs=1)
    # Any increasing scale serves.
    assert probe_angle(np.exp(first), second) == pytest.approx(probe_angle(first, second))


def test_scorers_without_agreement_are_at_a_right_angle():
    rng = np.random.default_rng(2)
    first = rng.normal(size=500)
    assert probe_angle(first, -first) == 90
    assert probe_angle(first, rng.normal(size=500)) > 60


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [(np.ones(4), np.arange(4.0), "same difficulty"), (np.arange(3.0), np.arange(4.0), r"\(3,\) and \(4,\)")],
)
def test_scorers_that_cannot_be_compared_are_refused(first, second, says):
    with pytest.raises(InputError, match=says):
        probe_angle(first, second)
