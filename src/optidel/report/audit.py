"""Two pages about pictures alone: the audit of a corpus, and the pairs of a leak check. Both open without a
network.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from optidel.report.pictures import Tile
from optidel.report.templates import environment
from optidel.store import make_folder, replacing

BINS = 48
"""Bars of a histogram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bars of one measure: ``heights`` in [0, 1]; ``cut`` is the threshold's place in [0, 1] along the axis,
    None where outside.

    ``side`` is that of the marked frames: "under" or "over".
    """

    name: str
    unit: str
    low: str
    high: str
    heights: tuple[float, ...]
    cut: float | None
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


def folder_title(folder: Path) -> str:
    """The folder's name, with its parent's where it is called as in every labelled set."""
    return f"{folder.parent.name}/{folder.name}" if folder.name == "images" else folder.name


def write_page(page: Page, target: Path) -> Path:
    """Render to ``target``, whole or not at all."""
    text = environment().get_template("audit.html.j2").render(page=page)
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
    """Count ``values`` in equal bins, of their logarithm where asked; heights are square roots, so that a few
    frames are seen too.
    """
    shown = np.log10(values.clip(1e-6)) if logarithmic else values
    low, high = float(shown.min()), float(shown.max())
    high = high if high > low else low + 1
    counts = np.histogram(shown, BINS, (low, high))[0]
    cut = float(np.log10(max(threshold, 1e-6))) if logarithmic else threshold
    place = (cut - low) / (high - low) if low <= cut <= high else None
    edges = (10**low, 10**high) if logarithmic else (low, high)
    return Histogram(
        name=name,
        unit=unit,
        low=f"{edges[0]:.3g}",
        high=f"{edges[1]:.3g}",
        heights=tuple(np.sqrt(counts / counts.max()).round(4).tolist()),
        cut=place,
        threshold=f"{threshold:g}",
        side=side,
    )
