"""The elements of SVG that charts are made of. Ink follows the text colour of the page."""

from collections.abc import Sequence
from html import escape as escape

FONT = 'font-family="system-ui, Liberation Sans, Arial, sans-serif" font-size="13"'
LIGHT_INK, LIGHT_PAPER = "#1f2328", "#fff"

MARKERS = (
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z",
    "M-3.8-3.8h7.6v7.6h-7.6z",
    "M0-5.2L5.2 0L0 5.2L-5.2 0z",
    "M0-5L4.8 3.6H-4.8z",
    "M0 5L4.8-3.6H-4.8z",
    "M-1.5-4.6h3v3.1h3.1v3h-3.1v3.1h-3v-3.1h-3.1v-3h3.1z",
)
"""Circle, square, diamond, triangles and cross about the origin, px: colour alone does not tell methods apart."""


def text(x: float, y: float, content: str, anchor: str = "start", attributes: str = "") -> str:
    """A line of text in the ink of the page; ``anchor`` is start, middle or end."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor"{_spaced(attributes)}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, attributes: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{_spaced(attributes)}/>'


def rule(x1: float, y1: float, x2: float, y2: float) -> str:
    """A faint line of the grid."""
    return line(x1, y1, x2, y2, 'stroke="currentColor" stroke-opacity="0.15"')


def rectangle(x: float, y: float, width: float, height: float, attributes: str, title: str = "") -> str:
    """A filled rectangle; ``title`` is what the pointer is told."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f"<rect {place}{_spaced(attributes)}>{title_of(title)}</rect>"


def marker(x: float, y: float, colour: str, shape: int = 0, title: str = "", attributes: str = "") -> str:
    """A marker at a place; ``shape`` counts through :data:`MARKERS`."""
    path = MARKERS[shape % len(MARKERS)]
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return (
        f'<path class="dot" d="{path}" {place} fill="{colour}"{_spaced(attributes)}>{title_of(title)}</path>'
    )


def title_of(title: str) -> str:
    """The element that a browser shows at the pointer, where there is something to say."""
    return f"<title>{escape(title)}</title>" if title else ""


def upright(x: float, y: float, content: str) -> str:
    """A text that runs upwards, centred at a place."""
    return f'<g transform="translate({x:.1f} {y:.1f}) rotate(-90)">{text(0, 0, content, "middle")}</g>'


def picture(width: float, height: float, parts: Sequence[str], label: str, attributes: str = "") -> str:
    """A whole chart; ``label`` says to a reader who cannot see it what it shows."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {size} role="img" {FONT}'
    return f'{head} aria-label="{escape(label)}"{_spaced(attributes)}>{"".join(parts)}</svg>\n'


def standalone(chart: str) -> str:
    """The chart as a file of its own: dark ink on white, whatever page shows it."""
    style = f'style="color:{LIGHT_INK};background:{LIGHT_PAPER}"'
    return chart.replace("<svg ", f"<svg {style} ", 1)


def _spaced(attributes: str) -> str:
    return f" {attributes}" if attributes else ""
