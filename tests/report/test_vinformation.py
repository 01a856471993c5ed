"""Rank correlations against SciPy and by counting."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from optidel.report.vinformation import correlate


@pytest.mark.parametrize("n", [3, 5, 6, 12])
def test_rho_is_scipys_and_p_counts_permutations(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.integers(0, 6, n).astype(float)
    y = x + rng.normal(size=n)
    found = correlate("information", "all sets", x.tolist(), y.tolist())
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    if n <= 6:
        drawn = [abs(spearmanr(x, order).statistic) for order in itertools.permutations(y)]
        assert found.p == pytest.approx(np.mean(np.array(drawn) >= abs(found.rho) - 1e-9))
    else:
        assert found.p == pytest.approx(spearmanr(x, y).pvalue, abs=0.02)


def test_the_interval_needs_five_sets_and_some_disorder() -> None:
    few = correlate("vendi", "all sets", [1, 2, 3, 4], [1, 3, 2, 4])
    assert (few.low, few.high) == (None, None)
    assert few.p == pytest.approx(8 / 24)
    perfect = correlate("vendi", "all sets", list(range(8)), list(range(8)))
    assert (perfect.rho, perfect.low) == (pytest.approx(1), None)
    found = correlate("vendi", "all sets", [1, 2, 3, 4, 5, 6], [2, 1, 3, 5, 4, 6])
    half = 1.959964 * math.sqrt((1 + found.rho**2 / 2) / 3)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.rho) - half), rel=1e-5)
    assert found.low < found.rho < found.high


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = 6 / math.pi * math.asin(0.6 / 2)  # Spearman's of a normal pair with correlation 0.6
    held = []
    for _ in range(150):
        x = rng.normal(size=15)
        found = correlate(
            "vendi", "all sets", x.tolist(), (0.6 * x + 0.8 * rng.normal(size=15)).tolist(), draws=10
        )
        held.append(found.low is not None and found.high is not None and found.low <= truth <= found.high)
    assert np.mean(held) >= 0.9


def test_equal_values_have_no_order() -> None:
    found = correlate("vendi", "all sets", [1, 1, 1], [1, 2, 3])
    assert (found.rho, found.p) == (0, 1)
