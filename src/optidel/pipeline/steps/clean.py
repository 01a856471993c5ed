"""A corpus without the frames that are test images."""

from dataclasses import replace

import polars as pl

from optidel.errors import InputError
from optidel.records import Rejected, to_table
from optidel.runs.summaries import IndexSummary, read_summary, write_summary
from optidel.store import Artifact, Store, Workspace, rows_digest

VERSION = 2


def clean_step(store: Store, indexed: Artifact, leaks: Artifact) -> Artifact:
    """The index without the frames that are test images: they are quarantined like files that cannot be read,
    with the reason.
    """

    def make(work: Workspace) -> None:
        frames = indexed.table("frames.parquet")
        matches = leaks.table("leaks.parquet").unique("train", keep="first", maintain_order=True)
        # The leaks of another task may have left before.
        matches = matches.filter(pl.col("train").is_in(frames["id"].to_list()))
        staying = frames.join(matches, left_on="id", right_on="train", how="anti", maintain_order="left")
        if staying.is_empty():
            raise InputError(
                f"all {len(frames)} frames of the corpus are test images; "
                "pass other images or another --labelled"
            )

        leaving = [
            Rejected(source=frame, reason=f"is the test image {test} ({kind})")
            for kind, test, frame in matches.select("kind", "test", "train").iter_rows()
        ]
        rejected = pl.concat([indexed.table("rejected.parquet"), to_table(Rejected, leaving)])
        quality = indexed.table("quality.parquet")
        kept_quality = quality.join(staying.select("id"), on="id", how="semi", maintain_order="left")
        work.write_table("frames.parquet", staying)
        work.write_table("rejected.parquet", rejected)
        work.write_table("quality.parquet", kept_quality)

        before = read_summary(indexed, IndexSummary)
        summary = replace(
            before,
            frames=len(staying),
            groups=rows_digest(staying["group"]),
            rejected=before.rejected + len(leaving),
            leaks=(before.leaks or 0) + len(leaving),
        )
        write_summary(work, summary)
        work.content = rows_digest(staying.select("id", "sha256"))

    return store.build("clean", make, version=VERSION, config={}, inputs={"index": indexed, "leaks": leaks})
