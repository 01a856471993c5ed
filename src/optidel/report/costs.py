"""What each step of a run cost, and when a selection pays for itself."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from optidel.runs.baselines import BLIND, FULL
from optidel.runs.collect import Run, Trial
from optidel.store import Artifact

# In the order in which they run; a step of another name follows them.
STEPS = (
    "index",
    "tag",
    "clean",
    "target",
    "apart",
    "pixels",
    "warmup",
    "embed",
    "target-vectors",
    "hardness",
    "influence",
    "mixture",
    "patches",
    "task",
    "leaks",
    "select",
    "compose",
    "pretrain",
    "evaluate",
    "result",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """Wall-clock seconds of one step, summed over its ``count`` artifacts."""

    step: str
    count: int
    seconds: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """What a method's selection cost against the pre-training it saves at equal epochs.

    All in seconds, means over seeds. ``saved`` is what pre-training on the selection saves against
    pre-training on everything; ``multiple`` is how many times longer than here (or how often) full
    pre-training must run for the selection to pay for itself.
    """

    method: str
    budget: float
    preparing: float
    selecting: float
    saved: float
    multiple: float

    @property
    def net(self) -> float:
        """Seconds saved minus seconds spent."""
        spent = self.preparing + self.selecting
        return self.saved - spent


def step_costs(run: Run) -> tuple[StepCost, ...]:
    """Seconds of each step, over every artifact of the run, in the order in which the steps ran."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for artifact in run.artifacts:
        seconds[artifact.step].append(artifact.seconds)

    # A run whose steps took no measurable time has shares of nothing.
    total = sum(map(sum, seconds.values())) or 1.0
    costs = []
    for step in sorted(seconds, key=_rank):
        spent = sum(seconds[step])
        costs.append(StepCost(step=step, count=len(seconds[step]), seconds=spent, share=spent / total))
    return tuple(costs)


def _rank(step: str) -> int:
    if step in STEPS:
        return STEPS.index(step)
    return len(STEPS)


def break_even(run: Run) -> tuple[BreakEven, ...]:
    """For each method that chose a part of the corpus, what choosing cost against what it saves.

    Empty where full did not run.
    """
    counts = {(score.method, score.budget): score.n_images for score in run.trial_scores}
    full_count = counts.get((FULL, 1.0), 0)
    full_seconds = []
    trials: dict[tuple[str, float], list[Trial]] = defaultdict(list)
    for trial in run.trials:
        if trial.method != FULL and trial.select:
            trials[trial.method, trial.budget].append(trial)
        elif trial.pretrain:
            full_seconds.append(trial.pretrain.seconds)
    if not full_seconds or not full_count:
        return ()

    rows = []
    for (method, budget), seeds in trials.items():
        kept = counts[method, budget] / full_count
        # At equal epochs the time of a training follows the number of its images.
        saved = fmean(full_seconds) * (1 - kept)
        rows.append(_break_even(run, seeds, saved))
    return tuple(rows)


def _break_even(run: Run, seeds: Sequence[Trial], saved: float) -> BreakEven:
    """The row of one method and budget."""
    first = seeds[0]
    preparing = _preparing(run, first)
    selecting = fmean(_seconds([trial.select, trial.compose]) for trial in seeds)
    spent = preparing + selecting
    return BreakEven(
        method=first.method,
        budget=first.budget,
        preparing=preparing,
        selecting=selecting,
        saved=saved,
        multiple=trainings_to_break_even(spent, saved),
    )


def trainings_to_break_even(spent: float, saved: float) -> float:
    """How many trainings, each of which saves ``saved`` seconds, earn back ``spent`` seconds.

    >>> trainings_to_break_even(10.0, 4.0), trainings_to_break_even(10.0, 0.0)
    (2.5, inf)
    """
    if saved <= 0:
        return math.inf
    return spent / saved


def _preparing(run: Run, trial: Trial) -> float:
    """Warm-up and embedding, key patches and what guides a choice where the method uses them: what methods
    share.
    """
    if trial.method in BLIND or trial.select is None:
        return 0.0
    steps = [run.warmup, run.embed]
    if "patches" in trial.select.inputs:
        steps.append(run.patches)
    read = trial.select.inputs.values()
    steps += [guide for guide in run.guides if guide.content in read]
    return _seconds(steps)


def _seconds(artifacts: Iterable[Artifact | None]) -> float:
    total = 0.0
    for artifact in artifacts:
        if artifact is not None:
            total += artifact.seconds
    return total
