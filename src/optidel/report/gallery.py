"""The pictures of a run's page.

What was kept and dropped, key patches, composites, the order of difficulty, and predictions. Nothing is
picked for its looks: a gallery shows the best ranked, or rows evenly spaced through an order that its caption
states.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64
from PIL import Image as PillowImage

from optidel.corpus.names import Names
from optidel.records import Box, Composite, KeyPatch, from_table
from optidel.report.figures import difficulty_chart
from optidel.report.pictures import Mark, Outline, Pictures, Tile, data_uri, outlines, picture_tile
from optidel.report.results import Chart
from optidel.runs.baselines import FULL
from optidel.runs.collect import Run, Trial
from optidel.runs.summaries import PatchesSummary, SelectSummary, TaskSummary, read_summary
from optidel.store import Artifact
from optidel.vinformation import Scorer, difficulty

# How many pictures a section shows: one or two rows of them at the width of a page.
KEPT = 8
PAIRS = 4
FRAMES = 8
REFUSED = 8
COMPOSITES = 5
EXTREMES = 8
SEGMENTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    """A dropped item beside the one that stands in for it; ``similarity`` is their cosine similarity."""

    dropped: Tile
    twin: Tile
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionView:
    """What one method chose at one budget and seed.

    ``kept_count`` of ``items`` frames or key patches (``unit``) were kept; ``reasons`` counts the dropped
    items by reason.
    """

    method: str
    budget: float
    seed: int
    unit: str
    items: int
    kept_count: int
    reasons: tuple[tuple[str, int], ...]
    kept: tuple[Tile, ...]
    pairs: tuple[PairView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalView:
    """Key patches refused for one reason."""

    reason: str
    count: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchesView:
    """Key patches: how many, on their frames, and those refused by reason."""

    summary: PatchesSummary
    seconds_per_frame: float
    frames: tuple[Tile, ...]
    refusals: tuple[RefusalView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeView:
    """A composite and the frames it was cut from, the cuts marked."""

    composite: Tile
    sources: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DifficultyView:
    """Items at both ends of the order of difficulty, and the chart of all; ``scorer`` is error or pvi.

    ``values`` (n,) are what orders the items, higher is harder; ``kept`` (m,) are those that optidel chose.
    """

    unit: str
    scorer: str
    values: Float64[np.ndarray, "n"]
    kept: Float64[np.ndarray, "m"]
    chart: Chart
    hardest: tuple[Tile, ...]
    easiest: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationView:
    """One test image: with its truth, and with each method's prediction under one protocol."""

    protocol: str
    truth: Tile
    predictions: tuple[Tile, ...]


class ItemPictures:
    """The items of a selection by row: frames, or the accepted key patches."""

    def __init__(self, run: Run, pictures: Pictures, unit: str) -> None:
        """See the class."""
        self._pictures = pictures
        self._patches = accepted(run) if unit == "key patch" else None

    def tile(self, row: int, note: str = "") -> Tile:
        """The picture of a row."""
        if self._patches is None:
            return self._pictures.tile(row, note=note)
        patch = self._patches.row(row, named=True)
        return self._pictures.patch_tile(patch["frame"], tuple(patch["box"]), note)


def accepted(run: Run) -> pl.DataFrame:
    """Rows of the key patches that may be used, in the order of their vectors."""
    assert run.patches is not None
    table = run.patches.table("patches.parquet")
    usable = pl.col("refused") == ""
    return table.filter(usable)


def spaced(rows: int, count: int) -> list[int]:
    """``count`` rows evenly spaced from the first to the last, or all of them where there are fewer.

    >>> spaced(11, 3)
    [0, 5, 10]
    """
    if not rows:
        return []
    positions = np.linspace(0, rows - 1, min(rows, count))
    return sorted({round(position) for position in positions.tolist()})


def selections(run: Run, pictures: Pictures) -> tuple[SelectionView, ...]:
    """What each method kept and dropped; ``full``, which keeps everything, is left out."""
    views = []
    for trial in run.examples:
        if trial.select is not None and trial.method != FULL:
            views.append(_selection(run, pictures, trial, trial.select))
    return tuple(views)


def _selection(run: Run, pictures: Pictures, trial: Trial, select: Artifact) -> SelectionView:
    table = select.table("selection.parquet")
    unit = read_summary(select, SelectSummary).unit
    items = ItemPictures(run, pictures, unit)

    # The best ranked, and pairs from the closest to the farthest: nothing is picked for its looks.
    kept = table.filter("kept").sort("rank").head(KEPT)
    dropped = table.filter(~pl.col("kept"))
    reasons = dropped["reason"].value_counts(sort=True)
    twinned = dropped.filter(pl.col("twin").is_not_null()).sort("similarity", descending=True)
    examples = [twinned.row(row, named=True) for row in spaced(twinned.height, PAIRS)]
    return SelectionView(
        method=trial.method,
        budget=trial.budget,
        seed=trial.seed,
        unit=unit,
        items=table.height,
        kept_count=int(table["kept"].sum()),
        reasons=tuple((str(reason), int(count)) for reason, count in reasons.iter_rows()),
        kept=tuple(items.tile(row["item"], _rank_note(row)) for row in kept.iter_rows(named=True)),
        pairs=tuple(_pair(items, table, row) for row in examples),
    )


