"""The figure of a simulated experiment: error against the fraction kept."""

from collections.abc import Iterator

import polars as pl

from optidel.charts import Point, Series, lines, page
from optidel.charts.colours import OTHERS

LEAST_ERROR = 0.1  # of the mean: where an interval would reach below zero, the logarithmic axis ends it here


def figure(table: pl.DataFrame) -> str:
    """Draw one experiment, as a page that opens without a network.

    Simulations are points with standard errors, theory is lines.

    Args:
        table: as `run_experiment` returns it.

    Returns:
        HTML: a chart per angle and rule, a colour per alpha_total, both axes logarithmic.
    """
    charts = []
    for angle, rule in table.select("angle", "rule").unique(maintain_order=True).iter_rows():
        in_panel = (pl.col("angle") == angle) & (pl.col("rule") == rule)
        curves = list(_curves(table.filter(in_panel)))
        chart = lines(curves, "fraction kept", "error on fresh examples", log=True, log_y=True, zoom=True)
        caption = f"{rule}, probe at {angle:g}°"
        charts.append((caption, chart))

    experiment = table["experiment"][0]
    title = f"{experiment}: max-margin student after pruning"
    return page(title, "Points are simulated, with standard errors; lines are for infinite N.", charts)


def _curves(panel: pl.DataFrame) -> Iterator[Series]:
    """For each alpha the line of theory and the points of the simulation."""
    for number, ((alpha,), curve) in enumerate(panel.group_by("alpha_total", maintain_order=True)):
        name = f"α = {alpha:g}"
        colour = OTHERS[number % len(OTHERS)]
        theory = []
        for keep, error in curve.select("keep", "analytic").iter_rows():
            theory.append(Point(x=keep, y=error))
        # The points of the simulation stand for the curve in the legend.
        yield Series(name=name, colour=colour, points=theory, bare=True, legend=False)

        simulated = []
        for keep, error, spread in curve.select("keep", "error", "standard_error").iter_rows():
            # A logarithmic axis has no position for an error of 0.
            if error > 0:
                simulated.append(_point(name, keep, error, spread))
        yield Series(name=name, colour=colour, shape=number, joined=False, points=simulated)


def _point(name: str, keep: float, error: float, spread: float) -> Point:
    floor = LEAST_ERROR * error
    low = max(error - spread, floor)
    high = error + spread
    percent = 100 * keep
    title = f"{name}, {percent:.3g} % kept: {error:.4f}"
    return Point(x=keep, y=error, low=low, high=high, title=title)
