"""The figures of a bench, one set for each setting, as SVG."""

import math
from collections.abc import Mapping, Sequence

import polars as pl

from optidel.benchmark.settings import Choice, Setting
from optidel.benchmark.statistics import REFERENCES, rank_rows
from optidel.charts import Point, Series, Whisker, colour_of, lines, whiskers
from optidel.charts.colours import COLOURS, GREY
from optidel.evaluation.entropies import Entropy
from optidel.outcomes import Outcome
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM, UNTRAINED

POINTS = 100.0  # figures are in per cent, as the tables of papers are

# Methods share their budgets. On the logarithmic axis each stands this factor beside the next, which is the
# width of a marker.
APART = 1.04

LEAST_COST = 1e-3  # seconds or images that a logarithmic axis shows for nothing

Colours = Mapping[str, str]


def figures(
    setting: Setting, table: pl.DataFrame, compared: pl.DataFrame, measured: Mapping[Choice, Entropy]
) -> dict[str, str]:
    """Name to SVG; only what there is data for.

    Args:
        setting: the scores.
        table: of :func:`~optidel.benchmark.statistics.method_rows`.
        compared: of :func:`~optidel.benchmark.statistics.comparison_rows`.
        measured: of :func:`~optidel.benchmark.entropy.entropies`.
    """
    colours = colour_of(list(dict.fromkeys(table["method"])))
    first, _ = setting.outcomes
    in_points = pl.col(first.name, f"{first.name}_low", f"{first.name}_high") * POINTS
    table = table.with_columns(in_points)
    label = f"{first.label}, %"

    charts: dict[str, str] = {}
    if any(0 < budget < 1 for _, budget in measured):
        charts["entropy"] = _entropies(measured, colours)
    if setting.budgets:
        charts[first.name] = _against_budget(table, colours, first.name, label, across=True)
        if table["normdel"].null_count() < table.height:
            charts["normdel"] = _against_budget(table, colours, "normdel", "NormDEL")
        charts["pareto-images"] = _pareto(table, colours, first, "n_images", "pre-training images")
        seconds = "seconds of selection and pre-training"
        charts["pareto-seconds"] = _pareto(table, colours, first, "seconds", seconds)
    for reference in dict.fromkeys(compared["reference"]):
        rows = compared.filter(pl.col("reference") == reference)
        charts[f"difference-{reference}"] = _differences(rows, reference, colours, first.label)
    for budget in setting.budgets:
        ranks = rank_rows(setting, budget)
        if ranks["seed"].n_unique() > 1 and ranks["method"].n_unique() > 1:
            charts[f"ranks-{100 * budget:g}"] = _ranks(ranks, colours, budget)
    return charts


def _entropies(measured: Mapping[Choice, Entropy], colours: Colours) -> str:
    """Held-out H of each method over its budgets; full across."""
    # Full stands across, and an untrained encoder would push all others together.
    curves = {choice: entropy for choice, entropy in measured.items() if 0 < choice[1] < 1}
    methods = list(dict.fromkeys(method for method, _ in curves))
    series = []
    full = measured.get((FULL, 1.0))
    if full:
        point = Point(x=1.0, y=full.mean)
        series.append(Series(name=FULL, colour=COLOURS[FULL], points=[point], across=True, dashed=True))
    for position, method in enumerate(methods):
        shift = APART ** (position - (len(methods) - 1) / 2)
        points = []
        for (name, budget), entropy in sorted(curves.items(), key=lambda item: item[0][1]):
            if name == method:
                points.append(_entropy_point(method, budget, entropy, shift))
        series.append(Series(name=method, colour=colours[method], points=points, shape=position))

    ticks = [(budget, percent(budget)) for budget in sorted({budget for _, budget in curves})]
    label = "held-out H, nats per value (lower is better)"
    return lines(series, "budget", label, log=True, ticks=ticks, zoom=True)


def _entropy_point(method: str, budget: float, entropy: Entropy, shift: float) -> Point:
    interval = entropy.interval
    return Point(
        x=budget * shift,
        y=entropy.mean,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        title=f"{method} {percent(budget)}: {entropy.mean:.4f}",
    )


def _differences(compared: pl.DataFrame, reference: str, colours: Colours, label: str) -> str:
    """A row a method and budget, the best of each budget on top."""
    names = ("difference", "difference_low", "difference_high", "joint_low", "joint_high")
    ordered = compared.with_columns(pl.col(names) * POINTS).sort(
        "budget", "difference", descending=[False, True]
    )
    rows = []
    for row in ordered.iter_rows(named=True):
        budget = percent(row["budget"])
        whisker = Whisker(
            name=f"{row['method']} {budget}",
            colour=colours[row["method"]],
            mean=row["difference"],
            low=row["difference_low"],
            high=row["difference_high"],
            outer_low=row["joint_low"],
            outer_high=row["joint_high"],
            group=budget,
        )
        rows.append(whisker)
    return whiskers(rows, f"points of {label} above {REFERENCES[reference]}; thick 95 %, thin jointly")


