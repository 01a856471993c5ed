"""Readers: one file to its frames. A new format is one function and one line in ``formats.READERS``."""

from optidel.readers.decoded import MAX_FRAMES, MAX_PIXELS, Decoded, DecodeOptions, Reader
from optidel.readers.formats import RASTER, READERS, reader_for

__all__ = [
    "MAX_FRAMES",
    "MAX_PIXELS",
    "RASTER",
    "READERS",
    "DecodeOptions",
    "Decoded",
    "Reader",
    "reader_for",
]
