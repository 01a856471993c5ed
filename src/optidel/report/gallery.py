"""The pictures of the page: what each method kept and dropped, key patches, composites, difficulty and
segmentations.

Nothing here is picked for its looks: a gallery shows the best ranked, or rows evenly spaced through an order
that its caption states.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from optidel.records import Box, Composite, KeyPatch, from_table
from optidel.report.numbers import OURS
from optidel.report.pictures import Mark, Outline, Pictures, Tile, data_uri, outlines, picture_tile
from optidel.runs.baselines import FULL
from optidel.runs.collect import PROTOCOLS, Run, Trial
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import Artifact
from optidel.vinformation import difficulty

KEPT, PAIRS = 8, 4
"""Kept items and pairs of dropped item and twin shown for each method: one line each, so that twelve methods
still make one page.
"""

SEGMENTED = 6
"""Test images shown with every method's prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A dropped item beside the one that stands in for it; ``similarity`` is their cosine similarity."""

    dropped: Tile
    twin: Tile
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one method chose at one budget and seed. ``reasons`` counts the dropped items by reason; ``unit``
    is frame or key patch.
    """

    method: str
    budget: float
    seed: int
    unit: str
    items: int
    chosen: int
    reasons: tuple[tuple[str, int], ...]
    kept: tuple[Tile, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Key patches refused for one reason."""

    reason: str
    count: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A composite and the frames it was cut from, the cuts marked."""

    composite: Tile
    sources: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extremes:
    """Items at both ends of the difficulty order.

    ``values`` (n,) are what orders them, higher is harder: with scorer ``error`` the reconstruction error,
    with ``pvi`` minus the pointwise V-information in nats per value; ``chosen`` are those of optidel's
    choice.
    """

    unit: str
    scorer: str
    values: np.ndarray[tuple[int], np.dtype[np.float64]]
    chosen: np.ndarray[tuple[int], np.dtype[np.float64]]
    hardest: tuple[Tile, ...]
    easiest: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """One test image: with its truth, and with each method's prediction under one protocol."""

    protocol: str
    truth: Tile
    predictions: tuple[Tile, ...]


class Items:
    """The items of a selection by row: frames, or the accepted key patches."""

    def __init__(self, run: Run, pictures: Pictures, unit: str) -> None:
        """See the class."""
        self._pictures = pictures
        self._patches = accepted(run) if unit == "key patch" else None

    def tile(self, row: int, caption: str = "", note: str = "") -> Tile:
        """The picture of a row."""
        if self._patches is None:
            return self._pictures.tile(row, caption, note)
        patch = self._patches.row(row, named=True)
        return picture_tile(
            self._pictures.crop(patch["frame"], tuple(patch["box"])), caption or patch["frame"], note
        )


def accepted(run: Run) -> pl.DataFrame:
    """Rows of the key patches that may be used, in the order of patches/error.npy."""
    assert run.patches is not None
    return run.patches.table("patches.parquet").filter(pl.col("refused") == "")


def spaced(rows: int, count: int) -> list[int]:
    """``count`` rows evenly spaced from the first to the last, or all of them where there are fewer."""
    return (
        sorted({round(position) for position in np.linspace(0, rows - 1, min(rows, count))}) if rows else []
    )


def choices(run: Run, pictures: Pictures) -> tuple[Choice, ...]:
    """What each method kept and dropped; ``full``, which keeps everything, is left out."""
    cells = [cell for cell in run.examples if cell.select is not None and cell.method != FULL]
    return tuple(_choice(run, pictures, cell, cell.select) for cell in cells if cell.select is not None)


