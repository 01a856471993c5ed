"""What may be said honestly of a run, made from its table alone."""

from dataclasses import dataclass

from optidel.evaluation.claims import MIN_IMAGES, Difference, lack_of_data
from optidel.evaluation.intervals import Interval
from optidel.report.text import percent, written
from optidel.runs.baselines import FULL
from optidel.runs.collect import MethodScore, Run

# The method that the first sentences are about.
OURS = "optidel"
# This project's method and the published one, which it grew from.
FAMILY = (OURS, "optidel-paper")

PROTOCOL_NAMES = {
    "fine-tune": "Fine-tuned",
    "probe": "Frozen encoder",
    "ridge": "Ridge probe",
    "knn": "Nearest neighbours",
}
UNFINISHED = "This run is unfinished: no score yet. Run the same command again, it continues."
ONE_SEED = "All of this rests on one seed: how far another seed would change it is not known."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A sentence for each protocol, and whether the gate (full beats scratch) is passed.

    ``gate`` is ``passed``, ``passed in part``, ``not passed``, or ``open`` where it was not measured.
    """

    gate: str
    sentences: tuple[str, ...]


def verdict(run: Run) -> Verdict:
    """One sentence a protocol; a difference counts only where its interval excludes zero."""
    if run.result is None:
        return Verdict(gate="open", sentences=(UNFINISHED,))

    # A protocol without a gate leaves the question open, and does not count as failed.
    sentences = []
    verdicts = []
    for protocol in run.protocols:
        gate = _gate(run, protocol)
        name = PROTOCOL_NAMES.get(protocol, protocol)
        sentences.append(f"{name}: {_gate_text(gate, _label(run, protocol))}; {_ours_text(run, protocol)}.")
        if gate is not None and gate.interval is not None:
            verdicts.append(gate.interval.low > 0)

    if min((score.seeds for score in run.scores), default=0) == 1:
        sentences.append(ONE_SEED)
    return Verdict(gate=_state(verdicts), sentences=tuple(sentences))


def _state(verdicts: list[bool]) -> str:
    """The gates of all protocols in one word."""
    if not verdicts:
        return "open"
    if all(verdicts):
        return "passed"
    return "passed in part" if any(verdicts) else "not passed"


def _gate(run: Run, protocol: str) -> Difference | None:
    """Full minus scratch; None where not both ran."""
    for score in run.scores:
        if (score.method, score.protocol) == (FULL, protocol) and score.difference_scratch is not None:
            ends = (score.difference_scratch_low, score.difference_scratch_high)
            return _claimed(score.seeds, score.difference_scratch, *ends)
    return None


def _claimed(seeds: int, mean: float, low: float | None, high: float | None) -> Difference:
    """A difference of the table; a table of the first version has intervals also where data are missing."""
    lack = lack_of_data(seeds, MIN_IMAGES)
    if lack or low is None or high is None:
        # The table does not count test images, but with enough seeds only they can be missing.
        return Difference(mean=mean, interval=None, lack=lack or lack_of_data(seeds, images=1))
    return Difference(mean=mean, interval=Interval(mean=mean, low=low, high=high, level=0.95), lack="")


def _label(run: Run, protocol: str) -> str:
    """What methods are compared by under a protocol."""
    return next(score.outcomes[0].label for score in run.scores if score.protocol == protocol)


def _gate_text(gate: Difference | None, label: str) -> str:
    if gate is None:
        return (
            "full pre-training and training from scratch were not both run, "
            "so whether pre-training helps here is open"
        )
    if gate.interval is None:
        return (
            f"pre-training on all images minus training from scratch is {written(gate)} {label}, "
            "so whether pre-training helps here is open"
        )
    if gate.interval.low > 0:
        return f"pre-training on all images beats training from scratch by {written(gate)} {label}"
    if gate.interval.high < 0:
        return f"pre-training on all images is worse than training from scratch by {written(gate)} {label}"
    return (
        f"pre-training on all images cannot be told from training from scratch, {written(gate)} {label}, "
        "so no comparison of methods means much"
    )


def _ours_text(run: Run, protocol: str) -> str:
    rows = [score for score in run.scores if (score.protocol, score.method) == (protocol, OURS)]
    if not rows:
        return "OptiDEL was not run"
    return ", and ".join(_against_random(row) for row in rows)


def _against_random(row: MethodScore) -> str:
    name = f"OptiDEL at {percent(row.budget)}"
    if row.difference is None:
        return f"{name} has no random choice of the same budget beside it"
    gain = _claimed(row.seeds, row.difference, row.difference_low, row.difference_high)
    if gain.interval is None:
        return f"{name} minus a random choice is {written(gain)}"
    if gain.interval.low <= 0 <= gain.interval.high:
        return f"{name} cannot be told from a random choice, {written(gain)}"
    verb = "beats" if gain.mean > 0 else "is worse than"
    return f"{name} {verb} a random choice by {written(gain)}"
