"""Held-out V-entropy of encoders over seeds: what a method closes of random's distance to everything.

H is what an encoder does not know of images that nothing was chosen from or trained on, in nats per value;
lower is better. Only encoders of one objective compare.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from optidel.evaluation.claims import MIN_SEEDS
from optidel.evaluation.intervals import Interval, mean_interval
from optidel.evaluation.ratios import ratio_interval
from optidel.runs.baselines import BASELINES, FULL, RANDOM

# A method and its budget.
Choice = tuple[str, float]

# Seed to H.
Seeds = Mapping[int, float]
BySeed = Float[np.ndarray, "s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entropy:
    """H of one method and budget over its seeds.

    ``interval`` is over seeds, None with fewer than three. ``closed`` is the share of random's distance to
    full that the method closes, 0 as random and 1 as full, None where that distance is not measured;
    ``closed_interval`` is over the seeds that all three have, None with fewer than three or where that
    distance is not sure to be above zero. ``above_full`` is the mean distance to full, paired by seed, None
    with fewer than three seeds in common.
    """

    mean: float
    seeds: int
    interval: Interval | None
    closed: float | None
    closed_interval: Interval | None = None
    above_full: Interval | None = None


def entropy_of(choice: Choice, seeds: Mapping[Choice, Seeds]) -> Entropy:
    """H of one method and budget, beside the references, from the H of every seed."""
    values = np.array(list(seeds[choice].values()))
    gains, distances = _gains(choice, seeds)
    distance = float(distances.mean()) if len(distances) else 0.0
    # Where random knows as much as full does, there is nothing to close.
    closed = float(gains.mean()) / distance if distance > 0 else None
    return Entropy(
        mean=float(values.mean()),
        seeds=len(values),
        interval=_interval(values),
        closed=closed,
        closed_interval=ratio_interval(gains, distances) if len(gains) >= MIN_SEEDS else None,
        above_full=_interval(_above(choice, (FULL, 1.0), seeds)),
    )


def _interval(values: BySeed) -> Interval | None:
    if len(values) < MIN_SEEDS:
        return None
    # The seeds stand where images do elsewhere: H has one value a seed.
    return mean_interval(values, np.random.default_rng(0))


def _above(choice: Choice, reference: Choice, seeds: Mapping[Choice, Seeds]) -> BySeed:
    """By how much H is above that of a reference, for the seeds that both have."""
    values, others = seeds[choice], seeds.get(reference, {})
    common = () if choice == reference else sorted(values.keys() & others.keys())
    return np.array([values[seed] - others[seed] for seed in common], dtype=np.float64)


def _gains(choice: Choice, seeds: Mapping[Choice, Seeds]) -> tuple[BySeed, BySeed]:
    """How far a method, and how far full, is below random, for the seeds that all three have.

    Empty for the references themselves.
    """
    method, budget = choice
    random, full = seeds.get((RANDOM, budget), {}), seeds.get((FULL, 1.0), {})
    values = seeds[choice]
    common = () if method in BASELINES else sorted(values.keys() & random.keys() & full.keys())
    gains = np.array([random[seed] - values[seed] for seed in common], dtype=np.float64)
    distances = np.array([random[seed] - full[seed] for seed in common], dtype=np.float64)
    return gains, distances


def above_text(entropy: Entropy) -> str:
    """``, above full by 0.0069 (0.0050 to 0.0088)``: what selection can win; empty where seeds are few."""
    above = entropy.above_full
    if above is None:
        return ""
    text = f", above full by {above.mean:.4f} ({above.low:.4f} to {above.high:.4f})"
    return text.replace("-", "−")


def closed_text(entropy: Entropy) -> str:
    """``90 % (71 to 109)``, in per cent of the distance; the minus is a true one."""
    assert entropy.closed is not None, "references close nothing"
    text = f"{100 * entropy.closed:.0f} %"
    interval = entropy.closed_interval
    if interval is not None:
        text += f" ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
    return text.replace("-", "−")
