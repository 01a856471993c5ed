"""TIFF and BigTIFF: pages of 8, 16 or 32 bits, whole numbers or floats, striped or tiled, in any compression.

Rule: by type, see ``range_rule``. Reduced copies of a page (pyramids) are left out; alpha is dropped;
    palettes become colour.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import tifffile

from optidel.errors import InputError
from optidel.readers.decoded import (
    Decoded,
    DecodeOptions,
    check_bytes,
    check_frames,
    check_size,
    range_rule,
    turned,
)
from optidel.readers.source import Source

ORIENTATION = 274

GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
JPEGS = (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG)


def read_tiff(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    """Pages: one frame, or ``page:i`` where there are several."""
    del options
    with source.open() as stream, tifffile.TiffFile(stream) as file:
        check_frames(len(file.pages))
        pages = [page for number in range(len(file.pages)) if not (page := _page(file, number)).is_reduced]
        if not pages:
            raise InputError("holds reduced copies of a page, and no page")
        for page in pages:
            _check(page)
        for number, page in enumerate(pages):
            locator = f"page:{number}" if len(pages) > 1 else ""
            if wanted is None or locator in wanted:
                try:
                    decoded = _decoded(page, locator)
                except (InputError, MemoryError):
                    raise
                except Exception as error:  # a damaged page raises anything
                    raise InputError(
                        f"page {number} of {len(pages)} cannot be decoded ({type(error).__name__})"
                    ) from None
                yield decoded


def _page(file: tifffile.TiffFile, number: int) -> tifffile.TiffPage:
    page = file.pages[number]
    assert isinstance(page, tifffile.TiffPage)
    return page


def _check(page: tifffile.TiffPage) -> None:
    """What the header declares: sizes first, then a kind of picture that has a meaning here."""
    check_size(page.imagewidth, page.imagelength)
    if page.imagedepth > 1:
        raise InputError(f"holds {page.imagedepth} planes in one page; save each as a page of its own")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise InputError("has a number format that images do not use")
    check_bytes(page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize)
    extra, samples = len(page.extrasamples), page.samplesperpixel
    colour = page.photometric == tifffile.PHOTOMETRIC.RGB or (
        page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression in JPEGS
    )
    grey = page.photometric in (*GREY, tifffile.PHOTOMETRIC.PALETTE)
    if not (colour and samples - extra == 3) and not (grey and samples - min(extra, 1) == 1):
        kind = getattr(page.photometric, "name", "unknown")
        raise InputError(
            f"has {samples} channels of the kind {kind}, neither grey nor colour; save one image a channel"
        )
    _check_storage(page)


def _check_storage(page: tifffile.TiffPage) -> None:
    """Tiles or strips far larger than the page would be allocated whole."""
    tile = page.tilewidth * page.tilelength
    if page.is_tiled and tile > 4 * page.imagewidth * page.imagelength + 1_000_000:
        raise InputError(
            f"declares tiles of {page.tilewidth} x {page.tilelength} px for {page.imagewidth} x {page.imagelength} px"
        )
    stored = sum(page.databytecounts)
    size = page.parent.filehandle.size
    if stored > 2 * size:  # the same bytes may serve twice, a hundred times is an attack
        raise InputError(f"declares {stored} bytes of pixels and has {size}")
    if any(
        offset + count > size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
    ):
        raise InputError("is cut: pixels lie beyond the end of the file")


def _decoded(page: tifffile.TiffPage, locator: str) -> Decoded:
    stored = page.asarray()
    if page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        stored = np.moveaxis(stored, 0, -1)
    stored = stored[..., None] if stored.ndim == 2 else stored
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        values = _coloured(page, stored[..., 0])
    else:
        values = stored[..., : 3 if stored.shape[-1] >= 3 else 1]
    low, high, rule = range_rule(values)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        low, high, rule = high, low, f"{rule}, white is zero"
    tag = page.tags.get(ORIENTATION)
    values = turned(
        np.ascontiguousarray(values), int(tag.value) if tag is not None and isinstance(tag.value, int) else 1
    )
    return Decoded(locator=locator, values=values, low=low, high=high, rule=rule, modality=None)


def _coloured(page: tifffile.TiffPage, stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Through the colour map of 16-bit entries, of which only the upper eight bits are in use."""
    if page.colormap is None or stored.dtype.kind not in "bu":
        raise InputError("has palette indices and no palette")
    colours = (page.colormap.T >> 8).astype(np.uint8)
    if int(stored.max()) >= len(colours):
        raise InputError("has palette indices beyond its palette")
    values: np.ndarray[Any, Any] = colours[stored.astype(np.intp)]
    return values