def _rank_note(row: dict[str, Any]) -> str:
    how = "" if row["reason"] == "kept" else f", {row['reason']}"
    return f"rank {row['rank'] + 1}{how}"


def _pair(items: ItemPictures, table: pl.DataFrame, row: dict[str, Any]) -> PairView:
    twin = table.filter(pl.col("id") == row["twin"]).row(0, named=True)
    return PairView(
        dropped=items.tile(row["item"], f"dropped: {row['reason']}"),
        twin=items.tile(twin["item"], "stays"),
        similarity=row["similarity"],
    )


def patches(run: Run, pictures: Pictures) -> PatchesView | None:
    """The key patches of a run, if it has any."""
    if run.patches is None:
        return None
    summary = read_summary(run.patches, PatchesSummary)
    table = run.patches.table("patches.parquet")
    frames = max(1, summary.frames)
    seconds = run.patches.seconds
    return PatchesView(
        summary=summary,
        seconds_per_frame=seconds / frames,
        frames=_patches_on_frames(table, pictures),
        refusals=_refusals(table, pictures),
    )


def _patches_on_frames(table: pl.DataFrame, pictures: Pictures) -> tuple[Tile, ...]:
    """Frames evenly spaced through those that have key patches, with every box."""
    frames = table["frame"].unique(maintain_order=True)
    tiles = []
    for row in spaced(len(frames), FRAMES):
        of_frame = from_table(KeyPatch, table.filter(pl.col("frame") == frames[row]))
        tiles.append(_marked_frame(pictures, frames[row], of_frame))
    return tuple(tiles)


def _marked_frame(pictures: Pictures, frame: str, of_frame: Sequence[KeyPatch]) -> Tile:
    refused = [_patch_mark(patch) for patch in of_frame if patch.refused]
    accepted_marks = [_patch_mark(patch) for patch in of_frame if not patch.refused]
    note = f"{len(accepted_marks)} accepted, {len(refused)} refused"
    # Refused first, so that accepted boxes lie on top.
    marks = (*refused, *accepted_marks)
    row = pictures.row(frame)
    return pictures.tile(row, note=note, marks=marks)


def _patch_mark(patch: KeyPatch) -> Mark:
    """Nested boxes are the most and tell the least: they are thin and without a label."""
    label = patch.refused
    kind = "refused" if label else "kept"
    if label == "nested":
        kind, label = "refused nested", ""
    return Mark(box=patch.box, kind=kind, label=label)


def _refusals(table: pl.DataFrame, pictures: Pictures) -> tuple[RefusalView, ...]:
    """Refused key patches by reason, the commonest reason first, evenly spaced through the corpus."""
    refused = table.filter(pl.col("refused") != "")
    counts = refused["refused"].value_counts().sort("count", "refused", descending=[True, False])
    views = []
    for reason, count in counts.iter_rows():
        of_reason = refused.filter(pl.col("refused") == reason)
        tiles = []
        for row in spaced(of_reason.height, REFUSED):
            patch = of_reason.row(row, named=True)
            tiles.append(pictures.patch_tile(patch["frame"], tuple(patch["box"])))
        view = RefusalView(reason=reason, count=count, tiles=tuple(tiles))
        views.append(view)
    return tuple(views)


def composites(run: Run, pictures: Pictures) -> tuple[CompositeView, ...]:
    """Composites of the first method that makes any, evenly spaced through them, each with its sources."""
    for trial in run.examples:
        if trial.compose is not None:
            records = from_table(Composite, trial.compose.table("composites.parquet"))
            examples = [records[row] for row in spaced(len(records), COMPOSITES)]
            return tuple(_composite(trial.compose, pictures, record) for record in examples)
    return ()


def composite_image(compose: Artifact, record: Composite) -> PillowImage.Image:
    """The composite as it was written."""
    path = compose.file(f"images/{record.id}.png")
    with PillowImage.open(path) as opened:
        return opened.convert("RGB")


def _composite(compose: Artifact, pictures: Pictures, record: Composite) -> CompositeView:
    image = composite_image(compose, record)
    size = f"{record.side} × {record.side} px"
    sources = []
    cuts = zip(record.sources, record.boxes, strict=True)
    for cell, (frame, box) in enumerate(cuts, start=1):
        sources.append(_source(pictures, frame, box, f"cell {cell}"))
    composite = picture_tile(image, record.id, size)
    return CompositeView(composite=composite, sources=tuple(sources))


