"""Files of a corpus scanned in shards, by any number of processes, anywhere."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from optidel.corpus.groups import group_key
from optidel.corpus.options import IndexOptions
from optidel.corpus.sandbox.workers import DIED, Scanned, scan_files
from optidel.mapping import Make, Plan, Tick, run
from optidel.records import Frame, Quality, Rejected
from optidel.remote import Root, place
from optidel.store import PARTS, Workspace, digest

# What reading a file costs, in embeddings of a frame: a shard is 256 files, as without workers.
SCAN_COST = 16

# The files to be read, by row; in the folder of the parts.
SOURCES = "sources.parquet"


def scan_in_shards(
    work: Workspace, root: Root, sources: Sequence[str], options: IndexOptions, plan: Plan, skip: int = 0
) -> Iterator[Scanned]:
    """Scan files as :func:`~optidel.corpus.sandbox.workers.scan_files` does, shard by shard.

    Args:
        work: folder of the index.
        root: folder of the corpus.
        sources: POSIX paths below it.
        options: how files are read.
        plan: who does it.
        skip: files at the beginning that are scanned but not yielded: a killed index has their rows.

    Raises:
        PendingError: other processes are to do shards.
    """
    if not sources:
        return
    table = pl.DataFrame({"source": list(sources)})
    name = f"{PARTS}/{SOURCES}"
    # Of a killed attempt, or of one that knew another earlier index: then other files are read.
    if not work.has(name) or not work.table(name).equals(table):
        work.write_table(name, table)
    worker = ScanWorker(
        root=str(root.absolute() if isinstance(root, Path) else root),
        run=str(work.path.parent.absolute()),
        sources=str((work.path / name).absolute()),
        options=asdict(options),
    )
    identity = digest("\n".join(sources).encode())
    job = run(work, worker, len(sources), "index", plan, identity, SCAN_COST)
    for shard in job.shards:
        if shard.stop > skip:
            for text in job.read(shard)["scanned"][max(0, skip - shard.start) :]:
                yield _scanned(json.loads(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanWorker:
    """Scans files: rows of the table ``sources``, below ``root``, with one decoding process.

    ``run`` holds the key with which identifiers are hashed; ``options`` are those of the index.
    """

    root: str
    run: str
    sources: str
    options: dict[str, Any]

    def open(self) -> Make:
        """Read what is to be scanned."""
        settings = IndexOptions(**self.options)
        options = settings.scan(group_key(Path(self.run)))
        sources = pl.read_parquet(self.sources)["source"].to_list()

        def scan(rows: range, tick: Tick) -> pl.DataFrame:
            texts = []
            for scanned in scan_files(place(self.root), sources[rows.start : rows.stop], options, workers=1):
                texts.append(json.dumps(asdict(scanned)))
                tick(1)
            return pl.DataFrame({"scanned": texts}, {"scanned": pl.String})

        return scan

    def stand_in(self, row: int) -> pl.DataFrame:
        """A file that no worker survives is quarantined."""
        source = pl.read_parquet(self.sources)["source"][row]
        rejected = [Rejected(source=source, reason=f"{DIED} (and the one that watches it)")]
        scanned = Scanned(source=source, frames=[], quality=[], rejected=rejected)
        return pl.DataFrame({"scanned": [json.dumps(asdict(scanned))]})


def _scanned(values: dict[str, Any]) -> Scanned:
    """The inverse of ``asdict``."""
    return Scanned(
        source=values["source"],
        frames=[Frame(**frame) for frame in values["frames"]],
        quality=[Quality(**quality) for quality in values["quality"]],
        rejected=[Rejected(**item) for item in values["rejected"]],
    )
