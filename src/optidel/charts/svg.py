"""The elements of SVG that charts are made of. Ink follows the text colour of the page."""

from collections.abc import Sequence
from html import escape

NAMESPACE = "http://www.w3.org/2000/svg"
FONT = {"font_family": "system-ui, Liberation Sans, Arial, sans-serif", "font_size": 13}
FAINT = "0.15"  # opacity of the grid: seen on both papers, and behind everything drawn on it
LIGHT_INK, LIGHT_PAPER = "#1f2328", "#fff"

# Circle, square, diamond, triangles and cross about the origin, px: colour alone does not tell methods
# apart.
MARKERS = (
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z",
    "M-3.8-3.8h7.6v7.6h-7.6z",
    "M0-5.2L5.2 0L0 5.2L-5.2 0z",
    "M0-5L4.8 3.6H-4.8z",
    "M0 5L4.8-3.6H-4.8z",
    "M-1.5-4.6h3v3.1h3.1v3h-3.1v3.1h-3v-3.1h-3.1v-3h3.1z",
)


def element(tag: str, content: str = "", **attributes: object) -> str:
    """An element with its attributes; an underscore in a name stands for a hyphen.

    Args:
        tag: the name of the element.
        content: SVG inside it.
        attributes: real numbers are rounded to a tenth of a pixel, texts are escaped.

    >>> element("line", x1=0.0, y1=2.345, stroke_width=2)
    '<line x1="0.0" y1="2.3" stroke-width="2"/>'
    """
    parts = [tag]
    for name, value in attributes.items():
        parts.append(_attribute(name, value))
    start = " ".join(parts)
    return f"<{start}>{content}</{tag}>" if content else f"<{start}/>"


def _attribute(name: str, value: object) -> str:
    content = str(value)
    if isinstance(value, float):
        content = f"{value:.1f}"
    name = name.replace("_", "-")
    escaped = escape(content)
    return f'{name}="{escaped}"'


def text(x: float, y: float, content: str, anchor: str = "start", **attributes: object) -> str:
    """A line of text, by default in the ink of the page; ``anchor`` is start, middle or end."""
    position = {"x": float(x), "y": float(y)}
    looks: dict[str, object] = {"text_anchor": anchor, "fill": "currentColor"} | attributes
    escaped = escape(content)
    return element("text", escaped, **position, **looks)


def line(x1: float, y1: float, x2: float, y2: float, title: str = "", **attributes: object) -> str:
    """A straight line; ``title`` is what the pointer is told."""
    start = {"x1": float(x1), "y1": float(y1)}
    end = {"x2": float(x2), "y2": float(y2)}
    content = title_of(title)
    return element("line", content, **start, **end, **attributes)


def rule(x1: float, y1: float, x2: float, y2: float) -> str:
    """A faint line of the grid."""
    ink = {"stroke": "currentColor", "stroke_opacity": FAINT}
    return line(x1, y1, x2, y2, **ink)


def rectangle(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    """A filled rectangle; ``title`` is what the pointer is told."""
    corner = {"x": float(x), "y": float(y)}
    # Rounding may leave a bar without a width a little below zero.
    width, height = max(float(width), 0.0), max(float(height), 0.0)
    content = title_of(title)
    return element("rect", content, **corner, width=width, height=height, fill=fill)


def marker(x: float, y: float, colour: str, shape: int = 0, title: str = "", **attributes: object) -> str:
    """A marker at a place; ``shape`` counts through :data:`MARKERS`."""
    path = MARKERS[shape % len(MARKERS)]
    # Placed by a transform, so that the page's script can move it without knowing its form.
    position = f"translate({x:.1f} {y:.1f})"
    looks = {"class": "dot", "d": path, "transform": position, "fill": colour}
    content = title_of(title)
    return element("path", content, **looks, **attributes)


def title_of(title: str) -> str:
    """The element that a browser shows at the pointer, where there is something to say."""
    if not title:
        return ""
    return element("title", escape(title))


def upright(x: float, y: float, content: str) -> str:
    """A text that runs upwards, centred at a place."""
    position = f"translate({x:.1f} {y:.1f})"
    turned = f"{position} rotate(-90)"
    inner = text(0, 0, content, "middle")
    return element("g", inner, transform=turned)


def picture(width: int, height: int, parts: Sequence[str], label: str, **attributes: object) -> str:
    """A whole chart; ``label`` says to a reader who cannot see it what it shows."""
    box = f"0 0 {width} {height}"
    size = {"viewBox": box, "width": width, "height": height}
    looks = {"xmlns": NAMESPACE, "class": "chart", "role": "img", "aria_label": label, **FONT}
    content = "".join(parts)
    chart = element("svg", content, **looks, **size, **attributes)
    return chart + "\n"


def standalone(chart: str) -> str:
    """The chart as a file of its own: dark ink on white, whatever page shows it."""
    colours = f"color:{LIGHT_INK};background:{LIGHT_PAPER}"
    start = f'<svg style="{colours}" '
    return chart.replace("<svg ", start, 1)
