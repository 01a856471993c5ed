"""A row for each estimate: a dot, its interval, and where given a wider one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optidel.charts import svg
from optidel.charts.lines import BOTTOM, CHARACTER, TOP, WIDTH
from optidel.charts.scales import Axis, axis_of

# Height of a row, and what stands between groups of rows, px.
ROW, GROUP = 27, 14

RIGHT = 24
THIN, THICK = 1.3, 4  # px, of the wider and of the narrower interval


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
    gaps = GROUP * max(0, len(groups) - 1)
    bottom = TOP + ROW * len(rows) + gaps
    longest = max((len(row.name) for row in rows), default=0)
    axis = axis_of(_values(rows, reference), 20 + CHARACTER * longest, WIDTH - RIGHT)

    parts = []
    for value, written in axis.labels():
        parts.append(svg.rule(axis(value), TOP, axis(value), bottom))
        parts.append(svg.text(axis(value), bottom + 19, written, "middle"))
    if reference is not None:
        x = axis(reference)
        dotted: dict[str, Any] = {"stroke": "currentColor", "stroke_width": 1.2, "stroke_dasharray": "2 3"}
        parts.append(svg.line(x, TOP, x, bottom, **dotted))

    above = rows[0].group if rows else ""
    for number, row in enumerate(rows):
        y = TOP + ROW / 2 + ROW * number + GROUP * groups.index(row.group)
        if row.group != above:
            between = y - (ROW + GROUP) / 2
            parts.append(svg.rule(10, between, WIDTH - RIGHT, between))
        parts += _row(row, axis, y)
        above = row.group

    height = bottom + BOTTOM
    parts.append(svg.text((axis.start + axis.end) / 2, height - 8, x_label, "middle"))
    return svg.picture(WIDTH, height, parts, x_label)


def _values(rows: Sequence[Whisker], reference: float | None) -> list[float]:
    """Every value that must be inside."""
    candidates = [reference]
    for row in rows:
        candidates += [row.mean, row.low, row.high]
        candidates += [row.outer_low, row.outer_high]
    return [value for value in candidates if value is not None and math.isfinite(value)]


def _row(row: Whisker, axis: Axis, y: float) -> list[str]:
    parts = [svg.text(axis.start - 12, y + 4.5, row.name, "end")]
    # The wider interval lies behind the narrower one.
    intervals = [(row.outer_low, row.outer_high, THIN), (row.low, row.high, THICK)]
    for low, high, width in intervals:
        # The interval of a single image is infinite, and no line shows it.
        if low is not None and high is not None and math.isfinite(high - low):
            start, end = axis(low), axis(high)
            parts.append(svg.line(start, y, end, y, stroke=row.colour, stroke_width=width))
    title = row.title or f"{row.name}: {row.mean:.4g}"
    parts.append(svg.marker(axis(row.mean), y, row.colour, title=title))
    return parts
