"""What a compressed frame inside a DICOM file declares of itself, read before a decoder allocates for it."""

from pydicom.encaps import generate_frames

from optidel.errors import InputError
from optidel.readers.jpeg import REMEDY

FRAME_HEADERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG (SOF0 to SOF15) and JPEG-LS that are followed by the size."""

BARE_MARKERS = frozenset((0x00, 0x01, *range(0xD0, 0xDB)))
"""Markers of JPEG without a length, and the start of a scan: nothing that stands before the size, though a
decoder may skip it.
"""

JP2, SIZE = b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"
"""How JPEG 2000 begins: wrapped in a file of its own, and bare."""


SIZ_BITS = 42
"""Bytes from the start of a code stream to the depth of its first component (ISO 15444-1, A.5.1)."""


def check_codestreams(pixels: bytes, count: int, width: int, height: int, samples: int) -> None:
    """Refuse compressed frames that are not of the size that the dataset declares.

    Args:
        pixels: encapsulated pixel data.
        count: frames declared.
        width, height, samples: declared, in pixels and samples a pixel.

    Raises:
        InputError: a frame declares another size, or none.
    """
    for i, frame in enumerate(generate_frames(pixels, number_of_frames=count)):
        if i == count:
            return
        size = jpeg2000_size(frame) if frame.startswith((JP2, SIZE)) else _jpeg_size(frame)
        if size is None:
            raise InputError(f"frame {i} of {count}: its compressed data has no header")
        if size != (width, height, samples):
            raise InputError(
                f"frame {i} of {count}: its compressed data declares {size[0]} x {size[1]} px "
                f"of {size[2]} samples, the dataset {width} x {height} px of {samples}"
            )


def check_end(frame: bytes) -> None:
    """Refuse JPEG whose last scan has no end: decoders fill what is missing with grey and say nothing.

    Raises:
        InputError: cut.
    """
    if frame.rfind(b"\xff\xd9") < frame.rfind(b"\xff\xda"):
        raise InputError(f"is cut: its JPEG has no end; {REMEDY}")


def jpeg2000_codestream(frame: bytes) -> bytes:
    """The code stream without a wrapper, whose boxes DICOM does not use: what is decoded is what
    ``check_codestreams`` looked at.

    Raises:
        ValueError: there is none.
    """
    return frame[frame.index(SIZE) :] if frame.startswith(JP2) else frame


def _jpeg_size(frame: bytes) -> tuple[int, int, int] | None:
    """Width, height and components of JPEG and JPEG-LS."""
    position = 2
    while position + 10 <= len(frame):
        if frame[position] != 0xFF:
            return None
        marker = frame[position + 1]
        if marker == 0xFF:  # fill bytes before a marker are allowed
            position += 1
        elif marker in FRAME_HEADERS:
            height, width = (int.from_bytes(frame[position + at : position + at + 2]) for at in (5, 7))
            return width, height, frame[position + 9]
        elif marker in BARE_MARKERS:
            return None
        else:
            position += 2 + max(2, int.from_bytes(frame[position + 2 : position + 4]))
    return None


def jpeg2000_size(frame: bytes) -> tuple[int, int, int] | None:
    """Width, height and components from the SIZ segment, which follows the start of the codestream."""
    # ISO 15444-1, A.5.1: length and capabilities, then the size of the grid and its offset.
    start = frame.find(SIZE) + 2
    fields = frame[start + 6 : start + 40]
    if start < 2 or len(fields) < 34:
        return None
    width, height, left, top = (int.from_bytes(fields[at : at + 4]) for at in (0, 4, 8, 12))
    return width - left, height - top, int.from_bytes(fields[32:34])


def jpeg2000_bits(frame: bytes) -> int | None:
    """Bits of the first component (its sign included), from the same segment; None where there is none."""
    start = frame.find(SIZE)
    if start < 0 or start + SIZ_BITS >= len(frame):
        return None
    return (frame[start + SIZ_BITS] & 0x7F) + 1
