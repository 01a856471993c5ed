"""Points with intervals, and lines through them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optidel.charts import svg
from optidel.charts.scales import Axis, axis_of

# Of the drawing, px: two stand side by side on a page of 1,280 px and stay readable.
WIDTH = 680

# Margins for numbers and titles of the axes, px.
LEFT, TOP, RIGHT, BOTTOM = 72, 14, 18, 46

# Height of a line of the legend, px.
LINE = 18

# Width of a character of 13 px, mean over the fonts that browsers take for system-ui.
CHARACTER = 7.2

# Width of a legend's key with its gaps, px.
KEY = 36

# Opacity of points that stand behind others.
FAINT = "0.45"

# Labels nearer than this to one another, px across and up, could not be read: the later one is left out.
LABEL_APART = (70, 15)

# Labelled values of an axis, and their texts.
Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place with, where known, its interval in y; ``title`` is what the pointer is told."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one name.

    They are ``joined`` by a line, which alone is drawn where ``bare``; a series ``across`` is one height over
    the whole width. ``labels`` stand beside the points. ``faint`` points stand behind; a series without a
    ``legend`` belongs to another one of its name.
    """

    name: str
    colour: str
    points: Sequence[Point]
    shape: int = 0
    joined: bool = True
    across: bool = False
    dashed: bool = False
    bare: bool = False
    faint: bool = False
    legend: bool = True
    labels: Sequence[str] = ()


def lines(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    log: bool = False,
    log_y: bool = False,
    ticks: Ticks = (),
    y_ticks: Ticks = (),
    height: int = 400,
    zoom: bool = False,
    downwards: bool = False,
) -> str:
    """Lines and points against x.

    Args:
        series: what is drawn, in the order of the legend.
        x_label: below the axis.
        y_label: beside it.
        log: a logarithmic x axis.
        log_y: a logarithmic y axis.
        ticks: values of x that are labelled, and their texts; by default round numbers.
        y_ticks: values of y that are labelled, and their texts; by default round numbers.
        height: in px; more where the legend needs it.
        zoom: whether the page's script lets people zoom in.
        downwards: y grows downwards, as ranks do.
    """
    names = [item.name for item in series if item.legend]
    # A single series needs no legend: the axis says what it is.
    room = KEY + CHARACTER * max(map(len, names)) if len(names) > 1 else 0
    height = max(height, TOP + BOTTOM + LINE * len(names))
    right, bottom = WIDTH - RIGHT - room, height - BOTTOM

    inner = [point.x for item in series if not item.across for point in item.points]
    x_axis = axis_of(inner or [1.0], LEFT, right, log=log)
    start, end = (TOP, bottom) if downwards else (bottom, TOP)
    y_axis = axis_of(_heights(series), start, end, log=log_y)

    parts = _grid(x_axis, y_axis, ticks, y_ticks)
    parts.append(svg.text((LEFT + right) / 2, height - 8, x_label, "middle"))
    parts.append(svg.upright(14, (TOP + bottom) / 2, y_label))
    # Faint points stand behind all others.
    ordered = sorted(series, key=lambda item: not item.faint)
    marks = [mark for item in ordered for mark in _marks(item, x_axis, y_axis)]
    parts.append(_group("marks", marks))
    if room:
        parts += _legend(series, right + 14)

    label = f"{y_label} against {x_label}"
    zoomable = _zoom_attributes(x_axis, y_axis) if zoom else {}
    return svg.picture(WIDTH, height, parts, label, **zoomable)


def _heights(series: Sequence[Series]) -> list[float]:
    """Every y that must be inside: points and the ends of their intervals."""
    values = []
    for item in series:
        for point in item.points:
            ends = (point.y, point.low, point.high)
            # The interval of a single image is infinite, and no axis holds it.
            values += [value for value in ends if value is not None and math.isfinite(value)]
    return values


def _grid(x_axis: Axis, y_axis: Axis, ticks: Ticks, y_ticks: Ticks) -> list[str]:
    """Horizontal rules with their numbers, and the numbers along x."""
    rows = []
    for value, number in y_ticks or y_axis.labels():
        y = y_axis(value)
        rows.append(svg.rule(x_axis.start, y, x_axis.end, y))
        rows.append(svg.text(x_axis.start - 8, y + 4.5, number, "end"))
    bottom = max(y_axis.start, y_axis.end)
    columns = _x_numbers(x_axis, bottom, ticks)
    # The script replaces both groups where people zoom in.
    return [_group("grid-y", rows), _group("grid-x", columns)]


def _group(name: str, parts: Sequence[str]) -> str:
    """Elements that the script finds by the name of their group."""
    content = "".join(parts)
    return f'<g class="{name}">{content}</g>'