def _choice(run: Run, pictures: Pictures, cell: Trial, select: Artifact) -> Choice:
    table = select.table("selection.parquet")
    unit: str = read_summary(select, SelectSummary).unit
    items = Items(run, pictures, unit)
    kept = table.filter("kept").sort("rank").head(KEPT)
    dropped = table.filter(~pl.col("kept"))
    reasons = dropped["reason"].value_counts(sort=True)
    twinned = dropped.filter(pl.col("twin").is_not_null()).sort("similarity", descending=True)
    return Choice(
        method=cell.method,
        budget=cell.budget,
        seed=cell.seed,
        unit=unit,
        items=table.height,
        chosen=int(table["kept"].sum()),
        reasons=tuple((str(reason), int(count)) for reason, count in reasons.iter_rows()),
        kept=tuple(items.tile(row["item"], note=_rank(row)) for row in kept.iter_rows(named=True)),
        pairs=tuple(
            _pair(items, table, twinned.row(row, named=True)) for row in spaced(twinned.height, PAIRS)
        ),
    )


def _rank(row: dict[str, Any]) -> str:
    how = "" if row["reason"] == "kept" else f", {row['reason']}"
    return f"rank {row['rank'] + 1}{how}"


def _pair(items: Items, table: pl.DataFrame, row: dict[str, Any]) -> Pair:
    twin = table.filter(pl.col("id") == row["twin"]).row(0, named=True)
    return Pair(
        dropped=items.tile(row["item"], note=f"dropped: {row['reason']}"),
        twin=items.tile(twin["item"], note="stays"),
        similarity=row["similarity"],
    )


def patches_on_frames(run: Run, pictures: Pictures, count: int = 8) -> tuple[Tile, ...]:
    """Frames evenly spaced through those that have key patches, with every box: accepted, or refused with the
    reason.
    """
    if run.patches is None:
        return ()
    table = run.patches.table("patches.parquet")
    frames = table["frame"].unique(maintain_order=True)
    shown = [frames[row] for row in spaced(len(frames), count)]
    return tuple(
        _marked(pictures, frame, from_table(KeyPatch, table.filter(pl.col("frame") == frame)))
        for frame in shown
    )


def _marked(pictures: Pictures, frame: str, patches: Sequence[KeyPatch]) -> Tile:
    # Refused first, so that accepted boxes lie on top.
    ordered = sorted(patches, key=lambda patch: not patch.refused)
    marks = tuple(
        Mark(box=patch.box, kind=_kind(patch), label="" if patch.refused == "nested" else patch.refused)
        for patch in ordered
    )
    refused = sum(bool(patch.refused) for patch in patches)
    return pictures.tile(
        pictures.row(frame), note=f"{len(patches) - refused} accepted, {refused} refused", marks=marks
    )


def _kind(patch: KeyPatch) -> str:
    """Nested boxes are the most and the least telling: they are drawn thin and without a label."""
    return "refused nested" if patch.refused == "nested" else "refused" if patch.refused else "kept"


def refusals(run: Run, pictures: Pictures, each: int = 8) -> tuple[Refusal, ...]:
    """Refused key patches by reason, the commonest reason first, evenly spaced through the corpus."""
    if run.patches is None:
        return ()
    refused = run.patches.table("patches.parquet").filter(pl.col("refused") != "")
    counts = refused["refused"].value_counts(sort=True)
    return tuple(
        Refusal(
            reason=reason,
            count=count,
            tiles=_crops(pictures, refused.filter(pl.col("refused") == reason), each),
        )
        for reason, count in counts.sort("count", "refused", descending=[True, False]).iter_rows()
    )


def _crops(pictures: Pictures, patches: pl.DataFrame, count: int) -> tuple[Tile, ...]:
    rows = [patches.row(row, named=True) for row in spaced(patches.height, count)]
    return tuple(picture_tile(pictures.crop(row["frame"], tuple(row["box"])), row["frame"]) for row in rows)


def composites(run: Run, pictures: Pictures, count: int = 5) -> tuple[Made, ...]:
    """Composites of the first method that makes any, evenly spaced through them, each with its sources."""
    cell = next((cell for cell in run.examples if cell.compose is not None), None)
    if cell is None or cell.compose is None:
        return ()
    records = from_table(Composite, cell.compose.table("composites.parquet"))
    return tuple(_made(cell.compose, pictures, records[row]) for row in spaced(len(records), count))


def composite_image(compose: Artifact, record: Composite) -> Image.Image:
    """The composite as it was written."""
    with Image.open(compose.file(f"images/{record.id}.png")) as opened:
        return opened.convert("RGB")


