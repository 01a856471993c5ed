import numpy as np
import pytest
from scipy import stats

from optidel.errors import InputError
from optidel.evaluation import intervals
from optidel.evaluation.intervals import difference_interval, estimate, mean_interval, resampled_means


def generator(seed=0):
    return np.random.default_rng(seed)


def test_interval_of_a_mean_agrees_with_scipy():
    values = generator().beta(2, 3, size=120)
    ours = mean_interval(values, generator(1), resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=generator(2)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-3)


def slow(values, rng, resamples, level):
    """The documented draws, one resample at a time."""
    seeds, images = values.shape
    chosen_seeds = rng.integers(seeds, size=(resamples, seeds))
    chosen_images = rng.integers(images, size=(resamples, images))
    means = [
        np.mean([[values[s, i] for i in row] for s in rows])
        for rows, row in zip(chosen_seeds, chosen_images, strict=True)
    ]
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2])


def test_resampled_means_equal_a_slow_loop():
    values = generator(3).normal(size=(3, 11))
    rng = generator(4)
    chosen_seeds = rng.integers(3, size=(200, 3))
    chosen_images = rng.integers(11, size=(200, 11))
    means = [
        np.mean([[values[s, i] for i in row] for s in rows])
        for rows, row in zip(chosen_seeds, chosen_images, strict=True)
    ]
    np.testing.assert_allclose(resampled_means(values, generator(4), 200), means, rtol=1e-12)


def test_one_seed_or_one_image_is_the_t_interval_of_scipy():
    """The width is that of t; only its two sides may differ a little, as the bootstrap's do."""
    values = generator(30).normal(0.4, 1, size=25)
    theirs = stats.ttest_1samp(values, 0)
    for matrix in (values, values[:, None]):
        ours = estimate(matrix, generator(31))
        interval = ours.interval(0.95)
        expected = theirs.confidence_interval(0.95)
        assert interval.high - interval.low == pytest.approx(expected.high - expected.low)
        assert ours.df == 24
        assert ours.p == pytest.approx(theirs.pvalue, rel=0.35)


def test_p_is_below_the_level_just_where_the_interval_excludes_zero():
    found = [estimate(generator(seed).normal(0.15, 1, size=(3, 40)), generator(seed)) for seed in range(60)]
    decisions = [(one.p < 0.05, not one.interval(0.95).low <= 0 <= one.interval(0.95).high) for one in found]
    assert all(by_p == by_interval for by_p, by_interval in decisions)
    assert len(set(decisions)) == 2


@pytest.mark.parametrize(
    ("seeds", "spread"),
    [
        (3, (0.03, 0.2, 0.1)),
        (3, (0.03, 0.02, 0.1)),
        (3, (0.003, 0.02, 0.2)),
        (5, (0.01, 0.05, 0.2)),
        (5, (0.03, 0.02, 0.1)),
    ],
)
def test_interval_of_few_seeds_holds_the_truth_as_often_as_it_says(seeds, spread):
    """Deviations of seeds, images and the rest; the percentile bootstrap holds it 85 % of the time in the
    second case.
    """
    held, rng = 0, generator(seeds)
    for _ in range(400):
        of_seed, of_image, rest = spread
        values = (
            of_seed * rng.normal(size=(seeds, 1))
            + of_image * rng.gamma(1, size=(1, 60))
            + rest * rng.normal(size=(seeds, 60))
        )
        interval = mean_interval(values, rng, resamples=200)
        held += interval.low <= of_image <= interval.high
    assert 0.915 <= held / 400 <= 0.99


def test_blocks_bound_the_memory_and_leave_the_interval_alone(monkeypatch):
    values = generator(5).normal(size=40)
    whole = mean_interval(values, generator(6), resamples=300)
    monkeypatch.setattr(intervals, "BLOCK", 400)
    assert mean_interval(values, generator(6), resamples=300) == whole


def test_images_that_all_seeds_share_are_not_counted_as_new_evidence():
    hardness = generator(7).normal(size=50)
    one = mean_interval(hardness, generator(8))
    five = mean_interval(np.tile(hardness, (5, 1)), generator(9))
    assert five.high - five.low == pytest.approx(one.high - one.low, rel=0.1)


def test_spread_between_seeds_widens_the_interval():
    images = generator(10).normal(size=(4, 200)) * 0.1
    seeds = np.array([-1.0, 0.0, 0.5, 1.0])[:, None]
    assert mean_interval(images + seeds, generator(11)).low < -0.4 < mean_interval(images, generator(11)).low


def test_interval_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(200):
        interval = mean_interval(generator(seed).normal(size=60), generator(seed + 1000), resamples=400)
        held += interval.low <= 0 <= interval.high
    assert 0.89 <= held / 200 <= 0.99


def test_paired_difference_sees_what_the_spread_of_images_hides():
    hardness = generator(12).normal(size=(2, 100))
    better = hardness + 0.05 + generator(13).normal(size=(2, 100)) * 0.01
    paired = difference_interval(better, hardness, generator(14))
    assert 0.04 < paired.low < paired.mean < paired.high < 0.06
    assert mean_interval(better, generator(14)).low < mean_interval(hardness, generator(14)).high
    assert difference_interval(better[0], hardness[0], generator(15)).low > 0


def test_same_generator_same_interval():
    values = generator(16).normal(size=(3, 30))
    assert mean_interval(values, generator(17)) == mean_interval(values, generator(17))
    assert mean_interval(values, generator(17)) != mean_interval(values, generator(18))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.array([]), {}, "not empty"),
        (np.zeros((2, 2, 2)), {}, "shape"),
        (np.array([0.1, np.nan]), {}, "finite"),
        (np.ones(3), {"level": 95}, "0.95 for a 95 %"),
        (np.ones(3), {"resamples": 0}, "at least 1"),
    ],
)
def test_bad_scores_are_named(values, options, message):
    with pytest.raises(InputError, match=message):
        mean_interval(values, generator(), **options)


def test_a_pair_of_unequal_length_is_refused():
    with pytest.raises(InputError, match="same images and seeds"):
        difference_interval(np.ones(3), np.ones(4), generator())
