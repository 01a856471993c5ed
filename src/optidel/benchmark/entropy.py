"""Held-out V-entropy: the first outcome of a bench, which needs no label and no test image.

H is what an encoder does not know of images that nothing was chosen from or trained on, in nats per value;
lower is better. Only encoders of one objective compare, and an untrained encoder has none.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Float

from optidel.benchmark.settings import Choice, Setting
from optidel.benchmark.tables import Tables
from optidel.evaluation.claims import MIN_SEEDS
from optidel.evaluation.intervals import Interval, mean_interval
from optidel.report.text import percent
from optidel.runs.baselines import BASELINES, FULL, RANDOM

# Seed to H.
Seeds = Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entropy:
    """H of one method and budget over its seeds.

    ``interval`` is over seeds, None with fewer than three. ``closed`` is the share of random's distance to
    full that the method closes, 0 as random and 1 as full, None where that distance is not measured.
    """

    mean: float
    seeds: int
    interval: Interval | None
    closed: float | None


def entropies(tables: Tables, setting: Setting) -> dict[Choice, Entropy]:
    """H of every method and budget of a setting that has one, in the order of the plan."""
    seeds = entropy_by_seed(tables, setting)
    return {choice: _entropy(choice, seeds) for choice in seeds}


def entropy_by_seed(tables: Tables, setting: Setting) -> dict[Choice, Seeds]:
    """Every H of a setting; tasks and protocols share it, for it is the encoder's."""
    rows = setting.rows(tables.results).drop_nulls("h")
    seeds: dict[Choice, dict[int, float]] = defaultdict(dict)
    for method, budget, seed, value in rows.select("method", "budget", "seed", "h").iter_rows():
        seeds[method, budget][seed] = value
    return dict(seeds)


def _entropy(choice: Choice, seeds: Mapping[Choice, Seeds]) -> Entropy:
    values = np.array(list(seeds[choice].values()))
    return Entropy(
        mean=float(values.mean()),
        seeds=len(values),
        interval=_interval(values),
        closed=_closed(choice, seeds),
    )


def _interval(values: Float[np.ndarray, "s"]) -> Interval | None:
    if len(values) < MIN_SEEDS:
        return None
    # The seeds stand where images do elsewhere: H has one value a seed.
    return mean_interval(values, np.random.default_rng(0))


def _closed(choice: Choice, seeds: Mapping[Choice, Seeds]) -> float | None:
    """The share of random's distance to full that is closed, over the seeds that all three have."""
    method, budget = choice
    random, full = seeds.get((RANDOM, budget)), seeds.get((FULL, 1.0))
    if method in BASELINES or random is None or full is None:
        return None
    values = seeds[choice]
    common = values.keys() & random.keys() & full.keys()
    if not common:
        return None
    distance = fmean(random[seed] - full[seed] for seed in common)
    gain = fmean(random[seed] - values[seed] for seed in common)
    if distance <= 0:
        return None  # where random knows as much as full does, there is nothing to close
    return gain / distance


def entropy_sentences(measured: Mapping[Choice, Entropy]) -> list[str]:
    """For each budget H of full, of random and of every method, and how much of the distance it closes."""
    full = measured.get((FULL, 1.0))
    sentences = []
    for budget in sorted({budget for _, budget in measured if 0 < budget < 1}):
        texts = [f"full {_text(full)}"] if full else []
        for (method, other), entropy in measured.items():
            if other == budget:
                closed = "" if entropy.closed is None else f", closes {_share(entropy.closed)}"
                texts.append(f"{method} {_text(entropy)}{closed}")
        sentences.append(
            f"At {percent(budget)}, held-out H, nats per value, lower is better: {'; '.join(texts)}."
        )
    return sentences


def _text(entropy: Entropy) -> str:
    """``0.2972 (0.2962 to 0.2982)``."""
    mean, interval = f"{entropy.mean:.4f}", entropy.interval
    if interval is None:
        return mean
    low, high = interval.low, interval.high
    return f"{mean} ({low:.4f} to {high:.4f})"


def _share(closed: float) -> str:
    """A share of the distance in per cent; the minus is a true one."""
    percents = f"{100 * closed:.0f} %"
    return percents.replace("-", "−")
