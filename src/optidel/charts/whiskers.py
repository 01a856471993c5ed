"""A row for each estimate: a dot, its interval, and where given a wider one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optidel.charts import svg
from optidel.charts.lines import BOTTOM, CHARACTER, TOP, WIDTH
from optidel.charts.scales import Axis, axis_of, number_text

ROW, GROUP = 27, 14
"""Height of a row, and what stands between groups of rows, px."""

RIGHT = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A row: a mean, its interval (thick) and, where given, the joint one (thin).

    Rows of another ``group`` than the one above stand apart. Without an interval the dot stands alone.
    """

    name: str
    colour: str
    mean: float
    low: float | None = None
    high: float | None = None
    outer_low: float | None = None
    outer_high: float | None = None
    group: str = ""
    title: str = ""


def whiskers(rows: Sequence[Whisker], x_label: str, *, reference: float | None = 0.0) -> str:
    """One row an estimate, the first on top.

    Args:
        rows: what is drawn.
        x_label: below the axis.
        reference: the value with a line of its own; None for none.
    """
    groups = list(dict.fromkeys(row.group for row in rows))
    height = TOP + BOTTOM + ROW * len(rows) + GROUP * max(0, len(groups) - 1)
    left = 20 + CHARACTER * max((len(row.name) for row in rows), default=0)
    axis = axis_of(_values(rows, reference), left, WIDTH - RIGHT)

    bottom = height - BOTTOM
    parts = []
    for value in axis.ticks():
        parts.append(svg.rule(axis(value), TOP, axis(value), bottom))
        parts.append(svg.text(axis(value), bottom + 19, number_text(value), "middle"))
    if reference is not None:
        x = axis(reference)
        parts.append(
            svg.line(x, TOP, x, bottom, 'stroke="currentColor" stroke-width="1.2" stroke-dasharray="2 3"')
        )

    for number, row in enumerate(rows):
        y = TOP + ROW / 2 + ROW * number + GROUP * groups.index(row.group)
        if number and rows[number - 1].group != row.group:
            parts.append(svg.rule(10, y - (ROW + GROUP) / 2, WIDTH - RIGHT, y - (ROW + GROUP) / 2))
        parts += _row(row, axis, y)
    parts.append(svg.text((axis.start + axis.end) / 2, height - 8, x_label, "middle"))
    return svg.picture(WIDTH, height, parts, x_label)


def _values(rows: Sequence[Whisker], reference: float | None) -> list[float]:
    """Every value that must be inside."""
    values = [] if reference is None else [reference]
    for row in rows:
        ends = (row.mean, row.low, row.high, row.outer_low, row.outer_high)
        values += [value for value in ends if value is not None and math.isfinite(value)]
    return values


def _row(row: Whisker, axis: Axis, y: float) -> list[str]:
    parts = [svg.text(axis.start - 12, y + 4.5, row.name, "end")]
    for low, high, width in ((row.outer_low, row.outer_high, 1.3), (row.low, row.high, 4)):
        # The interval of a single image is infinite, and no line shows it.
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
            stroke = f'stroke="{row.colour}" stroke-width="{width}"'
            parts.append(svg.line(axis(low), y, axis(high), y, stroke))
    title = row.title or f"{row.name}: {row.mean:.4g}"
    parts.append(svg.marker(axis(row.mean), y, row.colour, title=title))
    return parts