def _x_numbers(x_axis: Axis, bottom: float, ticks: Ticks) -> list[str]:
    """The numbers along x, as far as they do not stand on one another."""
    columns = []
    free_from = -math.inf
    for value, content in ticks or x_axis.labels():
        x = x_axis(value)
        half = CHARACTER * len(content) / 2
        if x - half > free_from:
            columns.append(svg.text(x, bottom + 19, content, "middle"))
            free_from = x + half + 4
    return columns


def _marks(item: Series, x_axis: Axis, y_axis: Axis) -> list[str]:
    """The line, the intervals and the markers of a series."""
    # The script stretches lines where people zoom in, and their width must stay.
    stroke = {**_stroke(item), "fill": "none", "vector_effect": "non-scaling-stroke"}
    if item.across and item.points:
        y = y_axis(item.points[0].y)
        title = _title(item, item.points[0])
        return [svg.line(x_axis.start, y, x_axis.end, y, title, stroke_width=1.6, **stroke)]

    parts = []
    if item.joined and len(item.points) > 1:
        parts.append(_polyline(item, x_axis, y_axis, stroke))
    if not item.bare:
        for point in item.points:
            parts += _point_marks(item, point, x_axis, y_axis, stroke)
    return parts + _labels(item, x_axis, y_axis)


def _stroke(item: Series) -> dict[str, Any]:
    """The colour of a line, and its dashes."""
    stroke: dict[str, Any] = {"stroke": item.colour}
    if item.dashed:
        stroke["stroke_dasharray"] = "5 4"
    return stroke


def _polyline(item: Series, x_axis: Axis, y_axis: Axis, stroke: Mapping[str, Any]) -> str:
    path = " ".join(f"{x_axis(point.x):.1f},{y_axis(point.y):.1f}" for point in item.points)
    # The script names the vertices of a line that has no markers.
    name = {"data_name": item.name} if item.bare else {}
    return svg.element("polyline", points=path, stroke_width=1.7, **stroke, **name)


def _point_marks(
    item: Series, point: Point, x_axis: Axis, y_axis: Axis, stroke: Mapping[str, Any]
) -> list[str]:
    """The interval of a point, and its marker above it."""
    x, y = x_axis(point.x), y_axis(point.y)
    parts = []
    if point.low is not None and point.high is not None and math.isfinite(point.high - point.low):
        low, high = y_axis(point.low), y_axis(point.high)
        parts.append(svg.line(x, low, x, high, stroke_width=1.4, **stroke))
    opacity = {"opacity": FAINT} if item.faint else {}
    parts.append(svg.marker(x, y, item.colour, item.shape, _title(item, point), **opacity))
    return parts


def _title(item: Series, point: Point) -> str:
    """What the pointer is told of a point."""
    return point.title or f"{item.name}: {point.y:.4g}"


def _labels(item: Series, x_axis: Axis, y_axis: Axis) -> list[str]:
    """Labels beside the points, as far as they do not cover one another."""
    parts: list[str] = []
    labelled: list[tuple[float, float]] = []
    for point, label in zip(item.points, item.labels, strict=False):
        x, y = x_axis(point.x), y_axis(point.y)
        if _is_crowded(x, y, labelled):
            continue
        labelled.append((x, y))
        # Near the right edge a label would run out of the chart.
        fits = x + 8 + CHARACTER * len(label) < x_axis.end
        shift, anchor = (8, "start") if fits else (-8, "end")
        parts.append(svg.text(x + shift, y - 7, label, anchor, **{"class": "tag"}))
    return parts


def _is_crowded(x: float, y: float, labelled: Sequence[tuple[float, float]]) -> bool:
    """Whether a label here would cover one that stands already."""
    across, up = LABEL_APART
    near = []
    for other_x, other_y in labelled:
        aside, above = abs(x - other_x), abs(y - other_y)
        near.append(aside < across and above < up)
    return any(near)


def _legend(series: Sequence[Series], left: float) -> list[str]:
    """A key and a name for each series, below one another."""
    parts = []
    entries = [item for item in series if item.legend]
    for number, item in enumerate(entries):
        y = TOP + 8 + LINE * number
        if item.joined or item.across:
            parts.append(svg.line(left, y, left + 20, y, stroke_width=2, **_stroke(item)))
        if not item.bare and not item.across:
            parts.append(svg.marker(left + 10, y, item.colour, item.shape))
        parts.append(svg.text(left + 26, y + 4.5, item.name))
    return parts


def _zoom_attributes(x_axis: Axis, y_axis: Axis) -> dict[str, str]:
    """What the page's script needs to name values: the ends of the axes in px and in values."""
    x_text, y_text = _axis_text(x_axis), _axis_text(y_axis)
    return {"data_x": x_text, "data_y": y_text}


def _axis_text(axis: Axis) -> str:
    pixels = f"{axis.start:.1f} {axis.end:.1f}"
    return f"{pixels} {axis.low!r} {axis.high!r} {int(axis.log)}"
