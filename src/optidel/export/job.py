"""What the writer of a format gets: a place to write, the rows of the manifest, and the images."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import UInt8
from PIL import Image as PillowImage

from optidel.corpus.frames import Corpus
from optidel.corpus.sandbox.scan import fingerprint
from optidel.errors import InputError
from optidel.export.selection import ExportedSelection
from optidel.remote import Remote
from optidel.store import Workspace

# Images in one shard, and the most that are written again after a kill. A round number: some tens of MB.
SHARD = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An export being written; ``rows`` is the manifest so far."""

    work: Workspace
    rows: pl.DataFrame
    selection: ExportedSelection
    corpus: Corpus

    def blocks(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of every block of images that is not written yet."""
        count = len(self.rows)
        return self.work.blocks(count, SHARD, "export")

    @property
    def shards(self) -> list[int]:
        """The number of the shard of every row."""
        count = len(self.rows)
        return [number // SHARD for number in range(count)]

    def images(self, start: int, stop: int) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Rows of the manifest and their PNG, in order.

        Raises:
            InputError: a file does not hold the pixels that were indexed.
        """
        rows = self.rows[start:stop].rows(named=True)
        if self.selection.compose:
            folder = self.selection.compose.file("images")
            for row in rows:
                yield row, (folder / f"{row['id']}.png").read_bytes()
            return

        row_of = {row["item"]: row for row in rows}
        # All frames of a file come at once, so rows are found again by their frame.
        for item, decoded in self.corpus.decoded(list(row_of)):
            frame = self.corpus.frames[item]
            if fingerprint(decoded) != frame.sha256:
                raise InputError(
                    f"{frame.id} does not hold the pixels that were indexed; index and select again"
                )
            yield row_of[item], png(decoded.image)

    def originals(self) -> list[Path]:
        """The file on disk behind each row.

        Raises:
            InputError: some are gone.
        """
        if self.selection.compose:
            folder = self.selection.compose.file("images")
            whole = folder.resolve()
            return [whole / f"{name}.png" for name in self.rows["id"]]

        if isinstance(self.corpus.root, Remote):
            raise InputError(
                f"the images lie at {self.corpus.root}, and this format names files of this "
                "disk; pass --format folder"
            )
        root = self.corpus.root
        files = [root / source for source in self.rows["source"]]
        gone = [path for path in files if not path.is_file()]
        if gone:
            raise InputError(
                f"{len(gone)} of {len(files)} chosen files are gone, the first {gone[0]}; "
                "index the corpus again"
            )
        return files


def png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """A PNG of u8 (h, w, 1 or 3): pixels and nothing else."""
    # One channel stays one: a trainer may tell grey images from colour by it.
    pixels = image
    if image.shape[2] == 1:
        pixels = image[..., 0]
    buffer = BytesIO()
    PillowImage.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
