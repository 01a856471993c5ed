from pathlib import Path

import numpy as np
import pytest
from fake_bench import EFFECTS, fake_bench
from scipy.optimize import curve_fit

from optidel.benchmark.advise import advise
from optidel.benchmark.coverage import coverage
from optidel.benchmark.curve import fit, left_out_errors
from optidel.errors import InputError

BUDGETS = np.array([0.01, 0.05, 0.1, 0.25, 1.0])


def test_curve_finds_the_truth_and_equals_scipy() -> None:
    truth = 0.7 - 0.05 * BUDGETS**-0.4
    found = fit(BUDGETS, truth)
    np.testing.assert_allclose(found(BUDGETS), truth, atol=1e-4)
    noisy = truth + np.random.default_rng(0).normal(0, 0.003, len(BUDGETS))
    values, _ = curve_fit(
        lambda x, a, b, c: a - b * x**-c,
        BUDGETS,
        noisy,
        p0=(0.7, 0.05, 0.4),
        bounds=([0, 0, 0.05], [2, 1, 3]),
    )
    expected = values[0] - values[1] * BUDGETS ** -values[2]
    np.testing.assert_allclose(fit(BUDGETS, noisy)(BUDGETS), expected, atol=5e-4)


def test_more_data_never_hurts_a_curve() -> None:
    found = fit(BUDGETS, 0.5 + 0.1 * BUDGETS[::-1])
    assert found.drop == 0
    np.testing.assert_allclose(found.loss(BUDGETS), 0)


def test_left_out_budgets_are_predicted() -> None:
    assert np.abs(left_out_errors(BUDGETS, 0.7 - 0.05 * BUDGETS**-0.4)).max() < 1e-3
    assert len(left_out_errors(BUDGETS, np.zeros(5))) == 3
    assert len(left_out_errors(BUDGETS[:3], np.zeros(3))) == 0


def test_coverage_rises_to_one() -> None:
    vectors = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    values = [coverage(vectors, np.arange(count), np.random.default_rng(0)) for count in (1, 6, 30, 60)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert values[1] == pytest.approx((unit @ unit[:6].T).max(axis=1).mean(), abs=1e-5)


def test_advice_names_a_budget_that_loses_little_in_truth(tmp_path: Path) -> None:
    """Truth: random loses 0.02 (x^-0.3 - 1), nothing else, against full."""
    fake_bench(tmp_path / "out", EFFECTS | {"random": 0.0}, noise=0.001, methods=["full", "random", "meddel"])
    found = {item.method: item for item in advise(tmp_path / "out", tolerance=0.02)}
    item = found["random"]
    assert item.budget is not None
    assert item.loss is not None
    assert item.loss.high <= 0.02
    assert item.loss.low <= 0.02 * (item.budget**-0.3 - 1) <= item.loss.high
    assert item.errors["curve"] < 0.005
    assert "take" in item.sentence


def test_advice_is_refused_where_the_data_cannot_say(tmp_path: Path) -> None:
    fake_bench(tmp_path / "few", budgets=[0.05, 0.25])
    assert all(
        item.budget is None and "at least 3 and full" in item.reason for item in advise(tmp_path / "few")
    )
    fake_bench(tmp_path / "gate", EFFECTS | {"scratch": 0.0})
    assert all("nothing to lose" in item.reason for item in advise(tmp_path / "gate"))
    fake_bench(tmp_path / "unknown")
    for path in (tmp_path / "unknown" / "cells").glob("*-scratch-*"):
        path.unlink()
    assert all("not both run" in item.reason for item in advise(tmp_path / "unknown"))
    fake_bench(tmp_path / "noise", EFFECTS | {"scratch": -0.5}, noise=0.05)
    assert any("no budget below full is sure" in item.sentence for item in advise(tmp_path / "noise"))
    with pytest.raises(InputError, match="tolerance"):
        advise(tmp_path / "few", tolerance=5)


def test_held_out_entropy_answers_first(tmp_path: Path) -> None:
    h = {"random": 0.010, "k-center": 0.020, "moderate": 0.005, "meddel": 0.001}
    fake_bench(tmp_path / "out", h=h)
    advice = advise(tmp_path / "out")
    by_method = {item.method: item for item in advice if item.outcome == "H"}
    assert [item.outcome for item in advice[:4]] == ["H"] * 4
    item = by_method["meddel"]
    assert item.budget is not None
    assert item.loss is not None
    # meddel leaves 0.001 · 0.05 / budget of random's 0.010 at 5 %.
    truth = 0.1 * (0.05 / item.budget)
    assert item.loss.low - 0.02 <= truth <= item.loss.high + 0.02
    assert "expected loss against full" in item.sentence
    assert "% of the distance in H" in item.sentence
