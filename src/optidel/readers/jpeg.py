"""JPEG with the warnings of its decoder: libjpeg fills what it cannot read with grey and says so, but most
wrappers keep that to themselves.
"""

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from optidel.errors import InputError

DAMAGE = ("Corrupt JPEG data", "Premature end")
"""How libjpeg's warnings about pixels begin; others concern headers."""

HARMLESS = (
    "Corrupt JPEG data: bad ICC marker",
    "Inconsistent progression",
    "Invalid SOS parameters",
    "Unknown Adobe",
    "Warning: unknown JFIF",
)
"""How warnings begin that do not concern the pixels."""

REMEDY = 'corpus.damaged = "keep" reads it all the same'
"""How what is refused for a warning is read nevertheless."""

SPACES = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}
"""Colour space of a file to that in which it is decoded; RGB for all others."""


def decode_jpeg(data: bytes, space: str, strict: bool) -> UInt8[np.ndarray, "h w c"] | None:
    """Baseline or progressive JPEG of 8 bits, by libjpeg-turbo.

    Args:
        data: the file.
        space: ``GRAY``, ``RGB`` or ``CMYK``.
        strict: whether the decoder's warnings count.

    Returns:
        Values; None where this decoder does not read the file, and another may.

    Raises:
        InputError: the decoder warns of damage.
    """
    try:
        return _decoded(data, space, warnings=True)
    except ValueError as error:
        message = str(error)
    is_harmless = message.startswith(HARMLESS)
    is_damage = message.startswith(DAMAGE) and not is_harmless
    if strict and is_damage:
        raise InputError(f"is damaged: its decoder warns {message!r}; {REMEDY}")
    # Without warnings the decoder keeps its errors to itself as well, so it is asked for warned pictures only.
    return _decoded(data, space, warnings=False) if is_harmless or is_damage else None


def _decoded(data: bytes, space: str, warnings: bool) -> UInt8[np.ndarray, "h w c"]:
    values: UInt8[np.ndarray, "h w c"] = simplejpeg.decode_jpeg(data, colorspace=space, strict=warnings)
    return values


def check_jpeg(data: bytes) -> None:
    """Refuse JPEG about which its decoder warns; silent about kinds that it does not know.

    Raises:
        InputError: the decoder warns of damage.
    """
    try:
        space = simplejpeg.decode_jpeg_header(data, strict=False)[2]
    except ValueError:
        return
    decode_jpeg(data, SPACES.get(space, "RGB"), strict=True)
