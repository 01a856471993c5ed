"""TIFF and BigTIFF: pages of 1 to 32 bits, whole numbers or floats, striped or tiled, in any compression.

Rule: by type and by the bits stated, one for all pages of a kind, so that a stack keeps its contrast. Reduced
copies of a page (pyramids, thumbnails) and transparency masks are left out; alpha is dropped; palettes
and CMYK become colour.
"""

import logging
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import tifffile

from optidel.errors import InputError
from optidel.readers.decoded import (
    Decoded,
    DecodeOptions,
    blacked,
    check_bytes,
    check_frames,
    check_size,
    depth_rule,
    range_rule,
    turned,
)
from optidel.readers.jpeg import check_jpeg
from optidel.readers.levels import without_levels
from optidel.readers.scale import Limits, Spread, remembered
from optidel.readers.source import Source

ORIENTATION = 274

REDUCED, MASK = 1, 4
"""Bits of NewSubfileType (TIFF 6.0, section 8)."""

PHOTOMETRIC = tifffile.PHOTOMETRIC
GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
JPEGS = (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG)

WHOLE_BYTES = (8, 16, 32, 64)
"""Bits that say nothing about the range: they are the next size that fits."""

DAMAGE = re.compile(r"corrupt|invalid page offset|invalid tag offset|missing data offset")
"""What tifffile logs about a damaged file, and then goes on without a part of it."""

Values = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """A picture of the file: a page, or the ``number``-th of many that lie behind one page without headers of
    their own, as ImageJ writes large stacks.
    """

    page: tifffile.TiffPage
    number: int | None = None

    def values(self) -> Values:
        """Values (h, w, c), c 1 or 3."""
        stored = self.page.asarray() if self.number is None else self._behind(self.number)
        # Colour may lie by pixel or by plane.
        if self.page.samplesperpixel > 1 and self.page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            stored = np.moveaxis(stored, 0, -1)
        stored = stored[..., None] if stored.ndim == 2 else stored
        if self.page.photometric == PHOTOMETRIC.PALETTE:
            return _coloured(self.page, stored[..., 0])
        if self.page.photometric == PHOTOMETRIC.SEPARATED:
            return _from_inks(stored[..., :4])
        return stored[..., : 3 if stored.shape[-1] >= 3 else 1]

    def kind(self) -> tuple[object, ...]:
        """What planes of one scale have in common."""
        page = self.page
        return str(page.dtype), page.bitspersample, int(page.photometric), page.samplesperpixel

    def _behind(self, number: int) -> Values:
        page, file = self.page, self.page.parent
        count = _page_bytes(page)
        file.filehandle.seek(page.dataoffsets[0] + number * count)
        data = file.filehandle.read(count)
        assert page.dtype is not None
        return np.frombuffer(data, page.dtype.newbyteorder(file.byteorder)).reshape(page.shape)


