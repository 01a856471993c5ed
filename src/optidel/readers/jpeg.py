"""JPEG, and whether it is damaged: it has no checksum, but three things tell.

libjpeg fills what it cannot read with grey and warns, which most wrappers keep to themselves. Where a
changed bit shifts the brightness of all blocks behind it, some of them end up brighter than white or
darker than black, which no encoder writes. And where all steps of a quantization table but a few are those
of the standard at one quality, the few were not written so: they lay a pattern over the whole picture.
JPEG of 9 to 16 bits is looked at for warnings alone: in a copy that claims 8 bits, for the bits are coded in
the same way at every depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import simplejpeg
from jaxtyping import Int64, Integer, UInt8

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


EIGHT, TWELVE, SIXTEEN = 8, 12, 16
"""Bits a sample: of nearly all JPEG, of lossy JPEG in radiology, and the most that lossless JPEG has."""

HEADROOM = 4
"""Times that the range is widened to see block means beyond it; damage seldom shifts by more than 384
levels.
"""

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99, 99, 99, 99, 99, 99, 99, 99)] * 4,
)
"""Quantization steps of the standard (ITU-T T.81, tables K.1 and K.2), which libjpeg scales by quality."""

FEW = 8
"""Of the 64 steps may be damaged; where more differ it is a table of its own, and nothing is said of it."""

TUNED = 16
"""Levels by which encoders that tune a step of the standard stay below; a changed byte seldom does."""

QUANTIZATION, SCAN = 0xDB, 0xDA
BASELINE, LOSSLESS = 0xC0, 0xC3
FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
"""Markers of a frame that is coded in blocks of 8 x 8: baseline, extended, progressive, and arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHeader:
    """What the header of a frame declares: bits a sample, width and height in pixels, whether it is coded
    without loss, or as the oldest decoders read it (baseline); and where in the file the bits stand.
    """

    bits: int
    width: int
    height: int
    is_lossless: bool
    is_baseline: bool
    bits_at: int

    @property
    def is_deep(self) -> bool:
        """Whether it is JPEG of 9 to 16 bits, as the standard allows it (ITU-T T.81, table B.2)."""
        lossy = self.bits == TWELVE and not self.is_baseline
        return lossy or (self.is_lossless and EIGHT < self.bits <= SIXTEEN)


def jpeg_header(data: bytes) -> JpegHeader | None:
    """The header of the frame (ITU-T T.81, B.2.2); None where there is none before the first scan.

    Args:
        data: JPEG of any kind.
    """
    for marker, position, end in _segments(data):
        if (marker in FRAMES or marker == LOSSLESS) and end >= position + 10:
            height, width = (int.from_bytes(data[position + at : position + at + 2]) for at in (5, 7))
            return JpegHeader(
                bits=data[position + 4],
                width=width,
                height=height,
                is_lossless=marker == LOSSLESS,
                is_baseline=marker == BASELINE,
                bits_at=position + 4,
            )
    return None


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
        values = _decoded(data, space, warnings=True)
    except ValueError as error:
        message = str(error)
    else:
        if strict and has_impossible_blocks(data):
            raise InputError(
                f"is damaged: blocks of its JPEG are brighter than white or darker than black; {REMEDY}"
            )
        if strict and has_changed_steps(data):
            raise InputError(
                "is damaged: its JPEG has a quantization table of the standard in which a few steps differ; "
                f"{REMEDY}"
            )
        return values
    is_harmless = message.startswith(HARMLESS)
    is_damage = message.startswith(DAMAGE) and not is_harmless
    if strict and is_damage:
        raise InputError(f"is damaged: its decoder warns {message!r}; {REMEDY}")
    # Without warnings the decoder keeps its errors to itself as well, so only warned pictures are decoded so.
    return _decoded(data, space, warnings=False) if is_harmless or is_damage else None


def _decoded(data: bytes, space: str, warnings: bool) -> UInt8[np.ndarray, "h w c"]:
    values: UInt8[np.ndarray, "h w c"] = simplejpeg.decode_jpeg(data, colorspace=space, strict=warnings)
    return values


def check_jpeg(data: bytes) -> None:
    """Refuse JPEG about which its decoder warns, of 8 to 16 bits, lossless or not; silent about kinds that it
    does not know.

    Args:
        data: a file, or a frame of DICOM or a segment of TIFF with its tables.

    Raises:
        InputError: the decoder warns of damage.
    """
    header = jpeg_header(data)
    if header is not None and header.is_deep:
        _check_deep(data, header)
        return
    try:
        space = simplejpeg.decode_jpeg_header(data, strict=False)[2]
    except ValueError:
        return
    decode_jpeg(data, SPACES.get(space, "RGB"), strict=True)


def _check_deep(data: bytes, header: JpegHeader) -> None:
    """Warnings about a copy that claims 8 bits: the pixels mean nothing then, the bits are read as ever.

    What the changed bits do to brightness or to quantization is not looked at.
    """
    copy = bytearray(data)
    copy[header.bits_at] = EIGHT
    try:
        space = simplejpeg.decode_jpeg_header(bytes(copy), strict=False)[2]
        _decoded(bytes(copy), SPACES.get(space, "RGB"), warnings=True)
    except ValueError as error:
        message = str(error)
        if message.startswith(DAMAGE) and not message.startswith(HARMLESS):
            raise InputError(f"is damaged: its decoder warns {message!r}; {REMEDY}") from None


