"""OptiDEL's own window, and that each of its parts can be taken out."""

import numpy as np
import pytest

from optidel.errors import RecipeError
from optidel.methods import select
from optidel.methods.optidel import theory_window
from optidel.theory import perceptron_error


def corpus(n=600, d=8, seed=0):
    """Rows around twelve centres of unequal weight, and a difficulty."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 13)
    labels = rng.choice(12, n, p=weights / weights.sum())
    vectors = 3 * rng.normal(size=(12, d))[labels] + rng.normal(size=(n, d))
    return vectors.astype(np.float32), rng.normal(size=n)


def test_the_window_is_no_worse_than_its_neighbours_in_theory():
    low, high = theory_window(36_000, 128, 360)
    assert high - low == pytest.approx(0.3, abs=1e-3)
    alpha, keep = 36_000 / 128, 0.01
    at_window = perceptron_error(alpha, keep, 20, skip=1 - high, width=0.3)
    for skip in (0.0, 0.3, 0.6):
        assert at_window <= perceptron_error(alpha, keep, 20, skip=skip, width=0.3) + 1e-4


def test_a_large_corpus_draws_from_the_hard_end_and_a_small_one_from_the_easy_end():
    assert theory_window(1_000_000, 192, 50_000)[1] > 0.95
    assert theory_window(1_500, 192, 75) == pytest.approx((0.1, 0.4), abs=0.01)
    assert theory_window(10, 5, 10) == (0.0, 1.0)
    assert theory_window(20, 5, 19) == (0.05, 1.0)


def test_it_is_balance_window_and_radius():
    vectors, difficulty = corpus()
    window = theory_window(600, 8, 30, angle=10)
    first = select(vectors, "optidel", 30, difficulty=difficulty, angle=10)
    second = select(vectors, "concepts", 30, difficulty=difficulty, window=window, radius=0.05)
    assert first.indices.tolist() == second.indices.tolist()


def test_without_its_parts_it_is_a_stratified_random_draw():
    vectors, difficulty = corpus()
    bare = {"gamma": 1.0, "window": [0, 1], "radius": 0}
    first = select(vectors, "optidel", 30, difficulty=difficulty, **bare)
    second = select(vectors, "concepts", 30, gamma=1.0)
    assert first.indices.tolist() == second.indices.tolist()


def test_an_angle_out_of_range_is_refused():
    vectors, difficulty = corpus(50)
    with pytest.raises(RecipeError, match="angle must be in degrees, 0 to 90, got 120; 20 is the default"):
        select(vectors, "optidel", 5, difficulty=difficulty, angle=120)
