"""Two pages about pictures alone: the audit of a corpus, and the pairs of a leak check. Both open without a
network.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from optidel.charts import SCRIPT, STYLE, Bin
from optidel.charts import histogram as bar_chart
from optidel.charts.colours import COLOURS
from optidel.remote import Root
from optidel.report.pictures import Tile
from optidel.report.templates import environment
from optidel.store import make_folder, replacing

# Bars of a histogram.
BINS = 48

HEIGHT = 220  # px of a histogram: two stand side by side, four below one another on a screen
LEAST = 1e-6  # what a logarithmic axis shows for nothing
COLOUR = COLOURS["optidel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """One measure of every frame as a chart, and from where on a frame is marked.

    ``side`` is that of the marked frames: "under" or "over".
    """

    name: str
    svg: str
    threshold: str
    side: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Frames that bear one mark, the worst first; ``rule`` says from where on a frame is marked."""

    name: str
    rule: str
    count: int
    of: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Pictures that are the same, or nearly."""

    title: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table or of the header."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page shows; empty parts are left out."""

    kind: str
    title: str
    verdict: tuple[str, ...]
    facts: tuple[Line, ...]
    counts: tuple[Line, ...]
    histograms: tuple[Histogram, ...]
    galleries: tuple[Gallery, ...]
    groups: tuple[Group, ...]
    groups_title: str
    groups_lead: str
    method: tuple[str, ...]


def folder_title(folder: Root) -> str:
    """The folder's name, with its parent's where it is called as in every labelled set."""
    return f"{folder.parent.name}/{folder.name}" if folder.name == "images" else folder.name


def write_page(page: Page, target: Path) -> Path:
    """Render to ``target``, whole or not at all."""
    template = environment().get_template("audit.html.j2")
    text = template.render(page=page, chart_style=Markup(STYLE), chart_script=Markup(SCRIPT))
    make_folder(target.parent)
    with replacing(target) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return target


def histogram(
    name: str,
    unit: str,
    values: Float[np.ndarray, "n"],
    threshold: float,
    side: str,
    logarithmic: bool = False,
) -> Histogram:
    """Count ``values`` in equal bins, of their logarithm where asked; the threshold is a dashed line.

    Heights are square roots of counts, so that a few frames are seen beside many.
    """
    counted = values.clip(LEAST) if logarithmic else values
    low, high = float(counted.min()), float(counted.max())
    if high <= low:
        high = low * 10 if logarithmic else low + 1  # equal values fill one bar
    edges = np.geomspace(low, high, BINS + 1) if logarithmic else np.linspace(low, high, BINS + 1)
    # Rounding must not push the largest value out of its bin.
    counts, _ = np.histogram(counted.clip(edges[0], edges[-1]), edges)
    part = Bin(name="frames", colour=COLOUR, counts=counts.tolist())
    svg = bar_chart(
        [part], edges.tolist(), unit, "frames", height=HEIGHT, log=logarithmic, cut=threshold, root=True
    )
    return Histogram(name=name, svg=svg, threshold=f"{threshold:g}", side=side)
