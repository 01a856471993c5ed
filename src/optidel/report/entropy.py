"""Held-out V-entropy of a run's encoders: its first result, which needs no label.

H is what an encoder does not know of frames that nothing was chosen from or trained on, in nats per value;
lower is better.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optidel.charts import Whisker, colour_of, whiskers
from optidel.evaluation.claims import MIN_SEEDS, NUMBERS
from optidel.evaluation.entropies import Choice, Entropy, Seeds, closed_text, entropy_of
from optidel.methods import held_out_caveat
from optidel.report.figures import label_of
from optidel.report.results import Chart
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM, SCRATCH
from optidel.runs.collect import MethodScore, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyRow:
    """H of one method and budget with its interval, over seeds and groups of held-out frames.

    ``closed`` says how much of random's distance to full it closes, with its interval, or that seeds are too
    few for one; it is empty for these two, and where they did not both run.
    """

    method: str
    budget: float
    h: float
    low: float | None
    high: float | None
    closed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropySection:
    """What the page shows."""

    sentence: str
    rows: tuple[EntropyRow, ...]
    chart: Chart


def entropy_section(run: Run) -> EntropySection | None:
    """The section of a run's page; None where no frame was held out."""
    # Every protocol tests the same encoders, so the rows of one say all.
    scores = [score for score in run.scores if score.protocol == run.protocols[0] and score.h is not None]
    if not scores:
        return None
    seeds = _by_seed(run)
    measured = {choice: entropy_of(choice, seeds) for choice in seeds}
    svg = _chart(scores, run.methods)
    return EntropySection(
        sentence=f"{_sentence(measured)} {held_out_caveat({name: name for name in run.methods})}".strip(),
        rows=tuple(_row(score, measured) for score in scores),
        chart=Chart(name="entropy", title="Held-out H with its interval", svg=svg),
    )


def _by_seed(run: Run) -> dict[Choice, Seeds]:
    """Every H of a run."""
    seeds: dict[Choice, dict[int, float]] = defaultdict(dict)
    for trial in run.trial_scores:
        if trial.h is not None:
            seeds[trial.method, trial.budget][trial.seed] = trial.h
    return dict(seeds)


def _row(score: MethodScore, measured: Mapping[Choice, Entropy]) -> EntropyRow:
    assert score.h is not None
    entropy = measured.get((score.method, score.budget))
    return EntropyRow(
        method=score.method,
        budget=score.budget,
        h=score.h,
        low=score.h_low,
        high=score.h_high,
        closed=_closed(entropy) if entropy else "",
    )


def _closed(entropy: Entropy) -> str:
    if entropy.closed is None:
        return ""
    return closed_text(entropy) + ("" if entropy.closed_interval else ", no interval")


def _sentence(measured: Mapping[Choice, Entropy]) -> str:
    """What random loses against everything, and who is sure to close how much of it: one rule for a claim."""
    start = "What encoders know of held-out frames, without a label"
    budgets = sorted({budget for method, budget in measured if method == RANDOM})
    if not budgets or (FULL, 1.0) not in measured:
        return f"{start}: held-out H is in the table, and random and full were not both run to compare with."
    texts = [_sentence_at(budget, measured) for budget in budgets]
    return f"{start}: {'; '.join(texts)}."


def _sentence_at(budget: float, measured: Mapping[Choice, Entropy]) -> str:
    random = measured[RANDOM, budget]
    name = f"random at {percent(budget)}"
    above = random.above_full
    if above is None:
        count = min(random.seeds, MIN_SEEDS - 1)
        units = "seed" if count == 1 else "seeds"
        return (
            f"{name} is {_nats(random.mean - measured[FULL, 1.0].mean)} above full in held-out H "
            f"({NUMBERS[count]} {units}: no interval), so what a method closes of it is open"
        )
    distance = f"{_nats(above.mean)} ({_nats(above.low)} to {_nats(above.high)})"
    if above.low <= 0:
        return f"{name} is not measurably above full in held-out H, {distance}, so there is nothing to close"
    texts = [
        f"{method} closes {closed_text(entropy)}"
        for (method, other), entropy in measured.items()
        if other == budget and entropy.closed_interval
    ]
    listed = f", of which {', '.join(texts)}" if texts else ""
    return f"{name} is {distance} above full in held-out H{listed}"


def _nats(value: float) -> str:
    return f"{value:.4f}".replace("-", "−")


def _chart(measured: Sequence[MethodScore], methods: Sequence[str]) -> str:
    colours = colour_of(methods)
    rows = []
    reference = None
    for score in measured:
        if score.h is None or score.method == SCRATCH:
            continue  # an untrained encoder is so far off that all others would stand on one another
        name = label_of(score)
        title = f"{name}: {score.h:.4f}"
        colour = colours[score.method]
        rows.append(
            Whisker(name=name, colour=colour, mean=score.h, low=score.h_low, high=score.h_high, title=title)
        )
        if score.method == FULL:
            reference = score.h
    label = "held-out H, nats per value, lower is better"
    return whiskers(rows, label if reference is None else f"{label} (dotted: full)", reference=reference)
