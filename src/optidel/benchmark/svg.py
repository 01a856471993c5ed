"""Plain SVG charts: points with intervals and lines, on a page as in a paper, without a script. Ink follows
the page's text colour.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 62, 176, 14, 46
Scale = Callable[[float], float]
FONT = 'font-family="system-ui, Liberation Sans, Arial, sans-serif" font-size="12.5"'
LINE = 17
"""Height of a line of the legend, px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place with, where known, its interval in y."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one name; ``joined`` by a line, which alone is drawn where ``bare``, ``across`` the whole
    width where there is one y only; ``labels`` stand beside the points."""

    name: str
    colour: str
    points: Sequence[Point]
    joined: bool = True
    across: bool = False
    dashed: bool = False
    bare: bool = False
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A row of a whisker chart: a mean, its own interval (thick) and, where given, the joint one (thin). Rows
    of another ``group`` than the one above stand apart."""

    name: str
    colour: str
    mean: float
    low: float
    high: float
    outer_low: float | None = None
    outer_high: float | None = None
    group: str = ""


def chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    log: bool = False,
    ticks: Sequence[tuple[float, str]] = (),
    height: int = 400,
) -> str:
    """Lines and points against x; y grows upwards unless its label begins with ``rank``.

    Args:
        series: what is drawn, in the order of the legend.
        x_label: below the axis.
        y_label: beside it.
        log: a logarithmic x axis.
        ticks: places of x and their texts; by default round numbers.
        height: in px.
    """
    points = [point for one in series for point in one.points]
    free = [point.x for one in series if not one.across for point in one.points]
    height = max(height, TOP + BOTTOM + LINE * len(series))
    scale = math.log10 if log else float
    x0, x1 = _range([scale(x) for x in free or [1.0]])
    y0, y1 = _range(
        [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    )
    flip = y_label.startswith("rank")
    bottom, top = (TOP, height - BOTTOM) if flip else (height - BOTTOM, TOP)

    def across(x: float) -> float:
        return LEFT + (scale(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return bottom + (y - y0) / (y1 - y0) * (top - bottom)

    parts = []
    for y in _round_ticks(y0, y1):
        parts.append(_rule(LEFT, up(y), WIDTH - RIGHT, up(y)) + _text(LEFT - 8, up(y) + 4, f"{y:g}", "end"))
    places = ticks or [(x, f"{x:,.10g}") for x in (_log_ticks(x0, x1) if log else _round_ticks(x0, x1))]
    for x, text in places:
        parts.append(_text(across(x), height - BOTTOM + 18, text, "middle"))
    for number, one in enumerate(series):
        parts.append(_series(one, across, up, TOP + 10 + LINE * number))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 8, x_label, "middle"))
    parts.append(
        f'<g transform="translate(14 {(height - BOTTOM) / 2:.1f}) rotate(-90)">{_text(0, 0, y_label, "middle")}</g>'
    )
    return _svg(height, parts)


def whiskers(bars: Sequence[Bar], x_label: str) -> str:
    """One row a bar, with zero marked."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    height = TOP + BOTTOM + 26 * len(bars) + 14 * max(0, len(groups) - 1)
    left = 20 + 7.2 * max((len(bar.name) for bar in bars), default=0)
    ends = [
        value
        for bar in bars
        for value in (bar.low, bar.high, bar.outer_low, bar.outer_high)
        if value is not None
    ]
    x0, x1 = _range([*ends, 0.0])

    def across(x: float) -> float:
        return left + (x - x0) / (x1 - x0) * (WIDTH - left - 24)

    parts = []
    for x in _round_ticks(x0, x1):
        parts.append(
            _rule(across(x), TOP, across(x), height - BOTTOM)
            + _text(across(x), height - BOTTOM + 18, f"{x:g}", "middle")
        )
    parts.append(
        f'<line x1="{across(0):.1f}" x2="{across(0):.1f}" y1="{TOP}" y2="{height - BOTTOM}" stroke="currentColor" stroke-width="1.2"/>'
    )
    for number, bar in enumerate(bars):
        y = TOP + 13 + 26 * number + 14 * groups.index(bar.group)
        if number and bars[number - 1].group != bar.group:
            parts.append(_rule(10, y - 20, WIDTH - 24, y - 20))
        for low, high, width in ((bar.outer_low, bar.outer_high, 1.2), (bar.low, bar.high, 4)):
            if low is not None and high is not None:
                parts.append(
                    f'<line x1="{across(low):.1f}" x2="{across(high):.1f}" y1="{y}" y2="{y}" stroke="{bar.colour}" stroke-width="{width}"/>'
                )
        parts.append(
            f'<circle cx="{across(bar.mean):.1f}" cy="{y}" r="5" fill="{bar.colour}"/>'
            + _text(left - 10, y + 4, bar.name, "end")
        )
    parts.append(_text((left + WIDTH - 24) / 2, height - 8, x_label, "middle"))
    return _svg(height, parts)


def _series(one: Series, across: Scale, up: Scale, legend: float) -> str:
    dash = ' stroke-dasharray="5 4"' if one.dashed else ""
    stroke = f'stroke="{one.colour}" fill="none"{dash}'
    parts = []
    if one.across and one.points:
        y = up(one.points[0].y)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke-width="1.5" {stroke}/>'
        )
    else:
        if one.joined and len(one.points) > 1:
            path = " ".join(f"{across(point.x):.1f},{up(point.y):.1f}" for point in one.points)
            parts.append(f'<polyline points="{path}" stroke-width="1.6" {stroke}/>')
        for number, point in enumerate(one.points):
            x, y = across(point.x), up(point.y)
            if point.low is not None and point.high is not None:
                parts.append(
                    f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{up(point.low):.1f}" y2="{up(point.high):.1f}" stroke-width="1.3" {stroke}/>'
                )
            if not one.bare:
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{one.colour}"/>')
            near = any(
                abs(x - across(other.x)) < 60 and abs(y - up(other.y)) < 14 for other in one.points[:number]
            )
            if number < len(one.labels) and not near:  # two labels on one another cannot be read
                # A label near the right edge would run into the legend.
                edge = x > LEFT + 0.8 * (WIDTH - LEFT - RIGHT)
                parts.append(
                    _text(x - 7 if edge else x + 7, y - 6, one.labels[number], "end" if edge else "start")
                )
    key = f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 32}" y1="{legend - 4}" y2="{legend - 4}" stroke-width="3" {stroke}/>'
    return "".join(parts) + key + _text(WIDTH - RIGHT + 38, legend, one.name, "start")


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis: the values and a twentieth on either side."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _round_ticks(low: float, high: float) -> list[float]:
    """Some five round numbers inside."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    first = math.ceil(low / step)
    return [round(step * number, 10) for number in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten inside 10^low … 10^high; the powers alone over three decades or
    more.
    """
    factors = (1, 2, 5) if high - low < 3 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    return [
        factor * 10.0**power
        for power in powers
        for factor in factors
        if low <= math.log10(factor) + power <= high
    ]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" stroke-opacity="0.15"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'


def standalone(picture: str) -> str:
    """The picture as a file of its own: dark ink on white, whatever page shows it."""
    return picture.replace("<svg ", '<svg style="color:#1f2328;background:#fff" ', 1)


def _svg(height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" {FONT}>'
    return head + "".join(parts) + "</svg>\n"