def check_range(values: Integer[np.ndarray, "h w *c"], header: JpegHeader) -> None:
    """Refuse lossless JPEG with values that its bits cannot hold.

    Lossless JPEG codes differences: behind a changed bit all values are shifted, often beyond the range.

    Args:
        values: as decoded, in a type wider than the bits.
        header: of the file.

    Raises:
        InputError: a value is 2 to the power of the bits, or more.
    """
    if header.is_lossless and int(values.max(initial=0)) >> header.bits:
        raise InputError(f"is damaged: its lossless JPEG of {header.bits} bits has larger values; {REMEDY}")


def has_impossible_blocks(data: bytes) -> bool:
    """Whether the mean of a block of 8 x 8 px lies beyond black or white by more than quantization explains.

    The step by which the means are multiplied is made smaller in a copy of the header, and the copy
    decoded at an eighth of its size, where a pixel is the mean of a block: nothing is clipped then.
    Brightness alone is looked at; False where its step is 1 or cannot be found.

    Args:
        data: JPEG of 8 bits that decodes.
    """
    position = _step_position(data)
    if position is None or data[position] < 2:
        return False
    step = data[position]
    smaller = -(-step // HEADROOM)
    copy = bytearray(data)
    copy[position] = smaller
    try:
        if simplejpeg.decode_jpeg_header(data, strict=False)[2] not in ("Gray", "YCbCr"):
            return False
        means = simplejpeg.decode_jpeg(
            bytes(copy), "GRAY", min_factor=8, min_height=1, min_width=1, strict=False
        )
    except ValueError:
        return False

    # The mean of a block is an eighth of its DC coefficient, above 128 (ITU-T T.81, A.3.1 and A.3.3).
    stretch = step / smaller
    darkest = (float(means.min()) - 128) * stretch + 128
    brightest = (float(means.max()) - 128) * stretch + 128
    rounding = step / 16 + stretch / 2 + 1  # of the coefficient, of the small picture, and of the encoder
    return darkest < -rounding or brightest > 255 + rounding


def has_changed_steps(data: bytes) -> bool:
    """Whether a quantization table is one of the standard's, at some quality, but for a few steps.

    The first step, of the means, is left out: encoders choose it on its own.

    Args:
        data: JPEG of 8 bits.
    """
    for position in _table_positions(data)[0].values():
        steps = np.frombuffer(data, np.uint8, 64, position)[1:].astype(np.int64)
        gap = np.abs(_standard_steps()[:, 1:] - steps)
        nearest = int((gap > 0).sum(axis=1).argmin())
        differing = gap[nearest] > 0
        if 0 < differing.sum() <= FEW and gap[nearest].max() > TUNED:
            return True
    return False


@cache
def _standard_steps() -> Int64[np.ndarray, "200 64"]:
    """Both tables of the standard at the 100 qualities of libjpeg, in the order in which files hold them."""
    rows, columns = np.indices((8, 8))
    diagonal = rows + columns
    # Up and down the diagonals in turn (ITU-T T.81, figure A.6).
    along = np.where(diagonal % 2 == 0, columns, rows)
    zigzag = np.lexsort((along.ravel(), diagonal.ravel()))
    bases = np.array([LUMINANCE, CHROMINANCE], np.int64).reshape(2, 1, 64)[..., zigzag]
    quality = np.arange(1, 101)
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)  # jpeg_quality_scaling of libjpeg
    scaled = (bases * percent[:, None] + 50) // 100
    return scaled.clip(1, 255).reshape(200, 64)


def _step_position(data: bytes) -> int | None:
    """Where the header holds the quantization step of the means of the first component's blocks."""
    tables, table = _table_positions(data)
    return tables.get(table) if table is not None else None


def _table_positions(data: bytes) -> tuple[dict[int, int], int | None]:
    """Where the header holds each quantization table of 8 bits, by number; that of the first component."""
    tables: dict[int, int] = {}
    table: int | None = None
    for marker, position, end in _segments(data):
        if marker == QUANTIZATION:
            tables |= _tables(data, position + 4, end)
        elif marker in FRAMES and position + 12 < len(data):
            table = data[position + 12]
    return tables, table


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, position and end of each segment before the first scan."""
    position = 2  # behind the start of the image, FF D8
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            position += 1
            continue
        if marker == SCAN:
            return
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        yield marker, position, end
        position = end


def _tables(data: bytes, position: int, end: int) -> dict[int, int]:
    """Number of each quantization table of 8 bits in a segment to the position of its first step."""
    tables = {}
    while position < min(end, len(data) - 64):
        # ITU-T T.81, B.2.4.1: four bits of precision, four of number, then 64 steps in zigzag order.
        precision, number = data[position] >> 4, data[position] & 15
        if precision == 0:
            tables[number] = position + 1
        position += 65 if precision == 0 else 129
    return tables
