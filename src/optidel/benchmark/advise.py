"""How much is enough: a budget, with what it is expected to lose against all of the data, or why the data
cannot say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from optidel.benchmark.coverage import coverage_of_run, predicted_errors
from optidel.benchmark.curve import fit, left_out_errors
from optidel.benchmark.statistics import Setting, gate, gate_sentence, settings
from optidel.benchmark.tables import open_bench
from optidel.errors import InputError
from optidel.evaluation.intervals import Interval
from optidel.evaluation.variance import mean_squares
from optidel.report.text import percent
from optidel.runs.baselines import FULL, SCRATCH

TOLERANCE = 0.01
RESAMPLES = 400
LEAST = 3
"""Budgets below the whole that a curve needs beside it: with fewer, nothing is left to check it on."""
NORMAL = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """``budget`` to take with the expected ``loss`` of mIoU against full (positive: worse), or None and the
    ``reason`` why not.

    ``errors``: root mean square error of predicting left-out budgets, in mIoU, by the ``curve`` and by the
        ``coverage`` of the embedding.
    """

    setting: str
    method: str
    budget: float | None
    loss: Interval | None
    reason: str
    errors: dict[str, float]

    @property
    def sentence(self) -> str:
        """The advice in words."""
        head = f"{self.setting}, {self.method}: "
        checked = ", ".join(f"{name} {100 * error:.2f}" for name, error in self.errors.items())
        tail = f" Left-out budgets were predicted within (RMS, mIoU points): {checked}." if checked else ""
        if self.budget is None or self.loss is None:
            return f"{head}no advice: {self.reason}.{tail}"
        ends = f"{100 * self.loss.low:+.1f} to {100 * self.loss.high:+.1f}"
        return f"{head}take {percent(self.budget)}; expected loss against full {100 * self.loss.mean:+.1f} mIoU points ({ends}).{tail}"


def advise(root: Path | str, *, tolerance: float = TOLERANCE) -> list[Advice]:
    """Advice for each setting and method of a bench; for a single run, what its embedding says, and that it
    cannot be checked.

    A curve a − b·x^(−c) is fitted to mean mIoU at every budget and at full. The interval of the loss joins
    the hierarchical bootstrap (seeds and images, drawn alike for all budgets) with the error on left-out
    budgets. The smallest budget whose whole interval lies below ``tolerance`` is recommended, never one below
    the smallest that was measured.

    Args:
        root: run folder of ``optidel bench`` or ``optidel run``.
        tolerance: mIoU that may be lost, in (0, 1).

    Raises:
        InputError: no finished bench or run there, or a tolerance out of range.
    """
    if not 0 < tolerance < 1:
        raise InputError(
            f"tolerance must be a loss of mIoU in (0, 1), got {tolerance:g}; pass 0.01 for one point"
        )
    folder = Path(root)
    if not (folder / "bench.json").exists():
        curves = coverage_of_run(folder)
        if not curves:
            raise InputError(
                f"the run {folder} has chosen no frames of an embedded corpus yet; run `optidel run` or `optidel bench` first"
            )
        return [
            Advice(
                setting="one run",
                method=method,
                budget=None,
                loss=None,
                reason=_of_one_budget(curve),
                errors={},
            )
            for method, curve in curves.items()
        ]
    tables = open_bench(folder)
    covered = coverage_of_run(folder)
    found = []
    for setting in settings(tables):
        for method in dict.fromkeys(method for method, _ in setting.iou if method not in (SCRATCH, FULL)):
            found.append(_advice(setting, method, tolerance, covered.get(method, {})))
    if not found:
        raise InputError(f"{folder} has no finished cell of a selection method; run the bench first")
    return found


def _of_one_budget(curve: dict[float, float]) -> str:
    reached = ", ".join(f"{percent(budget)}: {value:.3f}" for budget, value in curve.items())
    return (
        "one run has one budget, so loss of mIoU cannot be predicted; a bench of three budgets and full can. Its cheap proxy, the mean "
        f"cosine similarity of an image to the nearest kept one, is {reached}"
    )


def _advice(setting: Setting, method: str, tolerance: float, covered: dict[float, float]) -> Advice:
    budgets = sorted(budget for name, budget in setting.iou if name == method)
    passed = gate(setting)
    if len(budgets) < LEAST or (FULL, 1.0) not in setting.iou:
        full = "is" if (FULL, 1.0) in setting.iou else "is not"
        counted = "1 budget is" if len(budgets) == 1 else f"{len(budgets)} budgets are"
        reason = f"{counted} measured and full {full}; at least {LEAST} and full are needed"
        return Advice(setting=setting.name, method=method, budget=None, loss=None, reason=reason, errors={})
    stack = _common(setting, [*((method, budget) for budget in budgets), (FULL, 1.0)])
    x, y = np.array([*budgets, 1.0]), stack.mean(axis=(1, 2)) if stack.size else np.empty(0)
    if not stack.size:
        return Advice(
            setting=setting.name,
            method=method,
            budget=None,
            loss=None,
            reason="no seed has all budgets and full",
            errors={},
        )
    errors = {"curve": _rms(left_out_errors(x, y))}
    if set(budgets) <= covered.keys():
        errors["coverage"] = _rms(
            predicted_errors(np.array([*(covered[budget] for budget in budgets), 1.0]), y)
        )
    interval = passed.interval if passed else None
    if interval is None or interval.low <= 0:
        reason = (
            "full does not beat from scratch here, so there is nothing to lose"
            if interval
            else gate_sentence(setting)
        )
        return Advice(
            setting=setting.name, method=method, budget=None, loss=None, reason=reason, errors=errors
        )
    grid = np.geomspace(budgets[0], 1.0, 200)
    mean, spread = _losses(x, stack, grid)
    half = NORMAL * np.hypot(spread, errors["curve"] * (grid < 1))
    good = np.flatnonzero(mean + half <= tolerance)
    good = good[grid[good] < 0.999]
    if not len(good):
        low, high = 100 * (mean - half)[0], 100 * (mean + half)[0]
        smallest = f"{percent(budgets[0])}: {low:+.1f} to {high:+.1f}"
        reason = f"no budget below full is sure to lose less than {100 * tolerance:g} point{'' if tolerance == TOLERANCE else 's'} ({smallest})"
        return Advice(
            setting=setting.name, method=method, budget=None, loss=None, reason=reason, errors=errors
        )
    place = int(good[0])
    loss = Interval(
        mean=float(mean[place]),
        low=float(mean[place] - half[place]),
        high=float(mean[place] + half[place]),
        level=0.95,
    )
    return Advice(
        setting=setting.name, method=method, budget=float(grid[place]), loss=loss, reason="", errors=errors
    )


def _common(setting: Setting, choices: Sequence[tuple[str, float]]) -> Float[np.ndarray, "k s n"]:
    seeds = sorted(set.intersection(*(set(setting.iou[choice]) for choice in choices)))
    return (
        np.stack([np.stack([setting.iou[choice][seed] for seed in seeds]) for choice in choices])
        if seeds
        else np.empty((0, 0, 0))
    )


def _losses(
    x: Float[np.ndarray, "k"], stack: Float[np.ndarray, "k s n"], grid: Float[np.ndarray, "g"]
) -> tuple[Float[np.ndarray, "g"], Float[np.ndarray, "g"]]:
    """Expected loss against full and its standard deviation over hierarchical resamples, at every budget of
    the grid.
    """
    rng = np.random.default_rng(0)
    _, seeds, images = stack.shape
    weights = np.array([1 / max(mean_squares(matrix).error, 1e-6) ** 2 for matrix in stack])
    found = np.empty((RESAMPLES, len(grid)))
    for row in range(RESAMPLES):
        drawn = (
            stack[:, rng.integers(seeds, size=seeds)]
            .mean(axis=1)[:, rng.integers(images, size=images)]
            .mean(axis=1)
        )
        found[row] = fit(x, drawn, weights).loss(grid)
    few = (
        np.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0
    )  # the bootstrap of s seeds sees (s − 1)/s of their variance
    return fit(x, stack.mean(axis=(1, 2)), weights).loss(grid), few * found.std(axis=0)


def _rms(errors: Float[np.ndarray, "k"]) -> float:
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")
