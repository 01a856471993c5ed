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
        panel = table.filter((pl.col("angle") == angle) & (pl.col("rule") == rule))
        chart = lines(
            list(_curves(panel)), "fraction kept", "error on fresh examples", log=True, log_y=True, zoom=True
        )
        charts.append((f"{rule}, probe at {angle:g}°", chart))

    title = f"{table['experiment'][0]}: max-margin student after pruning"
    return page(title, "Points are simulated, with standard errors; lines are for infinite N.", charts)


def _curves(panel: pl.DataFrame) -> Iterator[Series]:
    """For each alpha the line of theory and the points of the simulation."""
    for number, ((alpha,), curve) in enumerate(panel.group_by("alpha_total", maintain_order=True)):
        name = f"α = {alpha:g}"
        colour = OTHERS[number % len(OTHERS)]
        theory = curve.select("keep", "analytic").iter_rows()
        simulated = curve.select("keep", "error", "standard_error").iter_rows()
        yield Series(
            name=name,
            colour=colour,
            points=[Point(x=keep, y=error) for keep, error in theory],
            bare=True,
            legend=False,
        )
        yield Series(
            name=name,
            colour=colour,
            shape=number,
            joined=False,
            # A logarithmic axis has no place for an error of 0.
            points=[_point(name, *row) for row in simulated if row[1] > 0],
        )


def _point(name: str, keep: float, error: float, spread: float) -> Point:
    return Point(
        x=keep,
        y=error,
        low=max(error - spread, LEAST_ERROR * error),
        high=error + spread,
        title=f"{name}, {100 * keep:.3g} % kept: {error:.4f}",
    )
