"""Pixels for the page: the few frames it shows, from the originals where they are still there.

Where an original is gone or has changed, its thumbnail stands in.
"""

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from optidel.corpus.frames import Corpus
from optidel.corpus.names import Names
from optidel.corpus.pixels import PIXELS
from optidel.records import Box, Frame
from optidel.runs.collect import Run

# Longest side of a picture on the page, px: sharp at the width at which it is shown, and small enough for
# hundreds on one page.
SIDE = 260

# Of the JPEG: below 80 blocks are seen in smooth tissue, above 85 the page grows by half for nothing.
QUALITY = 82

# Decoded frames kept in memory: more than a page shows of one run.
DECODED = 256

# An outline may leave its pixel edge by so much, px: not seen at this size, and a fifth of the points.
SLACK = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A box drawn on a picture, in the picture's own units.

    ``kind`` is its CSS class, ``label`` the text in its corner.
    """

    box: Box
    kind: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """An outline drawn on a picture: SVG path data in the picture's units; ``kind`` is its CSS class."""

    path: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture with what is drawn on it.

    ``uri`` holds the JPEG; ``width`` and ``height`` are the units of marks and outlines.
    """

    uri: str
    width: int
    height: int
    caption: str
    note: str = ""
    marks: tuple[Mark, ...] = ()
    outlines: tuple[Outline, ...] = ()


class Pictures:
    """Frames of a run as RGB pictures, each decoded once.

    Args:
        run: an opened run.
        names: how frames are called in captions.
    """

    def __init__(self, run: Run, names: Names | None = None) -> None:
        """See the class."""
        self._run = run
        self._names = names or Names()
        self._corpus = Corpus.load(run.index)
        # Where none are kept, a frame that cannot be read is grey.
        kept = run.pixels is not None and (run.pixels.path / PIXELS).exists()
        self._thumbnails = run.pixels.array(PIXELS) if run.pixels is not None and kept else None
        self.frame = lru_cache(maxsize=DECODED)(self._frame)

    def record(self, row: int) -> Frame:
        """The frame of a row of frames.parquet."""
        return self._corpus.frames[row]

    def row(self, frame: str) -> int:
        """The row of a frame's id."""
        row = self._run.frames["id"].index_of(frame)
        assert row is not None, f"{frame} is not in frames.parquet"
        return int(row)

    def crop(self, frame: str, box: Box) -> PillowImage.Image:
        """A box of a frame, given in the frame's own pixels."""
        row = self.row(frame)
        record, picture = self.record(row), self.frame(row)
        across, down = picture.width / record.width, picture.height / record.height
        x0, y0 = round(box[0] * across), round(box[1] * down)
        x1, y1 = round(box[2] * across), round(box[3] * down)
        # A box smaller than a pixel of the thumbnail still shows that pixel.
        return picture.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))

    def tile(self, row: int, note: str = "", marks: tuple[Mark, ...] = ()) -> Tile:
        """A frame's tile; marks are in the frame's own pixels."""
        record = self.record(row)
        return Tile(
            uri=data_uri(self.frame(row)),
            width=record.width,
            height=record.height,
            caption=self._names(record.id),
            note=note,
            marks=marks,
        )

    def patch_tile(self, frame: str, box: Box, note: str = "") -> Tile:
        """The tile of a key patch."""
        picture = self.crop(frame, box)
        caption = self._names(frame)
        return picture_tile(picture, caption, note)

    def _frame(self, row: int) -> PillowImage.Image:
        record = self.record(row)
        original = self._original(row)
        if original is not None:
            return original
        if self._thumbnails is None:
            return PillowImage.new("RGB", (record.width, record.height), (128, 128, 128))

        scale = SIDE / max(record.width, record.height)
        size = (max(1, round(record.width * scale)), max(1, round(record.height * scale)))
        thumbnail = PillowImage.fromarray(self._thumbnails[row])
        return thumbnail.resize(size, PillowImage.Resampling.BICUBIC)

    def _original(self, row: int) -> PillowImage.Image | None:
        """The frame from the corpus, or None where it is gone, cannot be read or has changed its size."""
        record = self._corpus.frames[row]
        try:
            image = self._corpus.image(row)
        except Exception:  # a decoder raises anything on a file that changed since
            return None
        if image.shape[:2] != (record.height, record.width):
            return None
        return PillowImage.fromarray(image)


def picture_tile(
    picture: PillowImage.Image, caption: str, note: str = "", marks: tuple[Mark, ...] = ()
) -> Tile:
    """A tile of any picture; marks are in its pixels."""
    return Tile(
        uri=data_uri(picture),
        width=picture.width,
        height=picture.height,
        caption=caption,
        note=note,
        marks=marks,
    )


def data_uri(picture: PillowImage.Image, side: int = SIDE) -> str:
    """The picture as a JPEG data URI, shrunk to ``side`` px where it is longer."""
    small = picture.copy()
    small.thumbnail((side, side), PillowImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.convert("RGB").save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def outlines(mask: UInt8[np.ndarray, "h w"], kind: str) -> tuple[Outline, ...]:
    """Outlines of every class but 0 of a mask, as SVG paths in pixels of the mask.

    Args:
        mask: u8 (h, w), class of each pixel, 0 background.
        kind: prefix of the CSS class: ``<kind> class-<n>``.
    """
    from skimage.measure import find_contours  # a tenth of a second, and part of optidel[train]

    drawn_outlines = []
    for value in np.unique(mask):
        if value == 0:
            continue
        # Padding closes the outlines of regions that touch the border.
        region = np.pad(mask == value, 1).astype(np.float32)
        path = " ".join(_path(contour) for contour in find_contours(region, 0.5))
        drawn_outlines.append(Outline(path=path, kind=f"{kind} class-{value}"))
    return tuple(drawn_outlines)


def _path(contour: np.ndarray[Any, Any]) -> str:
    from skimage.measure import approximate_polygon

    # Contours are (row, column) of the padded mask; pixel centres lie half a unit inside the picture.
    points = approximate_polygon(contour, SLACK) - 0.5
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in points) + "Z"
