"""Every frame at the size of a model, decoded once and kept."""

import numpy as np
import polars as pl

from optidel.corpus.frames import Corpus
from optidel.corpus.reuse import known_rows
from optidel.readers.decode import fit
from optidel.store import Artifact, Store, Workspace

BLOCK = 256
"""Frames decoded between two marks on disk; at most this many are decoded again after a kill."""


def write_pixels(work: Workspace, corpus: Corpus, size: int, store: Store | None = None) -> None:
    """Decode every frame once, stretched to the model's size, block by block.

    Writes ``pixels.npy`` u8 (n, size, size, 3) and ``rows.parquet`` (id, sha256). Rows of frames that an
    earlier artifact of the same size holds are copied from there.

    Args:
        work: where to write.
        corpus: n frames.
        size: side in pixels.
        store: the run folder in which an earlier artifact may lie.
    """
    pixels = work.open_array("pixels.npy", (len(corpus), size, size, 3), np.uint8)
    hashes = corpus.column("sha256")
    earlier = _earlier_pixels(store, size) if store else None
    if earlier:
        earlier_rows = known_rows(earlier.table("rows.parquet")["sha256"].to_list(), hashes)
        earlier_pixels = earlier.array("pixels.npy")
    else:
        earlier_rows = known_rows([], hashes)
        earlier_pixels = np.empty((0, size, size, 3), np.uint8)

    # Equal hashes are equal pixels, whatever the files are called and whether they were moved.
    for start, stop in work.blocks(len(corpus), BLOCK, "pixels"):
        rows = np.arange(start, stop)
        is_copy = earlier_rows[start:stop] >= 0
        copies = rows[is_copy]
        pixels[copies] = earlier_pixels[earlier_rows[copies]]
        for row, image in corpus.images(rows[~is_copy].tolist()):
            pixels[row] = fit(image, size)

    ids = corpus.column("id")
    work.write_table("rows.parquet", pl.DataFrame({"id": ids, "sha256": hashes}))


def _earlier_pixels(store: Store, size: int) -> Artifact | None:
    """The newest artifact of that size that says which frame each row is."""
    for artifact in reversed(store.artifacts("pixels")):
        has_rows = (artifact.path / "rows.parquet").exists()
        if has_rows and artifact.array("pixels.npy").shape[1] == size:
            return artifact
    return None