def _against_budget(
    table: pl.DataFrame, colours: Colours, column: str, label: str, *, across: bool = False
) -> str:
    """A line for each method over its budgets; untrained ones and full ``across``."""
    methods = [method for method in dict.fromkeys(table["method"]) if method not in (*UNTRAINED, FULL)]
    series = []
    if across:
        series = [_across(table, name, column) for name in (*UNTRAINED, FULL) if name in table["method"]]
    for position, method in enumerate(methods):
        shift = APART ** (position - (len(methods) - 1) / 2)
        rows = table.filter(pl.col("method") == method).sort("budget")
        points = [_budget_point(row, column, shift) for row in rows.iter_rows(named=True)]
        series.append(Series(name=method, colour=colours[method], points=points, shape=position))

    budgets = sorted(set(table.filter(pl.col("method").is_in(methods))["budget"]))
    ticks = [(budget, percent(budget)) for budget in budgets]
    return lines(series, "budget", label, log=True, ticks=ticks, zoom=True)


def _budget_point(row: Mapping[str, float], column: str, shift: float) -> Point:
    name = f"{row['method']} {percent(row['budget'])}"
    return Point(
        x=row["budget"] * shift,
        y=row[column],
        low=row.get(f"{column}_low"),
        high=row.get(f"{column}_high"),
        title=f"{name}: {row[column]:.4g}",
    )


def _across(table: pl.DataFrame, method: str, column: str) -> Series:
    rows = table.filter(pl.col("method") == method)
    point = Point(x=1.0, y=rows[column][0])
    return Series(name=method, colour=COLOURS.get(method, GREY), points=[point], across=True, dashed=True)


def _pareto(table: pl.DataFrame, colours: Colours, first: Outcome, column: str, label: str) -> str:
    """Every method and budget, and the front: what no other beats with as little."""
    seconds = pl.col("seconds_select") + pl.col("seconds_train")
    trained = table.filter(~pl.col("method").is_in(UNTRAINED))
    rows = trained.with_columns(seconds=seconds)
    names: dict[tuple[float, float], str] = {}
    points: dict[str, list[Point]] = {}
    for row in rows.iter_rows(named=True):
        cost = max(row[column], LEAST_COST)
        name = f"{row['method']} {percent(row['budget'])}"
        score = row[first.name]
        names[cost, score] = name
        point = Point(x=cost, y=score, title=f"{name}: {score:.1f} for {cost:,.6g}")
        points.setdefault(row["method"], []).append(point)

    front = pareto_front(list(names))
    line = Series(
        name="front",
        colour=GREY,
        points=[Point(x=cost, y=value) for cost, value in front],
        dashed=True,
        bare=True,
        labels=[names[corner] for corner in front],
    )
    series = [line]
    for shape, (method, method_points) in enumerate(points.items()):
        series.append(
            Series(name=method, colour=colours[method], points=method_points, shape=shape, joined=False)
        )
    return lines(series, label, f"{first.label}, %", log=True)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, value) of which none costs as little and is worth as much, by rising cost.

    >>> pareto_front([(1, 0.5), (2, 0.4), (3, 0.6)])
    [(1, 0.5), (3, 0.6)]
    """
    front: list[tuple[float, float]] = []
    best = -math.inf
    # Of equal costs the most valuable first.
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if value > best:
            front.append((cost, value))
            best = value
    return front


def _ranks(ranks: pl.DataFrame, colours: Colours, budget: float) -> str:
    """The rank of every method for every seed; the best mean rank comes first in the legend."""
    means = ranks.group_by("method", maintain_order=True).agg(pl.col("rank").mean())
    series = []
    for shape, method in enumerate(means.sort("rank", maintain_order=True)["method"]):
        method_ranks = ranks.filter(pl.col("method") == method).sort("seed")
        points = [Point(x=seed, y=rank) for seed, rank in method_ranks.select("seed", "rank").iter_rows()]
        series.append(
            Series(name=method, colour=colours[method], points=points, shape=shape, dashed=method == RANDOM)
        )

    ticks = [(float(seed), str(seed)) for seed in sorted(ranks["seed"].unique())]
    label = f"seed, at {percent(budget)}"
    # Round numbers would be halves here, which are ranks of ties alone.
    whole = [(float(rank), str(rank)) for rank in range(1, len(series) + 1)]
    y_label = "rank, 1 the best"
    return lines(series, label, y_label, ticks=ticks, y_ticks=whole, height=300, downwards=True)