def _source(pictures: Pictures, frame: str, box: Box, note: str) -> Tile:
    row = pictures.row(frame)
    mark = Mark(box=box, kind="source", label="")
    return pictures.tile(row, note=note, marks=(mark,))


def difficulty_view(run: Run, pictures: Pictures) -> DifficultyView | None:
    """The hardest and the easiest key patches in the order of the run's scorer, or frames without patches."""
    scored = run.patches or run.embed
    if scored is None:
        return None
    unit = "key patch" if run.patches else "frame"
    # Other scorers need more than the errors; the errors themselves are shown then, under their name.
    by_pvi = run.recipe is not None and run.recipe.optidel.scorer == "pvi"
    scorer: Scorer = "pvi" if by_pvi else "error"
    error = np.asarray(scored.array("error.npy"), dtype=np.float64)
    null_error = np.asarray(scored.array("null_error.npy"), dtype=np.float64)

    values = difficulty(error, null_error, scorer)
    # A stable sort, so that equal values keep the order of the corpus on every machine.
    hardest_first = np.argsort(-values, kind="stable")
    items = ItemPictures(run, pictures, unit)

    def tiles(rows: Int64[np.ndarray, "k"]) -> tuple[Tile, ...]:
        notes = [f"error {error[row]:.3g}, null {null_error[row]:.3g}" for row in rows]
        return tuple(items.tile(int(row), note) for row, note in zip(rows, notes, strict=True))

    # Each item appears at one end only.
    count = min(EXTREMES, len(values) // 2)
    kept = values[_kept_patches(run, unit)]
    chart = difficulty_chart(values, kept, unit, scorer)
    return DifficultyView(
        unit=unit,
        scorer=scorer,
        values=values,
        kept=kept,
        chart=Chart(name="difficulty", title="Histogram of difficulty", svg=chart),
        hardest=tiles(hardest_first[:count]),
        easiest=tiles(hardest_first[::-1][:count]),
    )


def _kept_patches(run: Run, unit: str) -> Int64[np.ndarray, "m"]:
    """Rows of the key patches that a method chose; without composition it chooses frames, which
    are others.
    """
    kept: list[int] = []
    for trial in run.examples:
        if trial.select is None:
            continue
        if unit == read_summary(trial.select, SelectSummary).unit == "key patch":
            kept = trial.select.table("selection.parquet").filter("kept")["item"].to_list()
    return np.asarray(kept, dtype=np.int64)


def segmentations(run: Run, names: Names) -> tuple[SegmentationView, ...]:
    """The first test images, not chosen by result: the truth, then what each method's first seed predicts;
    nothing for a set of classes.
    """
    if run.task is None or not run.protocols or read_summary(run.task, TaskSummary).labels is not None:
        return ()
    # The first protocol that was run, fine-tuning where there is one: it shows what a user would get.
    protocol = run.protocols[0]
    items = run.task.table("items.parquet").with_row_index("row").filter(pl.col("split") == "test")
    images, masks = run.task.array("images.npy"), run.task.array("masks.npy")

    views = []
    for position, (row, name) in enumerate(items.head(SEGMENTED).select("row", "id").iter_rows()):
        # Encoded once, for the truth and every prediction on it.
        uri = data_uri(PillowImage.fromarray(images[row]))
        truth = outlines(masks[row], "truth")
        view = SegmentationView(
            protocol=protocol,
            truth=_outlined(uri, masks[row].shape, names(name), "truth", truth),
            predictions=_predictions(run, protocol, position, name, uri, truth),
        )
        views.append(view)
    return tuple(views)


def _predictions(
    run: Run, protocol: str, position: int, name: str, uri: str, truth: tuple[Outline, ...]
) -> tuple[Tile, ...]:
    """What each method predicts on one test image, over its true outline."""
    tiles = []
    for trial in run.examples:
        evaluation = trial.evaluate.get(protocol)
        if evaluation is None:
            continue
        prediction = evaluation.array("predictions.npy")[position]
        drawn_outlines = outlines(prediction, "prediction") + truth
        note = _iou_note(evaluation, name)
        tiles.append(_outlined(uri, prediction.shape, trial.method, note, drawn_outlines))
    return tuple(tiles)


def _iou_note(evaluation: Artifact, name: str) -> str:
    table = evaluation.table("images.parquet").filter(pl.col("id") == name)
    iou = table.select(pl.col("iou").drop_nans().mean()).item()
    return "no class present" if iou is None else f"IoU {iou:.3f}"


def _outlined(uri: str, shape: tuple[int, ...], caption: str, note: str, lines: tuple[Outline, ...]) -> Tile:
    return Tile(uri=uri, width=shape[1], height=shape[0], caption=caption, note=note, outlines=lines)
