"""Whether a setting can rank methods at all: what pre-training adds, and what selection can win at a budget."""

import numpy as np

from optidel.benchmark.settings import Setting
from optidel.evaluation.claims import Difference, claim
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM, SCRATCH


def gate(setting: Setting) -> Difference | None:
    """Full minus scratch: what pre-training on everything adds. None where not both ran."""
    difference = setting.difference((FULL, 1.0), (SCRATCH, 0.0))
    if difference is None:
        return None
    return claim(difference, np.zeros_like(difference), np.random.default_rng(0))


def room(setting: Setting, budget: float) -> Difference | None:
    """Full minus random at a budget: what selection can win there. None where not both ran.

    Where this cannot be told from zero, a random part trains as well as everything does, and which part it is
    has no answer in this setting.
    """
    difference = setting.difference((FULL, 1.0), (RANDOM, budget))
    if difference is None:
        return None
    return claim(difference, np.zeros_like(difference), np.random.default_rng(0))


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
            f"Gate open: full minus scratch {gain.mean:+.3f} ({gain.lack}), so whether pre-training helps here "
            "is not known: no ranking is claimed."
        )
    ends = f"full minus scratch {_ends(gain)}"
    if gain.interval.low > 0:
        return f"Gate passed: pre-training on everything helps here, {ends}."
    return (
        f"Gate not passed: {ends}. **This setting cannot rank methods**; what differs between them below is not "
        "evidence for either."
    )


def room_sentences(setting: Setting) -> list[str]:
    """For each budget what selection can win there, and which methods it cannot rank where that is nothing."""
    sentences = []
    for budget in setting.budgets:
        gain = room(setting, budget)
        if gain is None:
            continue
        share = percent(budget)
        if gain.interval is None:
            sentences.append(
                f"At {share}, full minus random {gain.mean:+.3f} ({gain.lack}): what selection can win here "
                "is not known."
            )
        elif gain.interval.low > 0:
            sentences.append(f"At {share}, selection has {_ends(gain)} to win: full minus random.")
        else:
            methods = [method for method in setting.methods(budget) if method != RANDOM]
            sentences.append(
                f"At {share}, full minus random {_ends(gain)}: **this setting cannot rank "
                f"{', '.join(methods) or 'methods'} at {share}**, for a random part trains as well as everything."
            )
    return sentences


def can_rank(setting: Setting) -> bool:
    """Whether pre-training helps, and selection has something to win at one budget or more."""
    gains = [room(setting, budget) for budget in setting.budgets]
    return _is_sure(gate(setting)) and any(_is_sure(gain) for gain in gains)


def _is_sure(gain: Difference | None) -> bool:
    return gain is not None and gain.interval is not None and gain.interval.low > 0


def _ends(gain: Difference) -> str:
    assert gain.interval is not None
    return f"{gain.mean:+.3f} ({gain.interval.low:+.3f} to {gain.interval.high:+.3f})"
