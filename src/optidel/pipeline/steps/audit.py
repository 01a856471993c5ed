"""Marks and copies of every frame of a corpus, and the fraction of a sample that lies under burned-in
text."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, fields

import numpy as np
import polars as pl

from optidel.copies.near import first_of_chain, near_copies
from optidel.corpus.frames import Corpus
from optidel.corpus.quality import Thresholds, marks
from optidel.features.overlay import forbidden
from optidel.mapping import Plan
from optidel.pipeline.steps.prints import load_prints, prints_step
from optidel.records import Quality, from_table
from optidel.report.audit_page import RULES
from optidel.runs.summaries import AuditSummary, write_summary
from optidel.store import Artifact, Store, Workspace

# Of the step: 2 finds copies that were turned, mirrored or cropped, and neighbours in a video.
VERSION = 2

# Of the step: 2 looks for text as every modality has it.
TEXT_VERSION = 2

# Frames looked at for text between two writes: some seconds.
BLOCK = 32

# Frames whose measures are records at once: 10 MB of them.
RECORDS = 10_000


def audit_step(
    store: Store, indexed: Artifact, thresholds: Thresholds, sample: int, plan: Plan | None = None
) -> Artifact:
    """Marks and copies of every frame: ``marks.parquet`` (id, marks, exact, near, text) and ``summary.json``.

    ``exact`` and ``near`` are the row of the earlier frame that a frame is a copy, or a near-copy, of; its
    own row where it is none.
    """
    printed = prints_step(store, indexed, plan)
    texts = text_step(store, indexed, sample)

    def make(work: Workspace) -> None:
        exact, near = near_copies(load_prints(printed, indexed), thresholds.near)
        marks_of_frames = [list(marks(quality, thresholds)) for quality in _qualities(indexed)]
        table = pl.DataFrame(
            {
                "id": indexed.table("frames.parquet")["id"],
                "marks": pl.Series(marks_of_frames, dtype=pl.List(pl.String)),
                "exact": exact,
                "near": near,
            }
        )
        text = texts.table("text.parquet").select("id", "text")
        table = table.join(text, on="id", how="left", maintain_order="left")
        work.write_table("marks.parquet", table)
        write_summary(work, _summary(table, thresholds))

    config = {"thresholds": asdict(thresholds)}
    inputs = {"index": indexed, "prints": printed, "text": texts}
    return store.build("audit", make, version=VERSION, config=config, inputs=inputs)


def text_step(store: Store, indexed: Artifact, sample: int) -> Artifact:
    """The fraction of frames under burned-in text, on a sample: the detector takes longer than decoding
    does."""
    corpus = Corpus.load(indexed)
    count = min(sample or len(corpus), len(corpus))
    rows = np.unique(np.linspace(0, len(corpus) - 1, count).round().astype(int)).tolist()

    def make(work: Workspace) -> None:
        fraction = work.open_array("text.npy", (len(rows),), np.float32)
        position = {row: number for number, row in enumerate(rows)}
        for start, stop in work.blocks(len(rows), BLOCK, "text"):
            for row, image in corpus.images(rows[start:stop]):
                fraction[position[row]] = forbidden(image).overlay.mean()
        ids = [corpus.frames[row].id for row in rows]
        text = pl.Series(np.asarray(fraction), dtype=pl.Float64)
        work.write_table("text.parquet", pl.DataFrame({"id": ids, "text": text}))

    return store.build(
        "text", make, version=TEXT_VERSION, config={"sample": sample}, inputs={"index": indexed}
    )


def _qualities(indexed: Artifact) -> Iterator[Quality]:
    """What was measured of each frame; only some records are in memory at a time."""
    frames = indexed.table("frames.parquet")
    measures = indexed.table("quality.parquet").drop("flaw", strict=False).with_columns(frames["flaw"])
    columns = measures.select([field.name for field in fields(Quality)])
    for block in columns.iter_slices(RECORDS):
        yield from from_table(Quality, block)


def _summary(table: pl.DataFrame, thresholds: Thresholds) -> AuditSummary:
    rows = np.arange(table.height)
    is_exact, is_near = table["exact"].to_numpy() != rows, table["near"].to_numpy() != rows
    counts = dict.fromkeys(RULES, 0) | Counter(mark for row in table["marks"].to_list() for mark in row)
    counts["text"] = int((table["text"] > thresholds.text).sum() or 0)
    counts["exact copies"] = int(is_exact.sum())
    counts["near-copies"] = int((is_near & ~is_exact).sum())
    redundant = is_exact | is_near
    return AuditSummary(
        frames=table.height,
        counts=counts,
        redundant=int(redundant.sum()),
        groups=len(np.unique(first_of_chain(table["near"].to_numpy())[redundant])),
        sampled=int(table["text"].is_not_null().sum()),
    )
