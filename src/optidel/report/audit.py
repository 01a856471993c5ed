"""Two pages about pictures alone: the audit of a corpus, and the pairs of a leak check. Both open without a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from optidel.report.output import replacing
from optidel.report.pictures import Tile, picture_tile

BINS = 48
"""Bars of a histogram."""

Read = Callable[[Sequence[int]], dict[int, Image.Image]]
"""Rows of a corpus to pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bars of one measure: ``heights`` in [0, 1]; ``cut`` is the threshold's place in [0, 1] along the axis, None where outside."""

    name: str
    unit: str
    low: str
    high: str
    heights: tuple[float, ...]
    cut: float | None
    threshold: str


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
    groups_lead: str
    method: tuple[str, ...]


def write_page(page: Page, target: Path) -> Path:
    """Render to ``target``, whole or not at all."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("audit.html.j2").render(page=page)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return target


def histogram(name: str, unit: str, values: Float[np.ndarray, "n"], threshold: float | None, logarithmic: bool = False) -> Histogram:
    """Count ``values`` in equal bins, of their logarithm where asked; heights are square roots, so that a few frames are seen too."""
    shown = np.log10(values.clip(1e-6)) if logarithmic else values
    low, high = float(shown.min()), float(shown.max())
    high = high if high > low else low + 1
    counts = np.histogram(shown, BINS, (low, high))[0]
    cut = None if threshold is None else (float(np.log10(threshold)) if logarithmic else threshold)
    place = None if cut is None or not low <= cut <= high else (cut - low) / (high - low)
    edges = (10**low, 10**high) if logarithmic else (low, high)
    return Histogram(
        name=name,
        unit=unit,
        low=f"{edges[0]:.3g}",
        high=f"{edges[1]:.3g}",
        heights=tuple(np.sqrt(counts / counts.max()).round(4).tolist()),
        cut=place,
        threshold="" if threshold is None else f"{threshold:g}",
    )


def tile(picture: Image.Image, caption: str, note: str = "") -> Tile:
    """A picture for a gallery."""
    return picture_tile(picture, caption, note)


def to_picture(image: Any) -> Image.Image:
    """U8 (h, w, 3) as a picture."""
    return Image.fromarray(image)
