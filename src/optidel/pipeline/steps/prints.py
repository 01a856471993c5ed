"""What is kept of every frame to find its copies, made once and read by the audit and the leak check."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from optidel.arrays import Image
from optidel.copies.points import Points
from optidel.copies.prints import COLUMNS, Part, Prints, in_order, of_corpus, part_of, print_of
from optidel.corpus.frames import Corpus
from optidel.mapping import Make, Plan, Tick, join_arrays, run
from optidel.store import Artifact, Store, Workspace, read_artifact

# Of the step: 2 also keeps the points of every frame.
VERSION = 2

# What describing a frame costs, in embeddings of one: it is decoded, and points are looked for.
PRINT_COST = 16

# Columns of a part that become arrays; the others become the table.
ARRAYS = ("descriptors", "geometry", "bits")


def prints_step(store: Store, indexed: Artifact, plan: Plan | None = None) -> Artifact:
    """Describe every frame of an indexed corpus; resumed shard by shard.

    Writes ``prints.parquet`` (id, pixels, hash, sound), ``descriptors.npy`` f16 (n, 704), ``geometry.npy``
    f16 (n, 64, 4) and ``bits.npy`` u8 (n, 64, 16).

    Args:
        store: the run.
        indexed: the corpus.
        plan: who does the shards; None for this process.

    Raises:
        PendingError: other processes are to do shards.
    """

    def make(work: Workspace) -> None:
        worker = PrintWorker(index=str(indexed.path.absolute()))
        ids = indexed.table("frames.parquet")["id"]
        job = run(work, worker, len(ids), "prints", plan or Plan(), cost=PRINT_COST)
        join_arrays(work, job, ARRAYS)
        work.write_table("prints.parquet", job.table(list(COLUMNS)).insert_column(0, ids))

    return store.build("prints", make, version=VERSION, config={}, inputs={"index": indexed})


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintWorker:
    """Describes frames of an index, the folder of which is given."""

    index: str

    def open(self) -> Make:
        """Load the index, once in each process."""
        corpus = Corpus.load(read_artifact(Path(self.index)))

        def describe(rows: range, tick: Tick) -> pl.DataFrame:
            images = corpus.images(rows)
            return _part_table(part_of(in_order(_ticked(images, tick))))

        return describe

    def stand_in(self, row: int) -> pl.DataFrame:
        """A frame that no worker survives: it shows nothing, and is a copy of nothing."""
        blank = print_of(np.zeros((BLANK, BLANK, 3), np.uint8))
        _, phash, _ = blank.row
        return _part_table(part_of([replace(blank, row=(f"unreadable-{row}", phash, False))]))


# Side in px of the picture that stands in; any side does.
BLANK = 64


def _ticked(images: Iterable[tuple[int, Image]], tick: Tick) -> Iterator[tuple[int, Image]]:
    for item in images:
        yield item
        tick(1)


def _part_table(part: Part) -> pl.DataFrame:
    """A part as one table: arrays are columns."""
    arrays = [
        pl.Series("descriptors", part.descriptors),
        pl.Series("geometry", part.points.geometry),
        pl.Series("bits", part.points.bits),
    ]
    return part.table.hstack(arrays)


def load_prints(printed: Artifact, indexed: Artifact) -> Prints:
    """The prints of a finished step."""
    part = Part(
        table=printed.table("prints.parquet").drop("id"),
        descriptors=printed.array("descriptors.npy"),
        points=Points(geometry=printed.array("geometry.npy"), bits=printed.array("bits.npy")),
    )
    return of_corpus(Corpus.load(indexed), part)
