"""Frames that leave the corpus, with the reason: what several steps write in place of an index."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from optidel.errors import InputError
from optidel.records import Rejected, to_table
from optidel.runs.summaries import IndexSummary, read_summary, write_summary
from optidel.store import Artifact, Workspace, rows_digest


def write_without(work: Workspace, indexed: Artifact, leaving: Mapping[str, str], nothing_left: str) -> None:
    """Write an index without some frames: they are quarantined like files that cannot be read.

    The content is that of an index that never listed them, so later steps depend on the frames that stay.

    Args:
        work: where to write.
        indexed: the index.
        leaving: id of each frame that leaves to the reason.
        nothing_left: the message where no frame stays.

    Raises:
        InputError: no frame stays.
    """
    frames, quality = indexed.table("frames.parquet"), indexed.table("quality.parquet")
    leaves = pl.col("id").is_in(list(leaving))
    staying = frames.filter(~leaves)
    if staying.is_empty():
        raise InputError(nothing_left)

    rejected = [Rejected(source=name, reason=reason) for name, reason in leaving.items()]
    before = indexed.table("rejected.parquet")
    work.write_table("frames.parquet", staying)
    work.write_table("quality.parquet", quality.filter(~leaves))
    work.write_table("rejected.parquet", pl.concat([before, to_table(Rejected, rejected)]))

    summary = read_summary(indexed, IndexSummary)
    summary = replace(
        summary,
        frames=len(staying),
        groups=rows_digest(staying["group"]),
        rejected=summary.rejected + len(rejected),
    )
    write_summary(work, summary)
    work.content = rows_digest(staying.select("id", "sha256"))
