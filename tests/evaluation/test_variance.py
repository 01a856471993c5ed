import numpy as np
import pytest

from optidel.errors import InputError
from optidel.evaluation.intervals import estimate
from optidel.evaluation.variance import Spread, detectable, mean_squares, spread_of


def simulated(rng, seeds, images, spread, mean=0.0):
    of_seed, of_image, rest = spread
    return (
        mean
        + of_seed * rng.normal(size=(seeds, 1))
        + of_image * rng.normal(size=(1, images))
        + rest * rng.normal(size=(seeds, images))
    )


def test_mean_squares_equal_slow_sums():
    values = np.random.default_rng(0).normal(size=(3, 7))
    mean, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    seeds = sum((rows[s] - mean) ** 2 for s in range(3) for _ in range(7)) / 2
    images = sum((columns[i] - mean) ** 2 for _ in range(3) for i in range(7)) / 6
    rest = sum((values[s, i] - rows[s] - columns[i] + mean) ** 2 for s in range(3) for i in range(7)) / 12
    found = mean_squares(values)
    assert (found.of_seeds, found.of_images, found.rest) == pytest.approx((seeds, images, rest))


def test_error_is_the_standard_deviation_of_means_of_many_repetitions():
    rng = np.random.default_rng(1)
    spread = (0.05, 0.3, 0.2)
    means = [simulated(rng, 4, 40, spread).mean() for _ in range(4000)]
    errors = [mean_squares(simulated(rng, 4, 40, spread)).error for _ in range(1000)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(means), rel=0.06)


def test_degrees_of_freedom_go_from_seeds_to_images():
    rng = np.random.default_rng(2)
    assert mean_squares(simulated(rng, 3, 100, (1, 0.01, 0.01))).df == pytest.approx(2, abs=0.1)
    assert mean_squares(simulated(rng, 3, 100, (0, 1, 0.01))).df > 90
    assert mean_squares(np.ones((3, 5))).error == 0


def test_spread_finds_the_components():
    rng = np.random.default_rng(3)
    found = spread_of([simulated(rng, 5, 60, (0.1, 0.2, 0.3)) for _ in range(200)])
    assert (found.seed, found.image, found.rest) == pytest.approx((0.01, 0.04, 0.09), rel=0.15)


def test_pilot_of_one_seed_says_nothing():
    with pytest.raises(InputError, match="two seeds"):
        spread_of([np.ones((1, 30))])


@pytest.mark.parametrize(
    ("seeds", "spread", "comparisons"),
    [(5, (0.01, 0.03, 0.1), 1), (3, (0.0, 0.1, 0.05), 4), (8, (0.03, 0.01, 0.05), 2)],
)
def test_the_detectable_difference_is_detected_as_often_as_asked(seeds, spread, comparisons):
    """The truth is known, so the plan's own components are the true ones."""
    rng = np.random.default_rng(4)
    of_seed, of_image, rest = (value**2 for value in spread)
    shift = detectable(
        Spread(seed=of_seed, image=of_image, rest=rest), seeds, 50, comparisons=comparisons, power=0.8
    )
    found = [
        estimate(simulated(rng, seeds, 50, spread, shift), rng, resamples=100).p < 0.05 / comparisons
        for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)


def test_more_seeds_and_images_detect_less_and_more_comparisons_need_more():
    spread = Spread(seed=1e-4, image=1e-3, rest=1e-2)
    assert detectable(spread, 10, 300) < detectable(spread, 5, 300) < detectable(spread, 5, 100)
    assert detectable(spread, 5, 300, comparisons=10) > detectable(spread, 5, 300)
    assert detectable(Spread(seed=0, image=0, rest=0), 5, 300) == 0
    with pytest.raises(InputError, match="at least 2"):
        detectable(spread, 1, 300)
