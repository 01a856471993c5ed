"""Charts as SVG: complete without a script; the pages' own few lines of script add tooltips and zoom."""

from optidel.charts.bars import Bin, Share, histogram, shares
from optidel.charts.colours import colour_of
from optidel.charts.lines import Point, Series, lines
from optidel.charts.page import SCRIPT, STYLE, page
from optidel.charts.svg import standalone
from optidel.charts.whiskers import Whisker, whiskers

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
    "page",
    "shares",
    "standalone",
    "whiskers",
]
