"""What is kept of every frame to find its copies, made once and read by the audit and the leak check."""

import numpy as np
import polars as pl

from optidel.copies.pixels import DIM
from optidel.copies.points import BYTES, COUNT, Points
from optidel.copies.prints import Part, Prints, in_order, of_corpus, part_of
from optidel.corpus.frames import Corpus
from optidel.store import PARTS, Artifact, Store, Workspace

# Of the step: 2 also keeps the points of every frame.
VERSION = 2

# Frames described between two writes, and at most again after a kill.
BLOCK = 256


def prints_step(store: Store, indexed: Artifact) -> Artifact:
    """Describe every frame of an indexed corpus; resumed block by block.

    Writes ``prints.parquet`` (id, pixels, hash, sound), ``descriptors.npy`` f16 (n, 704), ``geometry.npy``
    f16 (n, 64, 4) and ``bits.npy`` u8 (n, 64, 16).
    """
    corpus = Corpus.load(indexed)

    def make(work: Workspace) -> None:
        count = len(corpus)
        descriptors = work.open_array("descriptors.npy", (count, DIM), np.float16)
        geometry = work.open_array("geometry.npy", (count, COUNT, 4), np.float16)
        bits = work.open_array("bits.npy", (count, COUNT, BYTES), np.uint8)
        for start, stop in work.blocks(count, BLOCK, "prints"):
            part = part_of(in_order(corpus.images(range(start, stop))))
            descriptors[start:stop] = part.descriptors
            geometry[start:stop], bits[start:stop] = part.points.geometry, part.points.bits
            work.write_table(f"{PARTS}/prints-{start}.parquet", part.table)

        tables = [work.table(f"{PARTS}/prints-{start}.parquet") for start in range(0, count, BLOCK)]
        ids = pl.Series("id", [frame.id for frame in corpus.frames])
        work.write_table("prints.parquet", pl.concat(tables).insert_column(0, ids))

    return store.build("prints", make, version=VERSION, config={}, inputs={"index": indexed})


def load_prints(printed: Artifact, indexed: Artifact) -> Prints:
    """The prints of a finished step."""
    part = Part(
        table=printed.table("prints.parquet").drop("id"),
        descriptors=printed.array("descriptors.npy"),
        points=Points(geometry=printed.array("geometry.npy"), bits=printed.array("bits.npy")),
    )
    return of_corpus(Corpus.load(indexed), part)
