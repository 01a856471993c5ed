"""Contact sheets as PNG files, for documents: composites, refused key patches by reason, what each method
kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw, ImageFont

from optidel.errors import InputError
from optidel.records import Composite, from_table
from optidel.report.gallery import accepted, composite_image, spaced
from optidel.report.numbers import percent, plural
from optidel.report.pictures import Pictures
from optidel.runs.baselines import FULL
from optidel.runs.collect import read_run
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import replacing

CELL = 176
"""Side of a picture on a sheet, px."""

GAP = 10
TITLE = 42
INK, PAPER, FAINT = (28, 31, 36), (255, 255, 255), (102, 108, 118)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One titled row of pictures on a sheet; ``captions`` may be empty."""

    title: str
    pictures: Sequence[Image.Image]
    captions: Sequence[str]

    @property
    def line(self) -> int:
        """Height of one line of its grid, px."""
        return CELL + GAP + (18 if self.captions else 0)


def composites_sheet(run: Path, count: int = 18) -> Path:
    """Write RUN/composites.png: composites evenly spaced through those of the first seed.

    Raises:
        InputError: the run has composed nothing.
    """
    opened = read_run(run)
    cell = next((cell for cell in opened.examples if cell.compose is not None), None)
    if cell is None or cell.compose is None:
        raise InputError(
            f"the run {run} has no composites; run it with the method optidel (`optidel run … --methods optidel`)"
        )
    records = from_table(Composite, cell.compose.table("composites.parquet"))
    shown = [records[row] for row in spaced(len(records), count)]
    title = (
        f"{len(shown)} of {len(records)} composites, {cell.method} {percent(cell.budget)}, seed {cell.seed}"
    )
    band = Band(
        title=title, pictures=[composite_image(cell.compose, record) for record in shown], captions=[]
    )
    return _write([band], run / "composites.png", columns=6)


def refused_sheet(run: Path, each: int = 8) -> Path:
    """Write RUN/refused.png: refused key patches, a band for each reason, evenly spaced through the corpus.

    Raises:
        InputError: the run has no key patches, or refused none.
    """
    opened = read_run(run)
    if opened.patches is None:
        raise InputError(
            f"the run {run} has no key patches; run it with the method optidel, or `optidel patches`"
        )
    pictures, patches = Pictures(opened), opened.patches.table("patches.parquet")
    counts = patches["refused"].value_counts().sort("count", "refused", descending=[True, False])
    bands = []
    for reason, count in counts.filter(pl.col("refused") != "").iter_rows():
        found = patches.filter(pl.col("refused") == reason)
        rows = [found.row(row, named=True) for row in spaced(found.height, each)]
        crops = [pictures.crop(row["frame"], tuple(row["box"])) for row in rows]
        title = f"{reason}: {count:,} of {patches.height:,} proposed patches"
        bands.append(Band(title=title, pictures=crops, captions=[row["frame"] for row in rows]))
    if not bands:
        raise InputError(f"no key patch of the run {run} was refused; there is nothing to draw")
    return _write(bands, run / "refused.png", columns=each)


def selection_sheet(run: Path, each: int = 8) -> Path:
    """Write RUN/selection.png: the best ranked items that each method kept.

    Raises:
        InputError: the run has selected nothing.
    """
    opened = read_run(run)
    pictures, bands = Pictures(opened), []
    for cell in opened.examples:
        if cell.select is None or cell.method == FULL:
            continue
        summary = read_summary(cell.select, SelectSummary)
        kept = cell.select.table("selection.parquet").filter("kept").sort("rank").head(each)["item"].to_list()
        if summary.unit == "key patch":
            patches = accepted(opened)[kept]
            shown = [
                pictures.crop(frame, tuple(box)) for frame, box in patches.select("frame", "box").iter_rows()
            ]
            names = patches["frame"].to_list()
        else:
            shown = [pictures.frame(row) for row in kept]
            names = [pictures.record(row).id for row in kept]
        share = f"{summary.kept:,} of {summary.items:,} {plural(summary.unit)}"
        title = f"{cell.method} {percent(cell.budget)}: {share}, best ranked first"
        bands.append(Band(title=title, pictures=shown, captions=names))
    if not bands:
        raise InputError(f"the run {run} has selected nothing; use `optidel select` or `optidel run`")
    return _write(bands, run / "selection.png", columns=each)


def _write(bands: Sequence[Band], target: Path, columns: int) -> Path:
    sheet = _draw(bands, columns)
    with replacing(target) as scratch:
        sheet.save(scratch, "PNG")
    return target


def _draw(bands: Sequence[Band], columns: int) -> Image.Image:
    """Bands below one another, each a title and a grid of equal cells on which the pictures keep their
    aspect.
    """
    title_font, caption_font = ImageFont.load_default(size=20), ImageFont.load_default(size=12)
    width = GAP + columns * (CELL + GAP)
    heights = [band.line * -(-len(band.pictures) // columns) + TITLE for band in bands]
    sheet = Image.new("RGB", (width, GAP + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for band, height in zip(bands, heights, strict=True):
        draw.text(
            (GAP, top + 6), _clipped(band.title, title_font, width - 2 * GAP), fill=INK, font=title_font
        )
        for position, picture in enumerate(band.pictures):
            x, y = GAP + position % columns * (CELL + GAP), top + TITLE + position // columns * band.line
            scale = CELL / max(picture.size)
            fitted = picture.resize(
                (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
                Image.Resampling.LANCZOS,
            )
            sheet.paste(fitted, (x, y + CELL - fitted.height))
            if band.captions:
                draw.text(
                    (x, y + CELL + 3),
                    _clipped(band.captions[position], caption_font, CELL),
                    fill=FAINT,
                    font=caption_font,
                )
        top += height
    return sheet


def _clipped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its middle left out where it is wider than ``width`` px: both ends of a file name tell."""
    keep = len(text)
    shown = text
    while font.getlength(shown) > width and keep > 2:
        keep -= 1
        shown = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
    return shown
