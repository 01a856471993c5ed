"""Held-out V-entropy: the first outcome of a bench, which needs no label and no test image."""

from collections import defaultdict
from collections.abc import Mapping

from optidel.benchmark.settings import Setting
from optidel.benchmark.tables import Tables
from optidel.evaluation.entropies import Choice, Entropy, Seeds, above_text, closed_text, entropy_of
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM


def entropies(tables: Tables, setting: Setting) -> dict[Choice, Entropy]:
    """H of every method and budget of a setting that has one, in the order of the plan."""
    seeds = entropy_by_seed(tables, setting)
    return {choice: entropy_of(choice, seeds) for choice in seeds}


def entropy_by_seed(tables: Tables, setting: Setting) -> dict[Choice, Seeds]:
    """Every H of a setting; tasks and protocols share it, for it is the encoder's."""
    rows = setting.rows(tables.results).drop_nulls("h")
    seeds: dict[Choice, dict[int, float]] = defaultdict(dict)
    for method, budget, seed, value in rows.select("method", "budget", "seed", "h").iter_rows():
        seeds[method, budget][seed] = value
    return dict(seeds)


def entropy_sentences(measured: Mapping[Choice, Entropy]) -> list[str]:
    """For each budget H of full, of random and of every method, and how much of the distance it closes."""
    full = measured.get((FULL, 1.0))
    sentences = []
    for budget in sorted({budget for _, budget in measured if 0 < budget < 1}):
        texts = [f"full {_text(full)}"] if full else []
        for (method, other), entropy in measured.items():
            if other == budget:
                closed = f", closes {closed_text(entropy)}" if entropy.closed_interval else ""
                above = above_text(entropy) if method == RANDOM else ""
                texts.append(f"{method} {_text(entropy)}{above}{closed}")
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
