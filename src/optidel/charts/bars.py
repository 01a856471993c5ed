"""Counts as bars: a histogram of one or more parts, and shares of a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

from optidel.charts import svg
from optidel.charts.lines import BOTTOM, CHARACTER, LEFT, LINE, RIGHT, TOP, WIDTH
from optidel.charts.scales import Axis, axis_of, number_text

GAP = 0.08
"""Share of a bin that stays empty between two bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Counts of one part of the items, in the bins that all parts share."""

    name: str
    colour: str
    counts: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A row of a bar chart: its length, and what stands behind the bar."""

    name: str
    value: float
    label: str
    title: str = ""


def histogram(
    parts: Sequence[Bin], edges: Sequence[float], x_label: str, y_label: str, height: int = 300
) -> str:
    """Bars over a common axis, the first part behind the others.

    Args:
        parts: counts (k,) of each part.
        edges: (k + 1,) of the bins, rising.
        x_label: below the axis.
        y_label: beside it.
        height: in px.
    """
    top = TOP + (LINE if len(parts) > 1 else 0)
    bottom = height - BOTTOM
    x_axis = Axis(low=edges[0], high=edges[-1], start=LEFT, end=WIDTH - RIGHT)
    most = max((count for part in parts for count in part.counts), default=1)
    y_axis = Axis(low=0, high=1.05 * max(most, 1), start=bottom, end=top)

    drawn = []
    for value in y_axis.ticks():
        if value == int(value):  # counts are whole
            drawn.append(svg.rule(LEFT, y_axis(value), WIDTH - RIGHT, y_axis(value)))
            drawn.append(svg.text(LEFT - 8, y_axis(value) + 4.5, number_text(value), "end"))
    for value in x_axis.ticks():
        drawn.append(svg.text(x_axis(value), bottom + 19, number_text(value), "middle"))
    for part in parts:
        drawn += _bars(part, edges, x_axis, y_axis)
    if len(parts) > 1:
        drawn += _legend(parts)
    drawn.append(svg.text((LEFT + WIDTH - RIGHT) / 2, height - 8, x_label, "middle"))
    drawn.append(svg.upright(14, (top + bottom) / 2, y_label))
    return svg.picture(WIDTH, height, drawn, f"histogram of {x_label}")


def _bars(part: Bin, edges: Sequence[float], x_axis: Axis, y_axis: Axis) -> list[str]:
    drawn = []
    for count, low, high in zip(part.counts, edges[:-1], edges[1:], strict=True):
        if not count:
            continue
        x, width, y = x_axis(low), x_axis(high) - x_axis(low), y_axis(count)
        title = f"{part.name}, {low:.3g} to {high:.3g}: {count:,}"
        fill = f'fill="{part.colour}"'
        drawn.append(svg.rectangle(x + GAP / 2 * width, y, (1 - GAP) * width, y_axis.start - y, fill, title))
    return drawn


def _legend(parts: Sequence[Bin]) -> list[str]:
    """Keys in one line above the bars."""
    drawn, x = [], float(LEFT)
    for part in parts:
        drawn.append(svg.rectangle(x, TOP - 8, 12, 12, f'fill="{part.colour}"'))
        drawn.append(svg.text(x + 18, TOP + 2.5, part.name))
        x += 18 + CHARACTER * len(part.name) + 22
    return drawn


def shares(rows: Sequence[Share], colour: str, x_label: str) -> str:
    """A horizontal bar for each row, from zero, the first on top."""
    row_height = 28
    height = TOP + BOTTOM + row_height * max(len(rows), 1)
    left = 20 + CHARACTER * max((len(row.name) for row in rows), default=0)
    room = 12 + CHARACTER * max((len(row.label) for row in rows), default=0)
    axis = axis_of([0.0, *(row.value for row in rows)], left, WIDTH - RIGHT - room)
    axis = Axis(low=0.0, high=axis.high, start=axis.start, end=axis.end)

    bottom = height - BOTTOM
    drawn = []
    for value in axis.ticks():
        drawn.append(svg.rule(axis(value), TOP, axis(value), bottom))
        drawn.append(svg.text(axis(value), bottom + 19, number_text(value), "middle"))
    for number, row in enumerate(rows):
        y, end = TOP + row_height * number, axis(row.value)
        drawn.append(svg.text(left - 12, y + row_height / 2 + 4.5, row.name, "end"))
        fill = f'fill="{colour}"'
        drawn.append(svg.rectangle(left, y + 4, end - left, row_height - 8, fill, row.title or row.name))
        drawn.append(svg.text(end + 7, y + row_height / 2 + 4.5, row.label))
    drawn.append(svg.text((axis.start + axis.end) / 2, height - 8, x_label, "middle"))
    return svg.picture(WIDTH, height, drawn, x_label)
