"""How much is enough: a budget, with what it is expected to lose against all of the data.

Or why the data cannot say. Held-out H answers first, where it was measured: it needs no label.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from optidel.benchmark.coverage import Curve as Coverage
from optidel.benchmark.coverage import coverage_of_run, predicted_errors
from optidel.benchmark.curve import fit, left_out_errors
from optidel.benchmark.entropy import entropy_by_seed
from optidel.benchmark.gate import gate, gate_sentence
from optidel.benchmark.settings import Choice, Setting, settings
from optidel.benchmark.tables import Tables, open_bench
from optidel.errors import InputError
from optidel.evaluation.intervals import Interval
from optidel.evaluation.variance import mean_squares
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM, UNTRAINED

TOLERANCE = 0.01  # one point of mIoU, what seeds of one method scatter by
RESAMPLES = 400  # ends of an interval are then known to a tenth of its width
LEAST = 3  # budgets below the whole that a curve needs: with fewer, nothing is left to check it on
NORMAL = 1.96  # standard deviations of a 95 % interval
GRID = 200  # budgets tried between the smallest that was measured and all
WHOLE = 0.999  # budgets from here on are all of the data

DISTANCE_LEFT = 0.1  # of random's distance to full in H: what is as good as closed, by the project's own aim
LEAST_ERROR = 1e-6  # of a mean: without it equal scores of all seeds would have infinite weight

# Scores of k budgets, rising, over s seeds and n images.
Stack = Float[np.ndarray, "k s n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """``budget`` to take with the expected ``loss`` against full, or None and the ``reason``.

    ``outcome`` is what the loss is in: ``mIoU``, ``AUROC``, or ``H`` for the share of random's distance to
    full in held-out H. ``errors``: root mean square error of predicting left-out budgets, in the same unit,
    by the ``curve`` and by the ``coverage`` of the embedding.
    """

    setting: str
    method: str
    budget: float | None
    loss: Interval | None
    reason: str
    errors: dict[str, float]
    outcome: str = "mIoU"

    @property
    def sentence(self) -> str:
        """The advice in words."""
        unit = "% of the distance in H" if self.outcome == "H" else f"{self.outcome} points"
        head = f"{self.setting}, {self.method}: "
        checks = ", ".join(f"{name} {100 * error:.2f}" for name, error in self.errors.items())
        tail = f" Left-out budgets were predicted within (RMS, {unit}): {checks}." if checks else ""
        if self.budget is None or self.loss is None:
            return f"{head}no advice: {self.reason}.{tail}"
        ends = f"{100 * self.loss.low:+.1f} to {100 * self.loss.high:+.1f}"
        return (
            f"{head}take {percent(self.budget)}; expected loss against full {100 * self.loss.mean:+.1f} "
            f"{unit} ({ends}).{tail}"
        )


def advise(root: Path | str, *, tolerance: float = TOLERANCE) -> list[Advice]:
    """Advice for each setting and method of a bench.

    For a single run, what its embedding says, and that it cannot be checked.

    A curve a − b·x^(−c) is fitted to mean mIoU at every budget and at full. The interval of the loss joins
    the hierarchical bootstrap (seeds and images, drawn alike for all budgets) with the error on left-out
    budgets. The smallest budget whose whole interval lies below ``tolerance`` is recommended, never one below
    the smallest that was measured. Where frames were held out, the same is done with H first: the loss is in
    shares of the distance from random at the smallest budget to full, and a tenth of it may be left.

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
        return _of_run(folder)

    tables = open_bench(folder)
    coverages = coverage_of_run(folder)
    advice = _by_entropy(tables)
    for setting in settings(tables):
        for method in _methods(setting.scores):
            advice.append(_by_score(setting, method, tolerance, coverages.get(method, {})))
    if not advice:
        raise InputError(f"{folder} has no finished cell of a selection method; run the bench first")
    return advice


def _methods(choices: Mapping[Choice, object]) -> list[str]:
    """Selection methods, in the order of the plan."""
    return list(dict.fromkeys(method for method, _ in choices if method not in (*UNTRAINED, FULL)))