def _made(compose: Artifact, pictures: Pictures, record: Composite) -> Made:
    cuts = zip(record.sources, record.boxes, strict=True)
    return Made(
        composite=picture_tile(
            composite_image(compose, record), record.id, f"{record.side} × {record.side} px"
        ),
        sources=tuple(
            _source(pictures, frame, box, f"cell {cell}") for cell, (frame, box) in enumerate(cuts, start=1)
        ),
    )


def _source(pictures: Pictures, frame: str, box: Box, note: str) -> Tile:
    return pictures.tile(pictures.row(frame), note=note, marks=(Mark(box=box, kind="source", label=""),))


def extremes(run: Run, pictures: Pictures, count: int = 8) -> Extremes | None:
    """The hardest and the easiest key patches in the order of the run's scorer, or frames where the run has
    no patches.
    """
    measured = run.patches or run.embed
    if measured is None:
        return None
    unit = "key patch" if run.patches else "frame"
    scorer = run.recipe.optidel.scorer if run.recipe else "error"
    errors, null = (
        np.asarray(measured.array(name), dtype=np.float64) for name in ("error.npy", "null_error.npy")
    )
    values = difficulty(errors, null, scorer)
    order = np.argsort(-values, kind="stable")
    items = Items(run, pictures, unit)

    def show(row: int) -> Tile:
        return items.tile(row, note=f"error {errors[row]:.3g}, null {null[row]:.3g}")

    # Without composition optidel chooses frames, which are not among the items here.
    found = [cell.select for cell in run.examples if cell.method == OURS and cell.select]
    ours = next(
        (select for select in found if unit == read_summary(select, SelectSummary).unit == "key patch"), None
    )
    chosen = [] if ours is None else ours.table("selection.parquet").filter("kept")["item"].to_list()
    half = min(count, len(order) // 2)
    return Extremes(
        unit=unit,
        scorer=scorer,
        values=values,
        chosen=values[np.asarray(chosen, dtype=np.int64)],
        hardest=tuple(show(int(row)) for row in order[:half]),
        easiest=tuple(show(int(row)) for row in order[::-1][:half]),
    )


def segmentations(run: Run) -> tuple[Segmented, ...]:
    """The first test images, not chosen by result: image with true outlines, then each method's prediction at
    its first seed.
    """
    protocol = next((name for name in PROTOCOLS if any(name in cell.evaluate for cell in run.examples)), None)
    if run.task is None or protocol is None:
        return ()
    items = run.task.table("items.parquet").with_row_index("row").filter(pl.col("split") == "test")
    images, masks = run.task.array("images.npy"), run.task.array("masks.npy")
    evaluated = [(cell, cell.evaluate[protocol]) for cell in run.examples if protocol in cell.evaluate]
    rows = []
    for position, (row, name) in enumerate(items.head(SEGMENTED).select("row", "id").iter_rows()):
        uri = data_uri(Image.fromarray(images[row]))
        truth = outlines(masks[row], "truth")
        predictions = tuple(
            _predicted(uri, cell.method, found, position, name, truth) for cell, found in evaluated
        )
        rows.append(
            Segmented(
                protocol=protocol,
                truth=_tile(uri, masks[row].shape, name, "truth", truth),
                predictions=predictions,
            )
        )
    return tuple(rows)


def _predicted(
    uri: str, method: str, evaluated: Artifact, position: int, name: str, truth: tuple[Outline, ...]
) -> Tile:
    predicted = evaluated.array("predictions.npy")[position]
    iou = (
        evaluated.table("images.parquet")
        .filter(pl.col("id") == name)
        .select(pl.col("iou").drop_nans().mean())
        .item()
    )
    note = "no class present" if iou is None else f"IoU {iou:.3f}"
    return _tile(uri, predicted.shape, method, note, outlines(predicted, "prediction") + truth)


def _tile(uri: str, shape: tuple[int, ...], caption: str, note: str, drawn: tuple[Outline, ...]) -> Tile:
    return Tile(uri=uri, width=shape[1], height=shape[0], caption=caption, note=note, outlines=drawn)
