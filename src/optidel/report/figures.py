"""The charts of a run's page."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from optidel.charts import Bin, Point, Series, Share, Whisker, colour_of, histogram, lines, shares, whiskers
from optidel.charts.colours import COLOURS, GREY
from optidel.report.costs import BreakEven, StepCost
from optidel.report.text import percent
from optidel.report.verdict import OURS
from optidel.runs.baselines import FULL, RANDOM, SCRATCH
from optidel.runs.collect import MethodScore, Run
from optidel.store import Artifact
from optidel.words import plural

# What orders items by difficulty, in words.
SCORERS = {"error": "reconstruction error", "pvi": "minus pointwise V-information, nats per value,"}

# Points of a loss curve, each the mean of one bin of steps: more are not seen at the width of the chart.
STEPS_DRAWN = 120

# Bars of the difficulty: some hundreds of items give tens a bar.
HISTOGRAM_BINS = 40

# Methods share their budgets. On the logarithmic axis each stands this factor beside the next, which is the
# width of a marker.
APART = 1.04


def label_of(score: MethodScore | BreakEven) -> str:
    """``optidel 5 %``; from scratch has no budget."""
    if score.method == SCRATCH:
        return SCRATCH
    budget = percent(score.budget)
    return f"{score.method} {budget}"


def label_in(scores: Sequence[MethodScore]) -> str:
    """What methods are compared by."""
    return scores[0].outcomes[0].label


def score_chart(scores: Sequence[MethodScore], methods: Sequence[str]) -> str:
    """What methods are compared by with its interval, a row a method and budget.

    Args:
        scores: rows of one protocol.
        methods: every method of the run, for the colours.
    """
    colours = colour_of(methods)
    rows = []
    scratch = None
    for score in scores:
        colour = colours[score.method]
        rows.append(_whisker(score, colour, *score.measured[0]))
        if score.method == SCRATCH:
            scratch = score.measured[0].mean
    label = label_in(scores)
    if scratch is not None:
        label += " (dotted: from scratch)"
    return whiskers(rows, label, reference=scratch)


def difference_chart(scores: Sequence[MethodScore], methods: Sequence[str]) -> str:
    """Differences to random of what methods are compared by, a row a method and budget that has one."""
    colours = colour_of(methods)
    rows = []
    for score in scores:
        if score.difference is None or score.method == RANDOM:
            continue
        colour = colours[score.method]
        rows.append(_whisker(score, colour, score.difference, score.difference_low, score.difference_high))
    return whiskers(rows, f"{label_in(scores)} − random (dotted: none)")


def _whisker(score: MethodScore, colour: str, mean: float, low: float | None, high: float | None) -> Whisker:
    """A row of a whisker chart."""
    name = label_of(score)
    ends = "(no interval)"  # too few seeds or test images for a claim
    if low is not None and high is not None:
        ends = f"[{low:.3f}, {high:.3f}]"
    title = f"{name}: {mean:.3f} {ends}"
    return Whisker(name=name, colour=colour, mean=mean, low=low, high=high, title=title)


def budget_chart(run: Run, protocol: str) -> str:
    """Score against the number of pre-training images: means with intervals, and a faint point a seed."""
    colours = colour_of(run.methods)
    scores = [score for score in run.scores if score.protocol == protocol]
    trained = list(dict.fromkeys(score.method for score in scores if score.method != SCRATCH))

    series = [
        Series(
            name="from scratch",
            colour=GREY,
            points=[Point(x=1, y=score.measured[0].mean)],
            across=True,
            dashed=True,
        )
        for score in scores
        if score.method == SCRATCH
    ]
    for position, method in enumerate(trained):
        # Full has a budget of its own.
        shift = 1.0 if method == FULL else APART ** (position - (len(trained) - 1) / 2)
        means = sorted(
            (score for score in scores if score.method == method), key=lambda score: score.n_images
        )
        series.append(
            Series(
                name=method,
                colour=colours[method],
                shape=position,
                points=[_mean_point(score, shift) for score in means],
            )
        )
        series.append(_seeds(run, method, protocol, shift, colours[method], position))

    sizes = sorted({score.n_images for score in scores if score.method != SCRATCH})
    ticks = [(float(size), f"{size:,}") for size in sizes]
    return lines(
        series, "pre-training images", label_in(scores), log=True, ticks=ticks, height=380, zoom=True
    )


def _mean_point(score: MethodScore, shift: float) -> Point:
    mean, low, high = score.measured[0]
    title = f"{label_of(score)}: {mean:.3f} with {score.n_images:,} images"
    return Point(x=score.n_images * shift, y=mean, low=low, high=high, title=title)


def _seeds(run: Run, method: str, protocol: str, shift: float, colour: str, shape: int) -> Series:
    """The single seeds of a method, behind its means."""
    points = []
    for score in run.trial_scores:
        if score.method == method and score.protocol == protocol:
            title = f"{method}, seed {score.seed}: {score.score:.3f}"
            x = score.n_images * shift
            points.append(Point(x=x, y=score.score, title=title))
    return Series(
        name=method, colour=colour, points=points, shape=shape, joined=False, faint=True, legend=False
    )


def loss_chart(run: Run) -> str | None:
    """Pre-training loss against step, a line a trial, means over bins of steps; None before any training."""
    series = []
    names: set[str] = set()
    for name, colour, artifact in _trainings(run):
        log = _binned(artifact.table("log.parquet"))
        points = [Point(x=step, y=loss) for step, loss in log.select("step", "loss").iter_rows()]
        curve = Series(
            name=name,
            colour=colour,
            points=points,
            bare=True,
            dashed=artifact.step == "warmup",
            legend=name not in names,
        )
        names.add(name)
        series.append(curve)
    return lines(series, "optimizer step", "loss", height=380, zoom=True) if series else None


def _trainings(run: Run) -> Iterator[tuple[str, str, Artifact]]:
    """Name, colour and artifact of every training that has a log."""
    colours = colour_of(run.methods)
    if run.warmup is not None:
        yield "warm-up", GREY, run.warmup
    for trial in run.trials:
        if trial.pretrain is not None:
            yield trial.method, colours[trial.method], trial.pretrain


def _binned(log: pl.DataFrame) -> pl.DataFrame:
    # Rounded up, so that there are never more bins than that.
    width = max(1, -(-log.height // STEPS_DRAWN))
    bins = pl.int_range(pl.len()) // width
    return log.group_by(bins, maintain_order=True).agg(pl.col("step", "loss").mean())


def difficulty_chart(
    values: Float[np.ndarray, "n"], kept: Float[np.ndarray, "m"], unit: str, scorer: str
) -> str:
    """Histogram of difficulty: all items, and those kept, in the same bins.

    Args:
        values: (n,) difficulty of every item, higher is harder.
        kept: (m,) those of the items kept, may be empty.
        unit: what an item is, frame or key patch.
        scorer: error or pvi.
    """
    units = plural(unit)
    edges = np.histogram_bin_edges(values, bins=HISTOGRAM_BINS)
    parts = [_bin(f"all {units}", GREY, values, edges)]
    if len(kept):
        part = _bin("chosen", COLOURS[OURS], kept, edges)
        parts.append(part)
    label = f"{SCORERS[scorer]} of each {unit}"
    return histogram(parts, edges.tolist(), label, units)


def _bin(name: str, colour: str, values: Float[np.ndarray, "n"], edges: Float[np.ndarray, "k"]) -> Bin:
    counts, _ = np.histogram(values, edges)
    whole = counts.tolist()
    return Bin(name=name, colour=colour, counts=whole)


def cost_chart(costs: Sequence[StepCost]) -> str:
    """A bar for each step: wall-clock seconds."""
    rows = []
    for cost in costs:
        share = f"{100 * cost.share:.0f} %"
        row = Share(
            name=cost.step, value=cost.seconds, label=share, title=f"{cost.step}: {cost.seconds:.1f} s"
        )
        rows.append(row)
    return shares(rows, COLOURS[OURS], "seconds")