def _of_run(folder: Path) -> list[Advice]:
    """What the embedding of a single run says of its selections."""
    coverages = coverage_of_run(folder)
    if not coverages:
        raise InputError(
            f"the run {folder} has chosen no frames of an embedded corpus yet; "
            "run `optidel run` or `optidel bench` first"
        )
    advice = []
    for method, curve in coverages.items():
        reason = _of_one_budget(curve)
        advice.append(_no_advice("one run", method, reason))
    return advice


def _of_one_budget(curve: Coverage) -> str:
    values = ", ".join(f"{percent(budget)}: {value:.3f}" for budget, value in curve.items())
    return (
        "one run has one budget, so loss of mIoU cannot be predicted; a bench of three budgets and full can. "
        f"Its cheap proxy, the mean cosine similarity of an image to the nearest kept one, is {values}"
    )


def _no_advice(
    setting: str,
    method: str,
    reason: str,
    errors: Mapping[str, float] | None = None,
    outcome: str = "mIoU",
) -> Advice:
    return Advice(
        setting=setting,
        method=method,
        budget=None,
        loss=None,
        reason=reason,
        errors=dict(errors or {}),
        outcome=outcome,
    )


def _by_score(setting: Setting, method: str, tolerance: float, coverage: Coverage) -> Advice:
    """Advice from what methods are compared by."""
    budgets = sorted(budget for name, budget in setting.scores if name == method)
    lack = _lack(budgets, (FULL, 1.0) in setting.scores)
    if lack:
        return _no_advice(setting.name, method, lack)
    stack = _common(setting, [*((method, budget) for budget in budgets), (FULL, 1.0)])
    if not stack.size:
        return _no_advice(setting.name, method, "no seed has all budgets and full")

    x, y = np.array([*budgets, 1.0]), stack.mean(axis=(1, 2))
    errors = {"curve": _rms(left_out_errors(x, y))}
    if set(budgets) <= coverage.keys():
        covered = np.array([*(coverage[budget] for budget in budgets), 1.0])
        errors["coverage"] = _rms(predicted_errors(covered, y))

    gain = gate(setting)
    interval = gain.interval if gain else None
    if interval is None:
        return _no_advice(setting.name, method, gate_sentence(setting), errors)
    if interval.low <= 0:
        reason = "full does not beat from scratch here, so there is nothing to lose"
        return _no_advice(setting.name, method, reason, errors)
    unit = f"{100 * tolerance:g} point{'' if tolerance == TOLERANCE else 's'}"
    return _smallest(setting.name, method, x, stack, errors, tolerance, unit, setting.label)


def _by_entropy(tables: Tables) -> list[Advice]:
    """Advice from held-out H, once an objective and rule of compute; empty where nothing was held out."""
    by_encoder = {(setting.objective, setting.compute): setting for setting in settings(tables)}
    advice = []
    for (objective, compute), setting in by_encoder.items():
        seeds = entropy_by_seed(tables, setting)
        for method in _methods(seeds):
            advice.append(_entropy_advice(f"held-out H, {objective}, equal {compute}", method, seeds))
    return advice


def _entropy_advice(name: str, method: str, seeds: Mapping[Choice, Mapping[int, float]]) -> Advice:
    budgets = sorted(budget for other, budget in seeds if other == method)
    lack = _lack(budgets, (FULL, 1.0) in seeds)
    if lack:
        return _no_advice(name, method, lack, outcome="H")
    choices = [*((method, budget) for budget in budgets), (FULL, 1.0)]
    reference = (RANDOM, budgets[0]) if (RANDOM, budgets[0]) in seeds else choices[0]
    common = sorted(set.intersection(*(set(seeds[choice]) for choice in [*choices, reference])))
    if not common:
        return _no_advice(name, method, "no seed has all budgets and full", outcome="H")

    values = np.array([[seeds[choice][seed] for seed in common] for choice in choices])
    start = np.mean([seeds[reference][seed] for seed in common])
    distance = float(start - values[-1].mean())
    if distance <= 0:
        reason = f"{reference[0]} at {percent(budgets[0])} knows as much as full, so there is nothing to lose"
        return _no_advice(name, method, reason, outcome="H")

    # Lower is better in H, higher in the curve.
    stack = -values[:, :, None] / distance
    x = np.array([*budgets, 1.0])
    errors = {"curve": _rms(left_out_errors(x, stack.mean(axis=(1, 2))))}
    unit = f"{100 * DISTANCE_LEFT:g} % of the distance in H"
    return _smallest(name, method, x, stack, errors, DISTANCE_LEFT, unit, "H")


