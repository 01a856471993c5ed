"""A corpus without the frames that a person dropped."""

from dataclasses import replace

import polars as pl

from optidel.corpus.tags import Tags
from optidel.errors import InputError
from optidel.records import Rejected, to_table
from optidel.runs.summaries import IndexSummary, read_summary, write_summary
from optidel.store import Artifact, Store, Workspace, canonical, digest


def tag_step(store: Store, indexed: Artifact, tags: Tags) -> Artifact:
    """The index without the dropped frames: they are quarantined like files that cannot be read, with the
    reason.

    Args:
        store: the run.
        indexed: the index.
        tags: of its frames.

    Raises:
        InputError: every frame is dropped.
    """

    def make(work: Workspace) -> None:
        frames, quality = indexed.table("frames.parquet"), indexed.table("quality.parquet")
        leaving = pl.col("id").is_in(tags.drop)
        staying = frames.filter(~leaving)
        if staying.is_empty():
            raise InputError(f"all {len(frames)} frames of the corpus are tagged drop; tag fewer")
        rejected = [Rejected(source=name, reason="is tagged drop") for name in tags.drop]
        before = indexed.table("rejected.parquet")
        work.write_table("frames.parquet", staying)
        work.write_table("quality.parquet", quality.filter(~leaving))
        work.write_table("rejected.parquet", pl.concat([before, to_table(Rejected, rejected)]))

        summary = read_summary(indexed, IndexSummary)
        summary = replace(
            summary,
            frames=len(staying),
            groups=digest(canonical(staying["group"].to_list())),
            rejected=summary.rejected + len(rejected),
        )
        write_summary(work, summary)
        # As an index that never listed them: later steps depend on the frames that stay.
        work.content = digest(canonical(staying.select("id", "sha256").rows()))

    config = {"drop": sorted(tags.drop)}
    return store.build("tag", make, version=1, config=config, inputs={"index": indexed})
