"""The interval of a ratio against the test that it inverts."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from optidel.errors import InputError
from optidel.evaluation.ratios import ratio_interval


@pytest.mark.parametrize("seed", range(8))
def test_the_ends_are_where_a_paired_t_test_begins_to_reject(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 9))
    denominator = rng.normal(1.0, 0.1, count)
    numerator = rng.uniform(-1, 2) * denominator + rng.normal(0, 0.2, count)
    interval = ratio_interval(numerator, denominator)
    assert interval is not None
    assert interval.mean == pytest.approx(numerator.mean() / denominator.mean())
    for end in (interval.low, interval.high):
        assert ttest_1samp(numerator - end * denominator, 0).pvalue == pytest.approx(0.05, abs=1e-6)
    inside, outside = (interval.low + interval.high) / 2, interval.high + 0.1
    assert ttest_1samp(numerator - inside * denominator, 0).pvalue > 0.05
    assert ttest_1samp(numerator - outside * denominator, 0).pvalue < 0.05


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        denominator = rng.normal(1.0, 0.1, 5)
        numerator = 0.6 * denominator + rng.normal(0, 0.2, 5)
        interval = ratio_interval(numerator, denominator)
        assert interval is not None
        held += interval.low <= 0.6 <= interval.high
    assert 0.935 < held / 2000 < 0.965


def test_where_the_denominator_may_be_nothing_there_is_no_interval() -> None:
    assert ratio_interval(np.array([1.0, 1.0, 1.0]), np.array([1.0, -1.0, 0.5])) is None
    assert ratio_interval(np.array([1.0]), np.array([2.0])) is None
    exact = ratio_interval(np.array([0.5, 0.5]), np.array([1.0, 1.0]))
    assert exact is not None
    assert (exact.low, exact.high) == (0.5, 0.5)


def test_unequal_seeds_and_levels_are_refused() -> None:
    with pytest.raises(InputError, match="got 2 and 3"):
        ratio_interval(np.ones(2), np.ones(3))
    with pytest.raises(InputError, match="level"):
        ratio_interval(np.ones(2), np.ones(2), level=1.0)