def _lack(budgets: Sequence[float], full: bool) -> str:
    """What is missing for a curve, or an empty text."""
    if len(budgets) >= LEAST and full:
        return ""
    counted = "1 budget is" if len(budgets) == 1 else f"{len(budgets)} budgets are"
    state = "is" if full else "is not"
    return f"{counted} measured and full {state}; at least {LEAST} and full are needed"


def _smallest(
    setting: str,
    method: str,
    x: Float[np.ndarray, "k"],
    stack: Stack,
    errors: Mapping[str, float],
    tolerance: float,
    unit: str,
    outcome: str,
) -> Advice:
    """The smallest budget whose whole interval of loss lies below the tolerance."""
    grid = np.geomspace(x[0], 1.0, GRID)
    mean, spread = _losses(x, stack, grid)
    # All of the data loses nothing against itself, whatever the curve's error.
    curve_error = errors["curve"] * (grid < 1)
    half = NORMAL * np.hypot(spread, curve_error)

    enough = np.flatnonzero((mean + half <= tolerance) & (grid < WHOLE))
    if not len(enough):
        ends = f"{100 * (mean - half)[0]:+.1f} to {100 * (mean + half)[0]:+.1f}"
        reason = f"no budget below full is sure to lose less than {unit} ({percent(x[0])}: {ends})"
        return _no_advice(setting, method, reason, errors, outcome)

    row = int(enough[0])
    low, high = float(mean[row] - half[row]), float(mean[row] + half[row])
    loss = Interval(mean=float(mean[row]), low=low, high=high, level=0.95)
    return Advice(
        setting=setting,
        method=method,
        budget=float(grid[row]),
        loss=loss,
        reason="",
        errors=dict(errors),
        outcome=outcome,
    )


def _common(setting: Setting, choices: Sequence[Choice]) -> Stack:
    """Scores of every choice over the seeds that all have; empty where there is none."""
    seeds = sorted(set.intersection(*(set(setting.scores[choice]) for choice in choices)))
    if not seeds:
        return np.empty((0, 0, 0))
    stack = []
    for choice in choices:
        scores = setting.scores[choice]
        stack.append(np.stack([scores[seed] for seed in seeds]))
    return np.stack(stack)


def _losses(
    x: Float[np.ndarray, "k"], stack: Stack, grid: Float[np.ndarray, "g"]
) -> tuple[Float[np.ndarray, "g"], Float[np.ndarray, "g"]]:
    """Expected loss against full and its standard deviation over hierarchical resamples, at every budget."""
    rng = np.random.default_rng(0)
    _, seeds, images = stack.shape
    weights = np.array([1 / max(_error(matrix), LEAST_ERROR) ** 2 for matrix in stack])
    losses = np.empty((RESAMPLES, len(grid)))
    for row in range(RESAMPLES):
        # Seeds and images are drawn alike for all budgets: they are paired.
        of_seeds = stack[:, rng.integers(seeds, size=seeds)].mean(axis=1)
        of_images = of_seeds[:, rng.integers(images, size=images)].mean(axis=1)
        losses[row] = fit(x, of_images, weights).loss(grid)

    # The bootstrap of s seeds sees (s − 1)/s of their variance.
    correction = np.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0
    expected = fit(x, stack.mean(axis=(1, 2)), weights).loss(grid)
    return expected, correction * losses.std(axis=0)


def _error(matrix: Float[np.ndarray, "s n"]) -> float:
    """Standard error of the mean of scores; of one value a seed, over the seeds."""
    seeds, images = matrix.shape
    if images > 1:
        return mean_squares(matrix).error
    return float(matrix.std(ddof=1) / np.sqrt(seeds)) if seeds > 1 else 1.0


def _rms(errors: Float[np.ndarray, "k"]) -> float:
    if not len(errors):
        return math.nan
    return float(np.sqrt(np.mean(errors**2)))
