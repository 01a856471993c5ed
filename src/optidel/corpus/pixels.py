"""Frames at the size of a model: all decoded once and kept, or each decoded whenever it is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from optidel.arrays import ImageRows, Images, Indices
from optidel.corpus.frames import Corpus
from optidel.corpus.reuse import known_rows
from optidel.mapping import Make, Plan, Tick, run
from optidel.readers.decode import fit
from optidel.store import PARTS, Artifact, Store, Workspace, digest, read_artifact

BLOCK = 256
"""Frames decoded between two marks on disk; at most this many are decoded again after a kill."""

KEPT = 16 * 2**30
"""Bytes of pixels up to which those of every frame are kept by default: 1.4 million frames at 64 px, 114,000
at 224. A round number, a small part of any disk that holds such a corpus.
"""

PIXELS, SOURCE = "pixels.npy", "source.json"

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
    chosen: Indices | None = None,
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
        chosen: int64 (m,), the frames that are wanted, which then take the place of the n; None for all.

    Raises:
        PendingError: other processes are to do shards.
    """
    frames = np.arange(len(corpus)) if chosen is None else chosen
    pixels = work.open_array(PIXELS, (len(frames), size, size, 3), np.uint8)
    known = _identities(corpus)[frames]
    hashes = known["sha256"].to_list()
    earlier = _earlier_pixels(store, size) if store else None
    if earlier:
        earlier_rows = known_rows(earlier.table("rows.parquet")["sha256"].to_list(), hashes)
        earlier_pixels = earlier.array(PIXELS)
    else:
        earlier_rows = known_rows([], hashes)
        earlier_pixels = np.empty((0, size, size, 3), np.uint8)

    fresh = np.flatnonzero(earlier_rows < 0)
    is_shared = indexed is not None and plan is not None and plan.is_shared
    if indexed is not None and plan is not None and is_shared:
        _decode_in_shards(work, pixels, indexed, frames, fresh, plan)

    # Equal hashes are equal pixels, whatever the files are called and whether they were moved.
    for start, stop in work.blocks(len(frames), BLOCK, "pixels"):
        rows = np.arange(start, stop)
        is_copy = earlier_rows[start:stop] >= 0
        copies = rows[is_copy]
        pixels[copies] = earlier_pixels[earlier_rows[copies]]
        unread = rows[:0] if is_shared else rows[~is_copy]
        place = dict(zip(frames[unread].tolist(), unread.tolist(), strict=True))
        for frame, image in corpus.images(list(place)):
            pixels[place[frame]] = fit(image, size)

    work.write_table("rows.parquet", known)


def _identities(corpus: Corpus) -> pl.DataFrame:
    """The id and the pixel hash of every frame."""
    return pl.DataFrame({name: corpus.column(name) for name in ("id", "sha256")})


def write_source(work: Workspace, corpus: Corpus, size: int, indexed: Artifact) -> None:
    """Write where frames can be decoded, in place of their pixels: ``source.json`` and ``rows.parquet``.

    Args:
        work: where to write.
        corpus: n frames.
        size: side in pixels.
        indexed: the artifact that the corpus was loaded from, in the same run.
    """
    work.write_json(SOURCE, {"index": indexed.path.name, "size": size})
    work.write_table("rows.parquet", _identities(corpus))


class DecodedImages:
    """The frames of a corpus at a model's size, u8 (n, size, size, 3), decoded when they are asked for."""

    def __init__(self, corpus: Corpus, size: int) -> None:
        """Nothing is decoded yet.

        Args:
            corpus: n frames.
            size: side in pixels.
        """
        self.corpus = corpus
        self.shape = (len(corpus), size, size, 3)

    def __len__(self) -> int:
        """Number of frames."""
        return self.shape[0]

    def __getitem__(self, rows: Any, /) -> Any:
        """Decode some, each once however often it is named; as an array's rows.

        Raises:
            InputError: a file is gone or is no longer what was indexed.
        """
        numbers = np.arange(len(self))[rows]
        wanted, places = np.unique(numbers, return_inverse=True)
        size = self.shape[1]
        images = np.empty((len(wanted), size, size, 3), np.uint8)
        place = {frame: position for position, frame in enumerate(wanted.tolist())}
        for frame, image in self.corpus.images(list(place)):
            images[place[frame]] = fit(image, size)
        return images[places.reshape(numbers.shape)]


def images_at(path: Path) -> ImageRows:
    """Images u8 (n, s, s, 3) that stand in a file, or that the artifact in a folder says how to decode."""
    if path.is_file():
        images: Images = np.load(path, mmap_mode="r")
        return images
    about = read_artifact(path)
    source = about.json(SOURCE)
    return DecodedImages(Corpus.load(read_artifact(path.parent / source["index"])), source["size"])


def where_images_are(pixels: Artifact) -> Path:
    """What :func:`images_at` opens: the file of an artifact's pixels, checked, or its folder where none are
    kept.
    """
    return pixels.file(PIXELS) if (pixels.path / PIXELS).exists() else pixels.path


def _decode_in_shards(
    work: Workspace, pixels: Images, indexed: Artifact, frames: Indices, fresh: Indices, plan: Plan
) -> None:
    """Have frames decoded by others, and bring their parts together.

    Args:
        work: the step's folder.
        pixels: u8 (m, s, s, 3), written where ``fresh`` says.
        indexed: the corpus.
        frames: int64 (m,), which frame of the index each row is.
        fresh: rows that no earlier artifact holds.
        plan: who decodes.
    """
    name = f"{PARTS}/fresh.npy"
    work.write_array(name, frames[fresh])
    worker = PixelWorker(
        index=str(indexed.path.absolute()), rows=str((work.path / name).absolute()), size=pixels.shape[1]
    )
    identity = digest(frames[fresh].tobytes())
    job = run(work, worker, len(fresh), "pixels", plan, identity, PIXEL_COST)
    for shard in job.shards:
        pixels[fresh[shard.start : shard.stop]] = job.read(shard)["pixels"].to_numpy()


def _earlier_pixels(store: Store, size: int) -> Artifact | None:
    """The newest artifact of that size that says which frame each row is."""
    for artifact in reversed(store.artifacts("pixels")):
        has_both = all((artifact.path / name).exists() for name in ("rows.parquet", PIXELS))
        if has_both and artifact.array(PIXELS).shape[1] == size:
            return artifact
    return None
