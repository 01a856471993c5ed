"""What an earlier index of the same folder knows: the rows of files that have not changed since are taken
over.
"""

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass

import polars as pl

from optidel.corpus.belonging import LISTED
from optidel.corpus.companions import touched, with_values_beside
from optidel.corpus.masks import MASK
from optidel.corpus.sandbox.workers import TRANSIENT
from optidel.corpus.walk import Listing
from optidel.records import Rejected, from_table
from optidel.store import Artifact, Store

NOT_OF_A_FILE = (MASK, LISTED)
"""Reasons that follow from the files together: they are found anew, as groups are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Rows by file of the newest earlier index: ``spans`` are (first row, count) in ``table``. Only files
    that have not changed are in.
    """

    artifact: Artifact
    table: pl.DataFrame
    spans: dict[str, tuple[int, int]]
    rejected: dict[str, list[Rejected]]
    counts: dict[str, int]

    def knows(self, source: str) -> bool:
        """Whether a file need not be read."""
        return source in self.spans

    def rows(self, source: str) -> pl.DataFrame:
        """The scanned rows of a file."""
        return self.table.slice(*self.spans[source])

    @property
    def summary(self) -> str:
        """What changed, for the person who waits."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"index: files since {self.artifact.path.name}: {counts}; only new and changed ones are read"


def earlier_index(store: Store, listing: Listing, scan: str, version: int) -> Earlier | None:
    """The newest finished index of the same folder, read with the same options by the same code; None without
    one.

    Args:
        store: the run folder.
        listing: the folder as it is now.
        scan: the options with which files are read, as text.
        version: of the index's code.
    """
    for artifact in reversed(store.artifacts("index")):
        if not (artifact.path / "scan.parquet").exists():
            continue  # written before rows could be taken over
        about = artifact.json("index.json")
        if (about["root"], about["scan"], about["version"]) == (str(listing.root), scan, version):
            return _compared(artifact, listing)
    return None


def _compared(artifact: Artifact, listing: Listing) -> Earlier:
    """What of an earlier index still holds."""
    files = artifact.table("files.parquet")
    # Size and time stand for the content, as in make and rsync: reading a file to see whether it changed
    # would cost as much as indexing it.
    before = {source: (size, time) for source, size, time, _ in files.iter_rows()}
    now = {file.source: (file.size, file.mtime_ns) for file in listing.files}
    same = {source for source, stamp in now.items() if before.get(source) == stamp}
    both = now.keys() & before.keys()
    table = artifact.table("scan.parquet")
    counted = dict(files.select("source", "frames").iter_rows())
    in_series = set(table.filter(pl.col("series").is_not_null())["source"])
    same -= touched((now.keys() | before.keys()) - same, same, counted, in_series)
    same -= with_values_beside(same, [file.source for file in listing.beside])
    counts = {
        "added": len(now.keys() - both),
        "removed": len(before.keys() - both),
        "changed": len(both) - len(same),
        "kept": len(same),
    }

    rejected: dict[str, list[Rejected]] = defaultdict(list)
    for item in from_table(Rejected, artifact.table("rejected.parquet")):
        if not item.reason.startswith(NOT_OF_A_FILE):
            rejected[_file_of(item.source, before)].append(item)
    unlucky = set(unlucky_files(artifact))

    # Rows of a file lie together, in the order of the files: counting them finds them.
    spans, first = {}, 0
    for source, count in files.select("source", "frames").iter_rows():
        if source in same and source not in unlucky:
            spans[source] = (first, count)
        first += count
    return Earlier(
        artifact=artifact,
        table=table,
        spans=spans,
        rejected=dict(rejected),
        counts=counts,
    )


def unlucky_files(artifact: Artifact) -> list[str]:
    """Files of an index that were quarantined, whole or in part, for what may not hold next time: time,
    memory, a crash. They are read again though they did not change.
    """
    reasons = artifact.table("rejected.parquet")
    unlucky = [row["source"] for row in reasons.iter_rows(named=True) if row["reason"].startswith(TRANSIENT)]
    if not unlucky:
        return []
    files = set(artifact.table("files.parquet")["source"])
    return sorted({_file_of(source, files) for source in unlucky} & files)


def _file_of(source: str, files: Container[str]) -> str:
    """The file that a quarantined file or member of an archive is of: names may hold a # themselves, so the
    longest that is a file counts.
    """
    parts = source.split("#")
    for end in range(len(parts), 0, -1):
        name = "#".join(parts[:end])
        if name in files:
            return name
    return source