def read_tiff(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """Pages: one frame, or ``page:i`` where there are several."""
    strict = locators is None and options.damaged == "refuse"
    with source.open() as stream, _told(strict), _opened(stream) as file:
        planes = _planes(file)
        for number, plane in enumerate(planes):
            locator = f"page:{number}" if len(planes) > 1 else ""
            if locators is None or locator in locators:
                try:
                    if strict:
                        _check_segments(plane.page)
                    decoded = _decoded(source, planes, plane, locator)
                except (InputError, MemoryError):
                    raise
                except Exception as error:  # a damaged page raises anything
                    raise InputError(
                        f"page {number} of {len(planes)} cannot be decoded ({type(error).__name__})"
                    ) from None
                yield decoded


def _opened(stream: BinaryIO) -> tifffile.TiffFile:
    try:
        return tifffile.TiffFile(stream)
    except tifffile.TiffFileError:
        raise InputError("is no TIFF, or its header is damaged") from None


@contextmanager
def _told(strict: bool) -> Iterator[None]:
    """What tifffile logs is not printed; where it counts, a message of damage becomes an error at the end."""
    messages = _Messages()
    logger = logging.getLogger("tifffile")
    before = logger.propagate
    logger.addHandler(messages)
    # What it prints quotes tags, and tags hold names.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(messages)
        logger.propagate = before
    if strict and messages.damage:
        raise InputError(f"is damaged: its TIFF structure is {messages.damage}; only a part could be read")


class _Messages(logging.Handler):
    """Keeps the kind of the first message of damage; the message itself may quote the file."""

    damage = ""

    def emit(self, record: logging.LogRecord) -> None:
        match = DAMAGE.search(record.getMessage())
        if match and not self.damage:
            self.damage = "corrupted" if match.group() == "corrupt" else f"broken ({match.group()})"


def _planes(file: tifffile.TiffFile) -> list[_Plane]:
    """The pictures in the order of the file, checked: without reduced copies, thumbnails and masks."""
    try:
        check_frames(len(file.pages))
        pages = [_page(file.pages, number) for number in range(len(file.pages))]
    except tifffile.TiffFileError:
        raise InputError("is damaged: its list of pages breaks off") from None
    full = [page for page in pages if not page.subfiletype & (REDUCED | MASK)]
    if not full:  # some cameras keep the picture under its thumbnail
        below = [_page(page.pages, i) for page in pages if page.pages for i in range(len(page.pages))]
        full = [page for page in below if not page.subfiletype & (REDUCED | MASK)]
    if not full:
        raise InputError("holds reduced copies of a page, and no page")
    # All are checked before any is decoded: one page too large is no reason to read the others first.
    for page in full:
        _check(page)
    full = without_levels(full, [(page.imagewidth, page.imagelength) for page in full], _thumbnail_of)
    if len(full) == 1 and (count := _images_behind(file, full[0])) > 1:
        check_frames(count)
        return [_Plane(page=full[0], number=number) for number in range(count)]
    return [_Plane(page=page) for page in full]


def _page(pages: Any, number: int) -> tifffile.TiffPage:
    page = pages[number]
    assert isinstance(page, tifffile.TiffPage)
    return page


def _thumbnail_of(page: tifffile.TiffPage) -> Values:
    return _Plane(page=page).values()


def _page_bytes(page: tifffile.TiffPage) -> int:
    assert page.dtype is not None
    return int(page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize)


def _images_behind(file: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    """Images that ImageJ says it wrote behind the only page's header."""
    if not file.is_imagej or len(file.pages) > 1 or page.compression != tifffile.COMPRESSION.NONE:
        return 1
    count = (file.imagej_metadata or {}).get("images", 1)
    if not isinstance(count, int) or count < 2:
        return 1
    end = page.dataoffsets[0] + count * _page_bytes(page)
    if end > file.filehandle.size:
        raise InputError(f"is cut: it declares {count} images and ends before the last")
    return count


def _check(page: tifffile.TiffPage) -> None:
    """What the header declares: sizes first, then a kind of picture that has a meaning here."""
    check_size(page.imagewidth, page.imagelength)
    if page.imagedepth > 1:
        raise InputError(f"holds {page.imagedepth} planes in one page; save each as a page of its own")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise InputError("has a number format that images do not use")
    check_bytes(_page_bytes(page))
    if not _has_meaning(page):
        kind = getattr(page.photometric, "name", "unknown")
        raise InputError(
            f"has {page.samplesperpixel} channels of the kind {kind}, neither grey nor colour; "
            "save one image a channel"
        )
    _check_storage(page)


def _has_meaning(page: tifffile.TiffPage) -> bool:
    """Whether it is grey, colour or four inks, each with or without alpha."""
    samples, extra = page.samplesperpixel, len(page.extrasamples)
    if page.photometric == PHOTOMETRIC.RGB:
        return samples - extra == 3 or (samples == 4 and not extra)  # some writers do not declare the alpha
    if page.photometric == PHOTOMETRIC.YCBCR:
        return page.compression in JPEGS and samples - extra == 3
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return samples - extra == 4 and page.dtype in (np.uint8, np.uint16)
    is_grey = page.photometric in (*GREY, PHOTOMETRIC.PALETTE)
    return is_grey and samples - min(extra, 1) == 1


def _check_storage(page: tifffile.TiffPage) -> None:
    """Tiles or strips far larger than the page would be allocated whole."""
    tile = page.tilewidth * page.tilelength
    if page.is_tiled and tile > 4 * page.imagewidth * page.imagelength + 1_000_000:
        raise InputError(
            f"declares tiles of {page.tilewidth} x {page.tilelength} px "
            f"for {page.imagewidth} x {page.imagelength} px"
        )
    stored = sum(page.databytecounts)
    size = page.parent.filehandle.size
    if stored > 2 * size:  # the same bytes may serve twice, a hundred times is an attack
        raise InputError(f"declares {stored} bytes of pixels and has {size}")
    ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends, default=0) > size:
        raise InputError("is cut: pixels lie beyond the end of the file")


def _check_segments(page: tifffile.TiffPage) -> None:
    """Refuse a page with JPEG inside about which libjpeg warns."""
    if page.compression != tifffile.COMPRESSION.JPEG:
        return
    tables = page.jpegtables
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        page.parent.filehandle.seek(offset)
        segment = page.parent.filehandle.read(count)
        if tables:  # an abbreviated stream: the tables' end mark and the segment's start mark fall away
            segment = tables[:-2] + segment[2:]
        check_jpeg(segment)


def _decoded(source: Source, planes: Sequence[_Plane], plane: _Plane, locator: str) -> Decoded:
    values = plane.values()
    low, high, rule = _limits(source, planes, plane, values)
    if plane.page.photometric == PHOTOMETRIC.MINISWHITE:
        low, high, rule = high, low, f"{rule}, white is zero"
    values = blacked(values, low, high)
    tag = plane.page.tags.get(ORIENTATION)
    orientation = int(tag.value) if tag is not None and isinstance(tag.value, int) else 1
    values = turned(values, orientation)
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    return Decoded(locator=locator, values=values, low=low, high=high, rule=rule, modality=None)


def _limits(source: Source, planes: Sequence[_Plane], plane: _Plane, values: Values) -> Limits:
    """The rule of a plane, which all planes of its kind share."""
    bits = plane.page.bitspersample
    is_whole = values.dtype.kind == "u"
    if is_whole and values.dtype.itemsize == 1:  # palettes have become 8 bits of colour
        is_narrow = plane.page.photometric in (*GREY, PHOTOMETRIC.RGB) and isinstance(bits, int)
        return depth_rule(values, bits if is_narrow else None)
    if is_whole and isinstance(bits, int) and bits not in WHOLE_BYTES:
        return 0.0, float(2**bits - 1), f"bit depth {bits} of {8 * values.dtype.itemsize}"
    # A mask or a colour picture beside a stack has a scale of its own.
    alike = [other for other in planes if other.kind() == plane.kind()]
    if len(alike) == 1:
        return range_rule(values)
    return remembered(source, ("tiff", *plane.kind()), lambda: _shared(alike, values.size))


def _shared(planes: Sequence[_Plane], size: int) -> Limits:
    spread = Spread(len(planes) * size)
    for plane in planes:
        spread.add(plane.values())
        if spread.is_decided():
            break
    return spread.by_type()


def _coloured(page: tifffile.TiffPage, stored: Values) -> Values:
    """Through the colour map, whose entries of 16 bits hold 8: in the upper byte by the standard, in the
    lower one in some files (libtiff takes them so, too).
    """
    if page.colormap is None or stored.dtype.kind not in "bu":
        raise InputError("has palette indices and no palette")
    shift = 8 if int(page.colormap.max()) > 255 else 0
    colours = (page.colormap.T >> shift).astype(np.uint8)
    if int(stored.max()) >= len(colours):
        raise InputError("has palette indices beyond its palette")
    values: Values = colours[stored.astype(np.intp)]
    return values


def _from_inks(stored: Values) -> Values:
    """Cyan, magenta, yellow and black to red, green and blue, each ink taking away light, as Pillow does."""
    most = np.iinfo(stored.dtype).max
    light = most - stored.astype(np.uint32)
    values: Values = ((light[..., :3] * light[..., 3:] + most // 2) // most).astype(stored.dtype)
    return values
