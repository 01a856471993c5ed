"""The mean over labelled tasks: one task alone tells little where seeds scatter."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Float

from optidel.benchmark.gate import can_rank
from optidel.benchmark.settings import Choice, Setting
from optidel.evaluation.claims import MIN_SEEDS
from optidel.evaluation.intervals import Interval, mean_interval
from optidel.evaluation.ratios import ratio_interval
from optidel.report.text import percent, signed
from optidel.runs.baselines import BASELINES, FULL, RANDOM

# Seed to the mean score over tasks.
Seeds = Mapping[int, float]

# A mean over one task is that task.
LEAST_TASKS = 2

HEADS = ("method", "budget", "seeds", "mean", "vs random", "closes")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverallRow:
    """One method and budget: the ``mean`` over tasks and seeds of mIoU, or of AUROC, in [0, 1].

    ``gain`` is its distance to random at that budget, paired by seed, and ``gain_interval`` that over seeds;
    ``closed`` is the share of random's distance to full that it closes, with ``closed_interval``. None where
    there is nothing to compare with, or too few seeds.
    """

    method: str
    budget: float
    seeds: int
    mean: float
    gain: float | None
    gain_interval: Interval | None
    closed: float | None
    closed_interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """The mean of ``label`` over ``tasks`` whose gate is passed: one protocol, objective and rule of compute.

    ``left_out`` are the tasks that cannot rank.
    """

    name: str
    label: str
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    rows: tuple[OverallRow, ...]

    @property
    def sentence(self) -> str:
        """Of what it is the mean."""
        text = f"Mean {self.label} over {', '.join(self.tasks)}, whose gates are passed"
        verb = "stays" if len(self.left_out) == 1 else "stay"
        left_out = f"; {', '.join(self.left_out)} cannot rank methods and {verb} out" if self.left_out else ""
        return f"{text}{left_out}. Intervals are over seeds, paired."

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The rows as texts, under ``HEADS``."""
        return [_texts(row) for row in self.rows]


def overall(settings: Sequence[Setting]) -> list[Overall]:
    """The mean over tasks, wherever two tasks or more can rank methods.

    Args:
        settings: of a bench; those that differ only in their task are joined.
    """
    means = []
    for (label, protocol, objective, compute), group in groupby(sorted(settings, key=_rest), key=_rest):
        members = list(group)
        ranking = [setting for setting in members if can_rank(setting)]
        if len(ranking) < LEAST_TASKS:
            continue
        tasks = tuple(setting.task for setting in ranking)
        left_out = tuple(setting.task for setting in members if setting.task not in tasks)
        values = _by_seed(ranking)
        mean = Overall(
            name=f"{protocol}, {objective}, equal {compute}{members[0].ranked_by}",
            label=label,
            tasks=tasks,
            left_out=left_out,
            rows=tuple(_row(choice, values) for choice in values),
        )
        means.append(mean)
    return means


def _rest(setting: Setting) -> tuple[str, str, str, str]:
    return setting.label, setting.protocol, setting.objective, setting.compute


def _by_seed(settings: Sequence[Setting]) -> dict[Choice, Seeds]:
    """The mean over tasks of every choice and seed that all tasks have."""
    scores: dict[Choice, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for setting in settings:
        for choice, seeds in setting.scores.items():
            for seed, values in seeds.items():
                scores[choice][seed].append(float(values.mean()))
    means: dict[Choice, Seeds] = {}
    for choice, by_seed in scores.items():
        complete = {seed: tasks for seed, tasks in by_seed.items() if len(tasks) == len(settings)}
        if complete:
            means[choice] = {seed: float(np.mean(tasks)) for seed, tasks in complete.items()}
    return means


def _row(choice: Choice, values: Mapping[Choice, Seeds]) -> OverallRow:
    method, budget = choice
    gains = distances = np.empty(0)
    if method not in BASELINES:
        gains = _paired(values, choice, (RANDOM, budget))
        distances = _paired(values, (FULL, 1.0), (RANDOM, budget), only=values[choice])
    distance = float(distances.mean()) if len(distances) else 0.0
    enough = len(gains) >= MIN_SEEDS
    same_seeds = len(gains) == len(distances)
    return OverallRow(
        method=method,
        budget=budget,
        seeds=len(values[choice]),
        mean=float(np.mean(list(values[choice].values()))),
        gain=float(gains.mean()) if len(gains) else None,
        gain_interval=mean_interval(gains, np.random.default_rng(0)) if enough else None,
        closed=float(gains.mean()) / distance if distance > 0 and same_seeds else None,
        closed_interval=ratio_interval(gains, distances) if enough and same_seeds else None,
    )


def _paired(
    values: Mapping[Choice, Seeds], choice: Choice, reference: Choice, only: Seeds | None = None
) -> Float[np.ndarray, "s"]:
    """Choice minus reference for the seeds that both have (and that ``only`` has)."""
    seeds, others = values.get(choice, {}), values.get(reference, {})
    common = seeds.keys() & others.keys()
    if only is not None:
        common &= only.keys()
    return np.array([seeds[seed] - others[seed] for seed in sorted(common)], dtype=np.float64)


def _texts(row: OverallRow) -> tuple[str, ...]:
    gain = "–" if row.gain is None else signed(row.gain)
    if row.gain_interval is not None:
        gain += f" ({signed(row.gain_interval.low)} to {signed(row.gain_interval.high)})"
    closed = "–" if row.closed is None else f"{100 * row.closed:.0f} %"
    if row.closed_interval is not None:
        closed += f" ({100 * row.closed_interval.low:.0f} to {100 * row.closed_interval.high:.0f})"
    return (
        row.method,
        percent(row.budget) if row.budget else "–",
        str(row.seeds),
        f"{row.mean:.3f}",
        gain,
        closed.replace("-", "−"),
    )
