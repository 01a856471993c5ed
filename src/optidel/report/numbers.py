"""Statements made from a run's numbers: the verdict, what each step cost, and when selection pays for itself."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import reduce

import numpy as np

from optidel.evaluation.intervals import Interval
from optidel.runs.baselines import BLIND, FULL
from optidel.runs.collect import PROTOCOLS, MethodScore, Run, Trial
from optidel.store import Artifact

OURS = "optidel"
STEPS = (
    "index",
    "clean",
    "pixels",
    "warmup",
    "embed",
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
class Verdict:
    """What may be said honestly: a sentence for each protocol, and whether the gate (full beats scratch) is
    passed, failed or open.
    """

    gate: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """Wall-clock seconds of one step, summed over its ``count`` artifacts."""

    step: str
    count: int
    seconds: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """What a method's selection cost against the pre-training it saves at equal epochs; all in seconds, means
    over seeds.

    ``saved`` is what pre-training on the chosen images saves against pre-training on all of them;
    ``multiple`` is how many times longer than here (or how often) full pre-training must run for the
    selection to pay for itself.
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
        return self.saved - self.preparing - self.selecting


def signed(value: float) -> str:
    """Three decimals, always with a sign; the minus is a true one."""
    return f"{value:+.3f}".replace("-", "−")


def plural(unit: str) -> str:
    """frames, key patches."""
    return unit + ("es" if unit.endswith("ch") else "s")


def percent(budget: float) -> str:
    """A budget as people say it: ``5 %``."""
    return f"{budget * 100:.3g} %"


def written(found: Interval) -> str:
    """``+0.034 (95 % interval +0.021 to +0.048)``."""
    return f"{signed(found.mean)} ({found.level:.0%} interval {signed(found.low)} to {signed(found.high)})".replace(
        "%", " %"
    )


def verdict(run: Run) -> Verdict:
    """One sentence a protocol, made from the table alone; a difference counts only where its interval
    excludes zero.
    """
    if run.result is None:
        return Verdict(
            gate="open",
            sentences=("This run is unfinished: no score yet. Run the same command again, it continues.",),
        )
    protocols = [
        protocol for protocol in PROTOCOLS if any(score.protocol == protocol for score in run.scores)
    ]
    gates = {protocol: _gate(run, protocol) for protocol in protocols}
    sentences = tuple(
        f"{_name(protocol)}: {_gate_text(gates[protocol])}; {_ours_text(run, protocol)}."
        for protocol in protocols
    )
    passed = [found.low > 0 for found in gates.values() if found is not None]
    gate = "passed" if all(passed) else "passed in part" if any(passed) else "not passed"
    return Verdict(gate=gate if passed else "open", sentences=(*sentences, *_caution(run)))


def _caution(run: Run) -> tuple[str, ...]:
    seeds = min((score.seeds for score in run.scores), default=0)
    return (
        ("All of this rests on one seed: how far another seed would change it is not known.",)
        if seeds == 1
        else ()
    )


def _name(protocol: str) -> str:
    return {"fine-tune": "Fine-tuned", "probe": "Frozen encoder"}.get(protocol, protocol)


def _gate(run: Run, protocol: str) -> Interval | None:
    row = next((score for score in run.scores if (score.method, score.protocol) == (FULL, protocol)), None)
    return (
        None
        if row is None
        else _interval(row.difference_scratch, row.difference_scratch_low, row.difference_scratch_high)
    )


def _interval(mean: float | None, low: float | None, high: float | None) -> Interval | None:
    return (
        None
        if mean is None or low is None or high is None
        else Interval(mean=mean, low=low, high=high, level=0.95)
    )


def _gate_text(found: Interval | None) -> str:
    if found is None:
        return "full pre-training and training from scratch were not both run, so whether pre-training helps here is open"
    if found.low > 0:
        return f"pre-training on all images beats training from scratch by {written(found)} mIoU"
    if found.high < 0:
        return f"pre-training on all images is worse than training from scratch by {written(found)} mIoU"
    unclear = "pre-training on all images cannot be told from training from scratch"
    return f"{unclear}, {written(found)} mIoU, so no comparison of methods means much"


def _ours_text(run: Run, protocol: str) -> str:
    rows = [score for score in run.scores if score.protocol == protocol and score.method == OURS]
    if not rows:
        return "OptiDEL was not run"
    return ", and ".join(_against_chance(row) for row in rows)


def _against_chance(row: MethodScore) -> str:
    where = f"OptiDEL at {percent(row.budget)}"
    found = _interval(row.difference, row.difference_low, row.difference_high)
    if found is None:
        return f"{where} has no random choice of the same budget beside it"
    if found.low <= 0 <= found.high:
        return f"{where} cannot be told from a random choice, {written(found)}"
    return f"{where} {'beats' if found.mean > 0 else 'is worse than'} a random choice by {written(found)}"


def step_costs(run: Run) -> tuple[StepCost, ...]:
    """Seconds of each step, over every artifact of the run, in the order in which the steps ran."""
    found = Counter(artifact.step for artifact in run.artifacts)
    count = {step: found[step] for step in sorted(found, key=STEPS.index)}
    seconds = {
        step: sum(artifact.seconds for artifact in run.artifacts if artifact.step == step) for step in count
    }
    total = sum(seconds.values()) or 1.0
    return tuple(
        StepCost(step=step, count=count[step], seconds=seconds[step], share=seconds[step] / total)
        for step in count
    )


def break_even(run: Run) -> tuple[BreakEven, ...]:
    """For each method that chose a part of the corpus, what choosing cost against what it saves. Empty where
    full did not run.
    """
    full = [cell.pretrain.seconds for cell in run.trials if cell.method == FULL and cell.pretrain]
    n_full = max((row.n_images for row in run.trial_scores if row.method == FULL), default=0)
    if not full or not n_full:
        return ()
    groups: dict[tuple[str, float], list[Trial]] = {}
    for cell in run.trials:
        if cell.select is not None and cell.method != FULL:
            groups.setdefault((cell.method, cell.budget), []).append(cell)
    found = []
    for (method, budget), cells in groups.items():
        kept = (
            next(row.n_images for row in run.trial_scores if (row.method, row.budget) == (method, budget))
            / n_full
        )
        saved = float(np.mean(full)) * (1 - kept)
        preparing = _preparing(run, cells[0])
        selecting = float(np.mean([_seconds(cell.select) + _seconds(cell.compose) for cell in cells]))
        multiple = trainings_to_break_even(preparing + selecting, saved)
        found.append(
            BreakEven(
                method=method,
                budget=budget,
                preparing=preparing,
                selecting=selecting,
                saved=saved,
                multiple=multiple,
            )
        )
    return tuple(found)


def trainings_to_break_even(spent: float, saved: float) -> float:
    """How many trainings, each of which saves ``saved`` seconds, earn back the ``spent`` seconds; infinite
    where nothing is saved.
    """
    return spent / saved if saved > 0 else float("inf")


def times(multiple: float) -> str:
    """``3.4 ×``, ``at once`` under a twentieth, or ``never``."""
    return "never" if math.isinf(multiple) else f"{multiple:.1f} ×" if multiple >= 0.05 else "at once"


def _preparing(run: Run, cell: Trial) -> float:
    if cell.method in BLIND or cell.select is None:
        return 0.0
    patches = run.patches if "patches" in cell.select.inputs else None
    return reduce(
        lambda seconds, artifact: seconds + _seconds(artifact), (run.warmup, run.embed, patches), 0.0
    )


def _seconds(artifact: Artifact | None) -> float:
    return 0.0 if artifact is None else artifact.seconds
