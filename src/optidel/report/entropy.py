"""Held-out V-entropy of a run's encoders: its first result, which needs no label.

H is what an encoder does not know of frames that nothing was chosen from or trained on, in nats per value;
lower is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optidel.charts import Whisker, colour_of, whiskers
from optidel.methods import held_out_caveat
from optidel.report.figures import label_of
from optidel.report.results import Chart
from optidel.runs.baselines import BASELINES, FULL, RANDOM, SCRATCH
from optidel.runs.collect import MethodScore, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyRow:
    """H of one method and budget with its interval, over seeds and groups of held-out frames.

    ``closed`` is the share of random's distance to full that it closes, 0 as random and 1 as full; None for
    these two, and where they did not both run.
    """

    method: str
    budget: float
    h: float
    low: float | None
    high: float | None
    closed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropySection:
    """What the page shows."""

    sentence: str
    rows: tuple[EntropyRow, ...]
    chart: Chart


def entropy_section(run: Run) -> EntropySection | None:
    """The section of a run's page; None where no frame was held out."""
    # Every protocol tests the same encoders, so the rows of one say all.
    measured = [score for score in run.scores if score.protocol == run.protocols[0] and score.h is not None]
    if not measured:
        return None
    rows = tuple(_row(score, measured) for score in measured)
    svg = _chart(measured, run.methods)
    return EntropySection(
        sentence=f"{_sentence(rows)} {held_out_caveat({name: name for name in run.methods})}".strip(),
        rows=rows,
        chart=Chart(name="entropy", title="Held-out H with its interval", svg=svg),
    )


def _row(score: MethodScore, measured: Sequence[MethodScore]) -> EntropyRow:
    assert score.h is not None
    return EntropyRow(
        method=score.method,
        budget=score.budget,
        h=score.h,
        low=score.h_low,
        high=score.h_high,
        closed=_closed(score, measured),
    )


def _closed(score: MethodScore, measured: Sequence[MethodScore]) -> float | None:
    h = {(other.method, other.budget): other.h for other in measured}
    random, full = h.get((RANDOM, score.budget)), h.get((FULL, 1.0))
    if score.method in BASELINES or score.h is None or random is None or full is None:
        return None
    distance = random - full
    if distance <= 0:
        return None  # where random knows as much as full does, there is nothing to close
    return (random - score.h) / distance


def _sentence(rows: Sequence[EntropyRow]) -> str:
    """Who closes how much, in one sentence."""
    texts = []
    for row in rows:
        if row.closed is not None:
            share = f"{100 * row.closed:.0f} %"
            texts.append(f"{row.method} at {100 * row.budget:.3g} % closes {share}")
    start = "What encoders know of held-out frames, without a label"
    if not texts:
        return f"{start}: held-out H is in the table, and random and full were not both run to compare with."
    listed = ", ".join(texts)
    return f"{start}: of random's distance to full in held-out H, {listed}."


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
