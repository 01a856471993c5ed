"""What each selection of a run did with each frame, as columns for the map."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Int32

from optidel.records import Composite, from_table
from optidel.report.text import percent
from optidel.runs.baselines import FULL
from optidel.runs.collect import Run, Trial
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import Artifact

NO_PATCH = "no key patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeSources:
    """A composite: its ``id``, the rows of the frames it was cut from, and boxes as fractions of each."""

    id: str
    rows: tuple[int, ...]
    boxes: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChoice:
    """One selection, frame by frame.

    ``name`` is for people; ``rank`` int32 (n,), 0 is first, −1 not kept; of key patches, the rank of a
    frame's first. ``reason`` int32 (n,) is a code into ``reasons``. ``twin`` int32 (n,) is the row of the
    kept frame that stands in for a dropped one, else −1, and ``similarity`` float32 (n,) their cosine.
    ``composites`` were made of the choice, in order; ``folder`` holds them, None where there are none.
    """

    name: str
    method: str
    budget: float
    seed: int
    unit: str
    rank: Int32[np.ndarray, "n"]
    reason: Int32[np.ndarray, "n"]
    reasons: tuple[str, ...]
    twin: Int32[np.ndarray, "n"]
    similarity: Float32[np.ndarray, "n"]
    composites: tuple[CompositeSources, ...] = ()
    folder: Artifact | None = None


def frame_choices(run: Run) -> list[FrameChoice]:
    """Every selection of a run but ``full``, which keeps everything, once each."""
    seen, choices = set(), []
    several_seeds = len({trial.seed for trial in run.trials}) > 1
    for trial in run.trials:
        if trial.select is None or trial.method == FULL or trial.select.path.name in seen:
            continue
        # The same frames, or another corpus: a selection of an earlier state has other rows.
        if read_summary(trial.select, SelectSummary).index not in (None, run.index.content):
            continue
        seen.add(trial.select.path.name)
        choices.append(_choice(run, trial, trial.select, several_seeds))
    return choices


def _choice(run: Run, trial: Trial, select: Artifact, several_seeds: bool) -> FrameChoice:
    row_of = dict(zip(run.frames["id"].to_list(), range(run.frames.height), strict=True))
    table = select.table("selection.parquet")
    unit = read_summary(select, SelectSummary).unit
    if unit == "key patch":
        table = _of_frames(table)
    rows = [row_of[name] for name in table["id"]]
    count = run.frames.height

    rank = np.full(count, -1, dtype=np.int32)
    rank[rows] = np.where(table["kept"], table["rank"], -1)
    reasons = [NO_PATCH, *table["reason"].value_counts(sort=True)["reason"].to_list()]
    reasons = list(dict.fromkeys(reasons))
    reason = np.zeros(count, dtype=np.int32)
    code_of = dict(zip(reasons, range(len(reasons)), strict=True))
    reason[rows] = [code_of[text] for text in table["reason"]]
    twin = np.full(count, -1, dtype=np.int32)
    twin[rows] = [row_of.get(name, -1) if name else -1 for name in table["twin"]]
    similarity = np.zeros(count, dtype=np.float32)
    similarity[rows] = table["similarity"].fill_null(0.0).fill_nan(0.0)

    seed = f", seed {trial.seed}" if several_seeds else ""
    return FrameChoice(
        name=f"{trial.method} {percent(trial.budget)}{seed}",
        method=trial.method,
        budget=trial.budget,
        seed=trial.seed,
        unit=unit,
        rank=rank,
        reason=reason,
        reasons=tuple(reasons),
        twin=twin,
        similarity=similarity,
        composites=_composites(run, trial.compose, row_of) if trial.compose else (),
        folder=trial.compose,
    )


def _of_frames(table: pl.DataFrame) -> pl.DataFrame:
    """A selection of key patches, told of the frames that they are cut from."""
    # A patch's id is its frame's, an @ and the box; a frame's id may hold an @ of its own.
    named = table.with_columns(pl.col("id").str.replace(r"@\d+,\d+,\d+,\d+$", ""))
    best_first = named.sort("kept", "rank", descending=[True, False])
    kept = pl.col("kept").sum()
    patches = pl.when(kept == 1).then(pl.lit("1 key patch kept"))
    counted = patches.otherwise(pl.format("{} key patches kept", kept))
    reason = pl.when(kept > 0).then(counted).otherwise(pl.col("reason").first())
    frames = best_first.group_by("id", maintain_order=True).agg(
        reason.alias("reason"),
        pl.col("kept").any(),
        pl.col("rank").first(),
    )
    return frames.with_columns(twin=pl.lit(None, dtype=pl.String), similarity=pl.lit(None, dtype=pl.Float64))


def _composites(run: Run, compose: Artifact, row_of: Mapping[str, int]) -> tuple[CompositeSources, ...]:
    sizes = list(run.frames.select("width", "height").iter_rows())
    composites = []
    for record in from_table(Composite, compose.table("composites.parquet")):
        rows = [row_of[source] for source in record.sources]
        boxes = []
        for row, (x0, y0, x1, y1) in zip(rows, record.boxes, strict=True):
            width, height = sizes[row]
            boxes.append((x0 / width, y0 / height, x1 / width, y1 / height))
        composites.append(CompositeSources(id=record.id, rows=tuple(rows), boxes=tuple(boxes)))
    return tuple(composites)
