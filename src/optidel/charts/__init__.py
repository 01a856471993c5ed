"""Charts as SVG: complete without a script; the pages' own few lines of script add tooltips and zoom."""

from pathlib import Path

from optidel.charts.bars import Bin, Share, histogram, shares
from optidel.charts.colours import colour_of
from optidel.charts.lines import Point, Series, lines
from optidel.charts.svg import standalone
from optidel.charts.whiskers import Whisker, whiskers

SCRIPT = (Path(__file__).parent / "charts.js").read_text(encoding="utf-8")
"""For a page that shows charts: tooltips at the pointer; where a chart can zoom, dragging a frame does."""

STYLE = (Path(__file__).parent / "charts.css").read_text(encoding="utf-8")

__all__ = [
    "SCRIPT",
    "STYLE",
    "Bin",
    "Point",
    "Series",
    "Share",
    "Whisker",
    "colour_of",
    "histogram",
    "lines",
    "shares",
    "standalone",
    "whiskers",
]
