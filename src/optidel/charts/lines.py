"""Points with intervals, and lines through them."""

from collections.abc import Sequence
from dataclasses import dataclass

from optidel.charts import svg
from optidel.charts.scales import Axis, axis_of, number_text

WIDTH = 680
"""Of the drawing, px: two stand side by side on a page of 1,280 px and stay readable."""

LEFT, TOP, RIGHT, BOTTOM = 62, 14, 18, 46
"""Margins for numbers and titles of the axes, px."""

LINE = 18
"""Height of a line of the legend, px."""

CHARACTER = 7.2
"""Width of a character of 13 px, mean over the fonts that browsers take for system-ui."""

KEY = 36
"""Width of a legend's key with its gaps, px."""

LABEL_APART = (70, 15)
"""Labels nearer than this to one another, px across and up, could not be read: the later one is left out."""


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
    ticks: Sequence[tuple[float, str]] = (),
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
        height: in px; more where the legend needs it.
        zoom: whether the page's script lets people zoom in.
        downwards: y grows downwards, as ranks do.
    """
    names = [item.name for item in series if item.legend]
    keys = KEY + CHARACTER * max(map(len, names)) if len(names) > 1 else 0
    height = max(height, TOP + BOTTOM + LINE * len(names))
    right, bottom = WIDTH - RIGHT - keys, height - BOTTOM

    inner = [point.x for item in series if not item.across for point in item.points]
    x_axis = axis_of(inner or [1.0], LEFT, right, log=log)
    ends = (TOP, bottom) if downwards else (bottom, TOP)
    y_axis = axis_of(_heights(series), *ends, log=log_y)

    parts = _grid(x_axis, y_axis, ticks)
    parts.append(svg.text((LEFT + right) / 2, height - 8, x_label, "middle"))
    parts.append(svg.upright(14, (TOP + bottom) / 2, y_label))
    drawn_last_first = sorted(series, key=lambda item: not item.faint)
    parts.append('<g class="marks">')
    for item in drawn_last_first:
        parts += _marks(item, x_axis, y_axis)
    parts.append("</g>")
    if keys:
        parts += _legend(series, right + 14)

    label = f"{y_label} against {x_label}"
    return svg.picture(WIDTH, height, parts, label, _zoom_attributes(x_axis, y_axis) if zoom else "")


def _heights(series: Sequence[Series]) -> list[float]:
    """Every y that must be inside: points and the ends of their intervals."""
    values = []
    for item in series:
        for point in item.points:
            values += [value for value in (point.y, point.low, point.high) if value is not None]
    return values


def _grid(x_axis: Axis, y_axis: Axis, ticks: Sequence[tuple[float, str]]) -> list[str]:
    """Horizontal rules with their numbers, and the numbers along x."""
    bottom = max(y_axis.start, y_axis.end)
    parts = ['<g class="grid-y">']
    for value in y_axis.ticks():
        y = y_axis(value)
        parts.append(svg.rule(x_axis.start, y, x_axis.end, y))
        parts.append(svg.text(x_axis.start - 8, y + 4.5, number_text(value), "end"))
    parts.append('</g><g class="grid-x">')

    last = -100.0
    for value, content in ticks or [(value, number_text(value)) for value in x_axis.ticks()]:
        x, half = x_axis(value), CHARACTER * len(content) / 2
        if x - half > last:  # two numbers on one another cannot be read
            parts.append(svg.text(x, bottom + 19, content, "middle"))
            last = x + half + 4
    parts.append("</g>")
    return parts


def _marks(item: Series, x_axis: Axis, y_axis: Axis) -> list[str]:
    """The line, the intervals and the markers of a series."""
    dash = ' stroke-dasharray="5 4"' if item.dashed else ""
    stroke = f'stroke="{item.colour}" fill="none"{dash} vector-effect="non-scaling-stroke"'
    if item.across and item.points:
        y = y_axis(item.points[0].y)
        return [_titled_line(x_axis.start, y, x_axis.end, y, f'{stroke} stroke-width="1.6"', item)]

    parts = []
    if item.joined and len(item.points) > 1:
        path = " ".join(f"{x_axis(point.x):.1f},{y_axis(point.y):.1f}" for point in item.points)
        name = f'data-name="{svg.escape(item.name)}"' if item.bare else ""
        parts.append(f'<polyline points="{path}" stroke-width="1.7" {stroke} {name}/>')
    if item.bare:
        return parts + _labels(item, x_axis, y_axis)

    opacity = 'opacity="0.45"' if item.faint else ""
    for point in item.points:
        x, y = x_axis(point.x), y_axis(point.y)
        if point.low is not None and point.high is not None:
            parts.append(
                svg.line(x, y_axis(point.low), x, y_axis(point.high), f'stroke-width="1.4" {stroke}')
            )
        title = point.title or f"{item.name}: {point.y:.4g}"
        parts.append(svg.marker(x, y, item.colour, item.shape, title, opacity))
    return parts + _labels(item, x_axis, y_axis)


def _titled_line(x1: float, y1: float, x2: float, y2: float, attributes: str, item: Series) -> str:
    title = svg.title_of(item.points[0].title or f"{item.name}: {item.points[0].y:.4g}")
    plain = svg.line(x1, y1, x2, y2, attributes)
    return plain.replace("/>", f">{title}</line>")


def _labels(item: Series, x_axis: Axis, y_axis: Axis) -> list[str]:
    """Labels beside the points, as far as they do not cover one another."""
    parts: list[str] = []
    labelled: list[tuple[float, float]] = []
    for point, label in zip(item.points, item.labels, strict=False):
        x, y = x_axis(point.x), y_axis(point.y)
        across, up = LABEL_APART
        if any(abs(x - other_x) < across and abs(y - other_y) < up for other_x, other_y in labelled):
            continue
        labelled.append((x, y))
        # Near the right edge a label would run out of the chart.
        fits = x + 8 + CHARACTER * len(label) < x_axis.end
        parts.append(
            svg.text(x + 8 if fits else x - 8, y - 7, label, "start" if fits else "end", 'class="tag"')
        )
    return parts


def _legend(series: Sequence[Series], left: float) -> list[str]:
    """A key and a name for each series, below one another."""
    parts = []
    for number, item in enumerate(item for item in series if item.legend):
        y = TOP + 8 + LINE * number
        dash = ' stroke-dasharray="5 4"' if item.dashed else ""
        if item.joined or item.across:
            parts.append(svg.line(left, y, left + 20, y, f'stroke="{item.colour}" stroke-width="2"{dash}'))
        if not item.bare and not item.across:
            parts.append(svg.marker(left + 10, y, item.colour, item.shape, attributes='data-key=""'))
        parts.append(svg.text(left + 26, y + 4.5, item.name))
    return parts


def _zoom_attributes(x_axis: Axis, y_axis: Axis) -> str:
    """What the page's script needs to name values: the ends of the axes in px and in values."""
    parts = []
    for name, axis in (("x", x_axis), ("y", y_axis)):
        ends = f"{axis.start:.1f} {axis.end:.1f} {axis.low!r} {axis.high!r} {int(axis.log)}"
        parts.append(f'data-{name}="{ends}"')
    return " ".join(parts)
