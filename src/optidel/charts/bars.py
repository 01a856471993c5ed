"""Counts as bars: a histogram of one or more parts, and shares of a whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optidel.charts import svg
from optidel.charts.lines import BOTTOM, CHARACTER, LEFT, LINE, RIGHT, TOP, WIDTH
from optidel.charts.scales import Axis, number_text, round_ticks

# Share of a bin that stays empty between two bars.
GAP = 0.08

# The axis goes on a little behind the longest bar.
HEADROOM = 1.05

# Height of a horizontal bar with its gap, px.
ROW = 28


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
    parts: Sequence[Bin],
    edges: Sequence[float],
    x_label: str,
    y_label: str,
    *,
    height: int = 300,
    log: bool = False,
    cut: float | None = None,
    root: bool = False,
) -> str:
    """Bars over a common axis, the first part behind the others.

    Args:
        parts: counts (k,) of each part.
        edges: (k + 1,) of the bins, rising.
        x_label: below the axis.
        y_label: beside it.
        height: in px.
        log: a logarithmic x axis.
        cut: a value of x that is marked by a dashed line.
        root: heights are square roots of counts, so that a few items are seen beside many.
    """
    top = TOP + LINE if len(parts) > 1 else TOP
    bottom = height - BOTTOM
    most = max((count for part in parts for count in part.counts), default=1)
    ends = [math.log10(edge) for edge in (edges[0], edges[-1])] if log else [edges[0], edges[-1]]
    x_axis = Axis(low=ends[0], high=ends[1], start=LEFT, end=WIDTH - RIGHT, log=log)
    y_axis = CountAxis(most=max(most, 1), start=bottom, end=top, root=root)

    marks = _grid(x_axis, y_axis)
    for part in parts:
        marks += _bars(part, edges, x_axis, y_axis)
    if cut is not None and edges[0] <= cut <= edges[-1]:
        x = x_axis(cut)
        dashes = {"stroke": "currentColor", "stroke_width": 1.6, "stroke_dasharray": "5 3"}
        marks.append(svg.line(x, top, x, bottom, f"threshold {cut:.3g}", **dashes))
    if len(parts) > 1:
        marks += _legend(parts)
    marks.append(svg.text((x_axis.start + x_axis.end) / 2, height - 8, x_label, "middle"))
    marks.append(svg.upright(14, (top + bottom) / 2, y_label))
    return svg.picture(WIDTH, height, marks, f"histogram of {x_label}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountAxis:
    """An axis of counts from 0 to a little over ``most``, from ``start`` up to ``end`` px."""

    most: int
    start: float
    end: float
    root: bool

    def __call__(self, count: float) -> float:
        """The height of a count, px."""
        share = count / self.most
        if self.root:
            share = math.sqrt(share)
        length = self.end - self.start
        return self.start + share * length / HEADROOM

    def ticks(self) -> list[int]:
        """Whole counts: there is no half of a frame."""
        if self.root:
            # Square roots press large counts together: powers of ten are far enough apart.
            digits = len(str(self.most))
            powers = [10**digit for digit in range(digits)]
            return [0, *powers]
        values = round_ticks(0, HEADROOM * self.most)
        return [int(value) for value in values if value.is_integer()]


def _grid(x_axis: Axis, y_axis: CountAxis) -> list[str]:
    """Rules at whole counts, and the numbers of both axes."""
    marks = []
    free_below = math.inf
    for count in y_axis.ticks():
        y = y_axis(count)
        marks.append(svg.rule(x_axis.start, y, x_axis.end, y))
        if y < free_below:  # two numbers on one another cannot be read
            marks.append(svg.text(x_axis.start - 8, y + 4.5, number_text(count), "end"))
            free_below = y - LINE
    for value, number in x_axis.labels():
        marks.append(svg.text(x_axis(value), y_axis.start + 19, number, "middle"))
    return marks


def _bars(part: Bin, edges: Sequence[float], x_axis: Axis, y_axis: CountAxis) -> list[str]:
    marks = []
    for count, low, high in zip(part.counts, edges[:-1], edges[1:], strict=True):
        if not count:
            continue
        left, right = x_axis(low), x_axis(high)
        top = y_axis(count)
        height = y_axis.start - top
        gap = GAP * (right - left)
        width = right - left - gap
        title = f"{part.name}, {low:.3g} to {high:.3g}: {count:,}"
        marks.append(svg.rectangle(left + gap / 2, top, width, height, part.colour, title))
    return marks


def _legend(parts: Sequence[Bin]) -> list[str]:
    """Keys in one line above the bars."""
    marks = []
    x = float(LEFT)
    for part in parts:
        marks.append(svg.rectangle(x, TOP - 8, 12, 12, part.colour))
        marks.append(svg.text(x + 18, TOP + 2.5, part.name))
        x += 40 + CHARACTER * len(part.name)
    return marks


def shares(rows: Sequence[Share], colour: str, x_label: str) -> str:
    """A horizontal bar for each row, from zero, the first on top."""
    bottom = TOP + ROW * max(len(rows), 1)
    left = 20 + CHARACTER * max((len(row.name) for row in rows), default=0)
    room = 12 + CHARACTER * max((len(row.label) for row in rows), default=0)
    most = max((row.value for row in rows), default=1.0) or 1.0
    axis = Axis(low=0.0, high=HEADROOM * most, start=left, end=WIDTH - RIGHT - room)

    marks = []
    for value, number in axis.labels():
        x = axis(value)
        marks.append(svg.rule(x, TOP, x, bottom))
        marks.append(svg.text(x, bottom + 19, number, "middle"))
    for order, row in enumerate(rows):
        marks += _share(row, colour, axis, TOP + ROW * order)

    height = bottom + BOTTOM
    marks.append(svg.text((axis.start + axis.end) / 2, height - 8, x_label, "middle"))
    return svg.picture(WIDTH, height, marks, x_label)


def _share(row: Share, colour: str, axis: Axis, top: float) -> list[str]:
    """A bar with its name before it and its label behind it."""
    end = axis(row.value)
    middle = top + ROW / 2 + 4.5
    title = row.title or row.name
    return [
        svg.text(axis.start - 12, middle, row.name, "end"),
        svg.rectangle(axis.start, top + 4, end - axis.start, ROW - 8, colour, title),
        svg.text(end + 7, middle, row.label),
    ]
