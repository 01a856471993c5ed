"""Contact sheets as PNG files, for documents: composites, refused key patches, what each method kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from optidel.errors import InputError
from optidel.records import Composite, from_table
from optidel.report.gallery import accepted, composite_image, spaced
from optidel.report.pictures import Pictures
from optidel.report.text import percent
from optidel.runs.baselines import FULL
from optidel.runs.collect import Run, Trial, read_run
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import Artifact, replacing
from optidel.words import counted

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Measures of a sheet, px: eight pictures make the width of a printed page at 200 dots an inch.
CELL = 176
GAP = 10
TITLE = 42
CAPTION = 18

INK, PAPER, FAINT = (28, 31, 36), (255, 255, 255), (102, 108, 118)  # as on the pages in light mode
COMPOSITE_COLUMNS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One titled row of pictures on a sheet; ``captions`` may be empty."""

    title: str
    pictures: Sequence[PillowImage.Image]
    captions: Sequence[str]

    @property
    def line(self) -> int:
        """Height of one line of its grid, px."""
        caption = CAPTION if self.captions else 0
        return CELL + GAP + caption

    def height(self, columns: int) -> int:
        """Height of the title and all lines, px."""
        lines = math.ceil(len(self.pictures) / columns)
        return TITLE + self.line * lines


def composites_sheet(run: Path, count: int = 18) -> Path:
    """Write RUN/composites.png: composites evenly spaced through those of the first seed.

    Raises:
        InputError: the run has composed nothing.
    """
    for trial in read_run(run).examples:
        if trial.compose is not None:
            band = _composites_band(trial, trial.compose, count)
            return _write([band], run / "composites.png", COMPOSITE_COLUMNS)
    raise InputError(
        f"the run {run} has no composites; run it with the method optidel (`optidel run … --methods optidel`)"
    )


def _composites_band(trial: Trial, compose: Artifact, count: int) -> Band:
    records = from_table(Composite, compose.table("composites.parquet"))
    examples = [records[row] for row in spaced(len(records), count)]
    method = f"{trial.method} {percent(trial.budget)}, seed {trial.seed}"
    title = f"{len(examples)} of {len(records)} composites, {method}"
    return Band(title=title, pictures=[composite_image(compose, record) for record in examples], captions=[])


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
        of_reason = patches.filter(pl.col("refused") == reason)
        examples = [of_reason.row(row, named=True) for row in spaced(of_reason.height, each)]
        band = Band(
            title=f"{reason}: {count:,} of {patches.height:,} proposed patches",
            pictures=[pictures.crop(patch["frame"], tuple(patch["box"])) for patch in examples],
            captions=[patch["frame"] for patch in examples],
        )
        bands.append(band)
    if not bands:
        raise InputError(f"no key patch of the run {run} was refused; there is nothing to draw")
    return _write(bands, run / "refused.png", each)


def selection_sheet(run: Path, each: int = 8) -> Path:
    """Write RUN/selection.png: the best ranked items that each method kept.

    Raises:
        InputError: the run has selected nothing.
    """
    opened = read_run(run)
    pictures = Pictures(opened)
    bands = []
    for trial in opened.examples:
        if trial.select is not None and trial.method != FULL:
            bands.append(_selection_band(opened, pictures, trial, trial.select, each))
    if not bands:
        raise InputError(f"the run {run} has selected nothing; use `optidel select` or `optidel run`")
    return _write(bands, run / "selection.png", each)


def _selection_band(run: Run, pictures: Pictures, trial: Trial, select: Artifact, each: int) -> Band:
    summary = read_summary(select, SelectSummary)
    best = select.table("selection.parquet").filter("kept").sort("rank").head(each)
    rows = best["item"].to_list()
    if summary.unit == "key patch":
        patches = accepted(run)[rows]
        boxes = patches.select("frame", "box").iter_rows()
        crops = [pictures.crop(frame, tuple(box)) for frame, box in boxes]
        captions = patches["frame"].to_list()
    else:
        crops = [pictures.frame(row) for row in rows]
        captions = [pictures.record(row).id for row in rows]

    share = f"{summary.kept:,} of {counted(summary.items, summary.unit)}"
    title = f"{trial.method} {percent(trial.budget)}: {share}, best ranked first"
    return Band(title=title, pictures=crops, captions=captions)


def _write(bands: Sequence[Band], target: Path, columns: int) -> Path:
    sheet = _draw(bands, columns)
    with replacing(target) as scratch:
        sheet.save(scratch, "PNG")
    return target


def _draw(bands: Sequence[Band], columns: int) -> PillowImage.Image:
    """Bands below one another, each a title and a grid of equal cells."""
    width = GAP + columns * (CELL + GAP)
    height = GAP + sum(band.height(columns) for band in bands)
    sheet = PillowImage.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    title_font = ImageFont.load_default(size=20)

    top = GAP
    for band in bands:
        title = _clipped(band.title, title_font, width - 2 * GAP)
        draw.text((GAP, top + 6), title, fill=INK, font=title_font)
        _draw_grid(sheet, draw, band, top + TITLE, columns)
        top += band.height(columns)
    return sheet


def _draw_grid(
    sheet: PillowImage.Image, draw: ImageDraw.ImageDraw, band: Band, top: int, columns: int
) -> None:
    """The pictures of a band, each on the lower edge of its cell; they keep their aspect."""
    font = ImageFont.load_default(size=12)
    for position, picture in enumerate(band.pictures):
        row, column = divmod(position, columns)
        x, y = GAP + column * (CELL + GAP), top + row * band.line
        # Small crops are enlarged too: a key patch of 30 px would be a stamp.
        scale = CELL / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        fitted = picture.resize(size, PillowImage.Resampling.LANCZOS)
        sheet.paste(fitted, (x, y + CELL - fitted.height))
        if band.captions:
            caption = _clipped(band.captions[position], font, CELL)
            draw.text((x, y + CELL + 3), caption, fill=FAINT, font=font)


def _clipped(text: str, font: Font, width: int) -> str:
    """The text, its middle left out where it is wider than ``width`` px: both ends of a file name tell."""
    keep = len(text)
    clipped = text
    while font.getlength(clipped) > width and keep > 2:
        keep -= 1
        clipped = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
    return clipped
