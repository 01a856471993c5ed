"""Whether a setting can rank methods: what pre-training adds, and what selection can win at a budget."""

from collections.abc import Sequence

import numpy as np

from optidel.benchmark.settings import Matrix, Setting
from optidel.evaluation.claims import Difference, claim
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM, SCRATCH


def gate(setting: Setting) -> Difference | None:
    """Full minus scratch: what pre-training on everything adds. None where not both ran."""
    return _claimed(setting.difference((FULL, 1.0), (SCRATCH, 0.0)))


def _claimed(difference: Matrix | None) -> Difference | None:
    """The mean of a paired difference, with an interval where data allow one."""
    if difference is None:
        return None
    nothing = np.zeros_like(difference)
    return claim(difference, nothing, np.random.default_rng(0))


def room(setting: Setting, budget: float) -> Difference | None:
    """Full minus random at a budget: what selection can win there. None where not both ran.

    Where this cannot be told from zero, a random part trains as well as everything does, and which part it is
    has no answer in this setting.
    """
    return _claimed(setting.difference((FULL, 1.0), (RANDOM, budget)))


def gate_sentence(setting: Setting) -> str:
    """The gate in words."""
    gain = gate(setting)
    if gain is None:
        return (
            "Full and from scratch were not both run with one seed, so whether pre-training helps here is "
            "open: no ranking is claimed."
        )
    if gain.interval is None:
        return (
            f"Gate open: full minus scratch {gain.mean:+.3f} ({gain.lack}), so whether pre-training helps "
            "here is not known: no ranking is claimed."
        )
    ends = f"full minus scratch {_ends(gain)}"
    if gain.interval.low > 0:
        return f"Gate passed: pre-training on everything helps here, {ends}."
    return (
        f"Gate not passed: {ends}. **This setting cannot rank methods**; what differs between them below is "
        "not evidence for either."
    )


def room_sentences(setting: Setting) -> list[str]:
    """For each budget what selection can win there; and where that is nothing, what it cannot rank."""
    sentences = []
    for budget in setting.budgets:
        gain = room(setting, budget)
        if gain is not None:
            methods = [method for method in setting.methods(budget) if method != RANDOM]
            sentences.append(_room_sentence(gain, percent(budget), methods))
    return sentences


def _room_sentence(gain: Difference, share: str, methods: Sequence[str]) -> str:
    if gain.interval is None:
        return (
            f"At {share}, full minus random {gain.mean:+.3f} ({gain.lack}): "
            "what selection can win here is not known."
        )
    ends = _ends(gain)
    if gain.interval.low > 0:
        return f"At {share}, selection has {ends} to win: full minus random."
    listed = ", ".join(methods) or "methods"
    return (
        f"At {share}, full minus random {ends}: **this setting cannot rank {listed} at {share}**, "
        "for a random part trains as well as everything."
    )


def can_rank(setting: Setting) -> bool:
    """Whether pre-training helps, and selection has something to win at one budget or more."""
    if not _is_sure(gate(setting)):
        return False
    gains = [room(setting, budget) for budget in setting.budgets]
    return any(map(_is_sure, gains))


def _is_sure(gain: Difference | None) -> bool:
    return gain is not None and gain.interval is not None and gain.interval.low > 0


def _ends(gain: Difference) -> str:
    interval = gain.interval
    assert interval is not None
    low, high = interval.low, interval.high
    return f"{gain.mean:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")
