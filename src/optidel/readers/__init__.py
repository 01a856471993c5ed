"""Readers: one file to its frames. A new format is one function and one line in ``formats.READERS``."""

from optidel.readers.decoded import MAX_FRAMES, MAX_PIXELS, Decoded, DecodeOptions, Reader, Window, window_of
from optidel.readers.formats import RASTER, READERS, reader_for, unread

__all__ = [
    "MAX_FRAMES",
    "MAX_PIXELS",
    "RASTER",
    "READERS",
    "DecodeOptions",
    "Decoded",
    "Reader",
    "Window",
    "reader_for",
    "unread",
    "window_of",
]
