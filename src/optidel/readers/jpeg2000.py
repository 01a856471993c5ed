"""JPEG 2000 files: ``.jp2`` and bare code streams.

Rule: bit depth, by the bits that the code stream states; signed values by percentiles. Alpha is dropped.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from optidel.errors import InputError
from optidel.readers.codecs import load_codecs
from optidel.readers.codestream import jpeg2000_bits, jpeg2000_size
from optidel.readers.decoded import (
    Decoded,
    DecodeOptions,
    check_bytes,
    check_size,
    depth_rule,
    percentile_rule,
)
from optidel.readers.source import Source


def read_jpeg2000(
    source: Source, options: DecodeOptions, locators: Collection[str] | None
) -> Iterator[Decoded]:
    """One frame."""
    del options, locators
    check_bytes(source.size)
    with source.open() as stream:
        data = stream.read()
    size, bits = jpeg2000_size(data), jpeg2000_bits(data)
    if size is None or bits is None:
        raise InputError("is no JPEG 2000 file, though its ending says so")
    width, height, components = size
    check_size(width, height)
    check_bytes(width * height * components * 4)
    # OpenJPEG in strict mode refuses what is cut, where others show the coarse half.
    codecs: Any = load_codecs()
    try:
        decoded = codecs.jpeg2k_decode(data, numthreads=1)
    except codecs.Jpeg2kError:
        raise InputError("is damaged or cut: its JPEG 2000 code stream cannot be decoded") from None

    values = decoded[..., None] if decoded.ndim == 2 else decoded
    values = np.ascontiguousarray(values[..., : 3 if values.shape[2] >= 3 else 1])
    if values.shape[:2] != (height, width):
        raise InputError(f"declares {width} x {height} px and holds {values.shape[1]} x {values.shape[0]}")
    is_plain = values.dtype.kind == "u" and values.dtype.itemsize <= 2
    low, high, rule = depth_rule(values, bits) if is_plain else percentile_rule(values)
    yield Decoded(locator="", values=values, low=low, high=high, rule=rule, modality=None)
