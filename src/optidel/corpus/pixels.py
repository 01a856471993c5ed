"""Every frame at the size of a model, decoded once and kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from optidel.arrays import Images
from optidel.corpus.frames import Corpus
from optidel.corpus.reuse import known_rows
from optidel.mapping import Make, Plan, Tick, run
from optidel.readers.decode import fit
from optidel.store import PARTS, Artifact, Store, Workspace, digest, read_artifact

BLOCK = 256
"""Frames decoded between two marks on disk; at most this many are decoded again after a kill."""


# What decoding a frame costs, in embeddings of one: a part has 256 frames, 38 MB at 224 px.
PIXEL_COST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelWorker:
    """Decodes frames of an index at ``size`` px: those whose numbers are in the file ``rows``."""

    index: str
    rows: str
    size: int

    def open(self) -> Make:
        """Load the index, once in each process."""
        corpus = Corpus.load(read_artifact(Path(self.index)))
        numbers = np.load(self.rows)

        def decode(rows: range, tick: Tick) -> pl.DataFrame:
            wanted = numbers[rows.start : rows.stop].tolist()
            position = {row: place for place, row in enumerate(wanted)}
            pixels = np.empty((len(wanted), self.size, self.size, 3), np.uint8)
            for row, image in corpus.images(wanted):
                pixels[position[row]] = fit(image, self.size)
                tick(1)
            return pl.DataFrame([pl.Series("pixels", pixels)])

        return decode

    def stand_in(self, row: int) -> None:
        """No frame can be left out: rows are those of the index."""


def write_pixels(
    work: Workspace,
    corpus: Corpus,
    size: int,
    store: Store | None = None,
    indexed: Artifact | None = None,
    plan: Plan | None = None,
) -> None:
    """Decode every frame once, stretched to the model's size, block by block.

    Writes ``pixels.npy`` u8 (n, size, size, 3) and ``rows.parquet`` (id, sha256). Rows of frames that an
    earlier artifact of the same size holds are copied from there.

    Args:
        work: where to write.
        corpus: n frames.
        size: side in pixels.
        store: the run folder in which an earlier artifact may lie.
        indexed: the artifact that the corpus was loaded from; only needed where others decode.
        plan: who decodes; None for this process.

    Raises:
        PendingError: other processes are to do shards.
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

    fresh = np.flatnonzero(earlier_rows < 0)
    is_shared = indexed is not None and plan is not None and plan.is_shared
    if indexed is not None and plan is not None and is_shared:
        _decode_in_shards(work, pixels, indexed, fresh, plan)

    # Equal hashes are equal pixels, whatever the files are called and whether they were moved.
    for start, stop in work.blocks(len(corpus), BLOCK, "pixels"):
        rows = np.arange(start, stop)
        is_copy = earlier_rows[start:stop] >= 0
        copies = rows[is_copy]
        pixels[copies] = earlier_pixels[earlier_rows[copies]]
        unread = [] if is_shared else rows[~is_copy].tolist()
        for row, image in corpus.images(unread):
            pixels[row] = fit(image, size)

    ids = corpus.column("id")
    work.write_table("rows.parquet", pl.DataFrame({"id": ids, "sha256": hashes}))


def _decode_in_shards(
    work: Workspace, pixels: Images, indexed: Artifact, fresh: Int64[np.ndarray, "m"], plan: Plan
) -> None:
    """Have frames decoded by others, and bring their parts together.

    Args:
        work: the step's folder.
        pixels: u8 (n, s, s, 3), written where ``fresh`` says.
        indexed: the corpus.
        fresh: int64 (m,), rows that no earlier artifact holds.
        plan: who decodes.
    """
    name = f"{PARTS}/fresh.npy"
    work.write_array(name, fresh)
    worker = PixelWorker(
        index=str(indexed.path.absolute()), rows=str((work.path / name).absolute()), size=pixels.shape[1]
    )
    identity = digest(fresh.tobytes())
    job = run(work, worker, len(fresh), "pixels", plan, identity, PIXEL_COST)
    for shard in job.shards:
        pixels[fresh[shard.start : shard.stop]] = job.read(shard)["pixels"].to_numpy()


def _earlier_pixels(store: Store, size: int) -> Artifact | None:
    """The newest artifact of that size that says which frame each row is."""
    for artifact in reversed(store.artifacts("pixels")):
        has_rows = (artifact.path / "rows.parquet").exists()
        if has_rows and artifact.array("pixels.npy").shape[1] == size:
            return artifact
    return None
