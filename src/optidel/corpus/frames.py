"""The corpus: its frames, and their pixels decoded again when they are asked for."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optidel.arrays import Image, Pixels
from optidel.corpus.frame_table import FrameTable
from optidel.corpus.reading import local_file, read_rows
from optidel.corpus.reading import place as frame_place
from optidel.readers import Decoded, Window, window_of
from optidel.readers.decode import read_frame, to_image
from optidel.records import Frame, Rejected, from_table
from optidel.remote import Root, place
from optidel.store import Artifact

# Frames up to which records are kept: 13 MB of them.
FEW = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Frames of a folder, decoded on demand.

    Args:
        root: the folder, or the URL, that was indexed.
        frames: one record for each 2-D image.
        rejected: files that could not become a frame, and why.
        crop: as in :class:`~optidel.corpus.options.IndexOptions`.
        window: level and width in HU with which CT was indexed; None for what the files state.

    Example:
        >>> import optidel
        >>> corpus = optidel.index("IMAGES")
        >>> corpus.pixels(0).shape == (corpus.frames[0].height, corpus.frames[0].width, 3)
        True
    """

    root: Root
    frames: Sequence[Frame]
    rejected: list[Rejected]
    crop: str = "none"
    window: Window | None = None

    def decoded(self, rows: Sequence[int]) -> Iterator[tuple[int, Decoded]]:
        """Yield (row, frame) for some rows, in one pass over each file and in the order of the files.

        Raises:
            InputError: a file is gone or is no longer what was indexed.
        """
        return read_rows(self.root, self.frames, rows, self.crop, self.window)

    def pixels(self, i: int) -> Pixels:
        """Frame ``i`` as float32 (h, w, c) in [0, 1], c 1 or 3.

        Raises:
            InputError: the file is gone or is no longer what was indexed.
        """
        frame = self.frames[i]
        member, locator = frame_place(frame)
        # A plain file is read by itself, with its volume kept for the next slice.
        if member or self.crop != "none":
            row = range(len(self))[i]  # a negative row counts from the end, as in a list
            return next(self.decoded([row]))[1].pixels
        with local_file(self.root, frame.source) as path:
            return read_frame(path, locator, self.window)

    def image(self, i: int) -> Image:
        """Frame ``i`` as u8 (h, w, 3)."""
        return to_image(self.pixels(i))

    def images(self, rows: Sequence[int]) -> Iterator[tuple[int, Image]]:
        """Yield (row, u8 (h, w, 3)) for some rows, in one pass over each file; use it rather than
        :meth:`image` for many frames.
        """
        for row, decoded in self.decoded(rows):
            image = decoded.image
            yield row, np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))

    def column(self, name: str) -> list[Any]:
        """One field of all frames, without making a record of each."""
        if isinstance(self.frames, FrameTable):
            return self.frames.column(name).to_list()
        return [getattr(frame, name) for frame in self.frames]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @staticmethod
    def load(artifact: Artifact) -> "Corpus":
        """The corpus of a finished index."""
        about = artifact.json("index.json")
        scan = json.loads(about["scan"])
        return Corpus(
            root=place(about["root"]),
            frames=_frames(artifact),
            rejected=from_table(Rejected, artifact.table("rejected.parquet")),
            crop=scan.get("crop", "none"),
            window=window_of(scan.get("window")),
        )


def _frames(artifact: Artifact) -> Sequence[Frame]:
    """The frames of an index: records where they are few, else packed columns."""
    if artifact.json("index.json")["frames"] <= FEW:
        return from_table(Frame, artifact.table("frames.parquet"))
    return FrameTable(artifact.file("frames.parquet"))
