"""The figures of a bench, one set for each setting, as SVG."""

from collections.abc import Sequence

import polars as pl

from optidel.benchmark.statistics import REFERENCES, Setting, rank_rows
from optidel.benchmark.svg import Bar, Point, Series, chart, whiskers
from optidel.report.figures import COLOURS, colour_of
from optidel.report.numbers import percent
from optidel.runs.baselines import FULL, RANDOM, SCRATCH

POINTS = 100.0
"""Per cent, as in the tables: a difference is in points."""

APART = 1.025
"""Methods share their budgets; on the logarithmic axis each is set this factor beside the next, so that none
hides another.
"""


def figures(setting: Setting, table: pl.DataFrame, compared: pl.DataFrame) -> dict[str, str]:
    """Name to SVG; only what there is data for.

    Args:
        setting: the scores.
        table: of :func:`~optidel.benchmark.statistics.method_rows`.
        compared: of :func:`~optidel.benchmark.statistics.comparison_rows`.
    """
    colours = colour_of(list(dict.fromkeys(table["method"])))
    table = table.with_columns(pl.col("miou", "miou_low", "miou_high") * POINTS)
    compared = compared.with_columns(
        pl.col("difference", "difference_low", "difference_high", "joint_low", "joint_high") * POINTS
    )
    found = {}
    if setting.budgets:
        found["miou"] = _against_budget(table, colours, "miou", "mIoU, %")
        found["normdel"] = _against_budget(table, colours, "normdel", "NormDEL")
        found["pareto-images"] = _pareto(table, colours, "n_images", "pre-training images")
        found["pareto-seconds"] = _pareto(table, colours, "seconds", "seconds of selection and pre-training")
    for reference in dict.fromkeys(compared["reference"]):
        rows = compared.filter(pl.col("reference") == reference).sort(
            "budget", "difference", descending=[False, True]
        )
        bars = [
            Bar(
                name=f"{row['method']} {percent(row['budget'])}",
                colour=colours[row["method"]],
                mean=row["difference"],
                low=row["difference_low"],
                high=row["difference_high"],
                outer_low=row["joint_low"],
                outer_high=row["joint_high"],
                group=percent(row["budget"]),
            )
            for row in rows.iter_rows(named=True)
        ]
        found[f"difference-{reference}"] = whiskers(
            bars,
            f"points of mIoU above {REFERENCES[reference]}: thick its own 95 % interval, thin all of a budget at once",
        )
    for budget in setting.budgets:
        ranks = rank_rows(setting, budget)
        if ranks["seed"].n_unique() > 1 and ranks["method"].n_unique() > 1:
            found[f"ranks-{100 * budget:g}"] = _ranks(ranks, colours, budget)
    return found


def _against_budget(table: pl.DataFrame, colours: dict[str, str], column: str, label: str) -> str:
    """A line for each method over its budgets; from scratch and full across."""
    methods = [method for method in dict.fromkeys(table["method"]) if method not in (SCRATCH, FULL)]
    series = [
        _across(table, name, column)
        for name in (SCRATCH, FULL)
        if name in table["method"] and column == "miou"
    ]
    for number, method in enumerate(methods):
        rows = table.filter(pl.col("method") == method).sort("budget")
        shift = APART ** (number - (len(methods) - 1) / 2)
        points = [
            Point(
                x=row["budget"] * shift,
                y=row[column],
                low=row.get(f"{column}_low"),
                high=row.get(f"{column}_high"),
            )
            for row in rows.iter_rows(named=True)
        ]
        series.append(Series(name=method, colour=colours[method], points=points))
    ticks = [
        (budget, percent(budget))
        for budget in sorted(set(table.filter(pl.col("method").is_in(methods))["budget"]))
    ]
    return chart(series, "budget", label, log=True, ticks=ticks)


def _across(table: pl.DataFrame, method: str, column: str) -> Series:
    value = table.filter(pl.col("method") == method)[column][0]
    return Series(
        name=method, colour=COLOURS[method], points=[Point(x=1.0, y=value)], across=True, dashed=True
    )


def _pareto(table: pl.DataFrame, colours: dict[str, str], column: str, label: str) -> str:
    """Every method and budget, and the front, the only one in words: what no other beats with as little."""
    rows = table.filter(pl.col("method") != SCRATCH).with_columns(
        seconds=pl.col("seconds_select") + pl.col("seconds_train")
    )
    places = {(max(row[column], 1e-3), row["miou"]): row for row in rows.iter_rows(named=True)}
    series = [
        Series(
            name=method,
            colour=colours[method],
            points=[Point(x=x, y=y) for (x, y), row in places.items() if row["method"] == method],
            joined=False,
        )
        for method in dict.fromkeys(rows["method"])
    ]
    front = pareto_front(list(places))
    labels = [f"{places[place]['method']} {percent(places[place]['budget'])}" for place in front]
    line = Series(
        name="front",
        colour=COLOURS[SCRATCH],
        points=[Point(x=x, y=y) for x, y in front],
        dashed=True,
        labels=labels,
        bare=True,
    )
    return chart([line, *series], label, "mIoU, %", log=True)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, value) of which none costs as little and is worth as much, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def _ranks(ranks: pl.DataFrame, colours: dict[str, str], budget: float) -> str:
    """Rank of each method for each seed; steady methods are level lines."""
    order = (
        ranks.group_by("method", maintain_order=True)
        .agg(pl.col("rank").mean())
        .sort("rank", maintain_order=True)["method"]
        .to_list()
    )
    series = [
        Series(
            name=method,
            colour=colours[method],
            points=[
                Point(x=x, y=y)
                for x, y in ranks.filter(pl.col("method") == method)
                .sort("seed")
                .select("seed", "rank")
                .iter_rows()
            ],
            dashed=method == RANDOM,
        )
        for method in order
    ]
    ticks = [(float(seed), str(seed)) for seed in sorted(ranks["seed"].unique())]
    return chart(series, f"seed, at {percent(budget)}", "rank, 1 the best", ticks=ticks, height=300)
