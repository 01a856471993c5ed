"""WebP, and whether it is damaged: it has no checksum, but a sound stream is needed to its last bytes.

Both codecs of WebP write one stream of entropy-coded bits without markers: behind a changed bit a decoder
reads something else and never finds back. libwebp complains where the bits run out too early, and says
nothing where some are left. Whether some are left shows a copy without the last bytes: of a sound picture
it cannot be decoded.
"""

from collections.abc import Iterator
from io import BytesIO

from PIL import Image as PillowImage

from optidel.errors import InputError
from optidel.readers.jpeg import REMEDY

SPARE = 16
"""Bytes that the copy lacks. Encoders end a stream with up to 4 that no decoder needs: of 532 sound files
3 decode without their last 4, none without their last 8.
"""

SHORTEST = 64
"""Bytes of the shortest stream that is looked at: one of a single colour has next to nothing to lack."""

CONTAINER = 12
"""Bytes before the first chunk: RIFF, the size of what follows, WEBP."""

ANIMATED_FRAME = 16
"""Bytes of position, size and duration before the chunks of an animation's frame."""

STREAMS = (b"VP8 ", b"VP8L")
"""Chunks that hold pixels, with and without loss."""

MAX_PADDING = 1 << 26
"""Bytes that a cut file may lack (64 MiB) to be read with zeros in their place: a header can declare 4 GiB.
"""

REST = 1 << 20
"""Zeros (1 MiB) behind a stream that ends too early; even at a bit a pixel enough for 8 megapixels."""

IF_IT_DECODES = f"{REMEDY} where it still decodes"
"""What ``keep`` can do for a stream that is not whole: without the tables at its start nothing is read."""


def is_webp(data: bytes) -> bool:
    """Whether a file begins as WebP does."""
    return data[:4] == b"RIFF" and data[8:CONTAINER] == b"WEBP"


def missing_bytes(data: bytes) -> int:
    """How many bytes the file declares beyond its end; 0 where it is whole.

    Args:
        data: a WebP file.
    """
    return max(0, 8 + int.from_bytes(data[4:8], "little") - len(data))


def check_whole(data: bytes) -> None:
    """Refuse WebP that is cut.

    Args:
        data: a WebP file.

    Raises:
        InputError: its header declares more bytes than there are.

    Source: RFC 9649 (WebP), section 2.4.
    """
    if missing := missing_bytes(data):
        raise InputError(f"is cut: its header declares {missing} bytes more than there are; {IF_IT_DECODES}")


def check_streams(data: bytes) -> None:
    """Refuse WebP in which the stream of a picture goes on behind its last pixel.

    Args:
        data: a WebP file that is whole; its size in pixels is checked by the caller.

    Raises:
        InputError: damaged.
    """
    for name, stream in _streams(data, CONTAINER, len(data)):
        if len(stream) >= SHORTEST and _is_decodable(_alone(name, stream[:-SPARE])):
            raise InputError(f"is damaged: its WebP stream goes on behind the last pixel; {REMEDY}")


def completed(data: bytes) -> bytes:
    """A cut file with zeros for what is missing: its first rows, and a rest that means nothing.

    Args:
        data: a WebP file.

    Raises:
        InputError: more is missing than 64 MiB.
    """
    missing = missing_bytes(data)
    if missing > MAX_PADDING:
        raise InputError(f"is cut: its header declares {missing} bytes more than there are")
    return data + bytes(missing) if missing else data


def lengthened(data: bytes) -> bytes:
    """The first picture of a file alone, its stream followed by zeros: one that ends before the last pixel
    decodes then, and what comes behind its end means nothing.

    Args:
        data: a WebP file.

    Raises:
        InputError: it holds no picture.
    """
    for name, stream in _streams(data, CONTAINER, len(data)):
        return _alone(name, stream + bytes(REST))
    raise InputError("is damaged: it holds no picture")


def _streams(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk with pixels, those of an animation's frames included."""
    while position + 8 <= end:
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        start, stop = position + 8, min(position + 8 + size, end)
        if name in STREAMS:
            yield name, data[start:stop]
        elif name == b"ANMF":
            yield from _streams(data, start + ANIMATED_FRAME, stop)
        position = start + size + size % 2


def _alone(name: bytes, stream: bytes) -> bytes:
    """A file of one chunk."""
    chunk = name + len(stream).to_bytes(4, "little") + stream + bytes(len(stream) % 2)
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk


def _is_decodable(data: bytes) -> bool:
    try:
        with PillowImage.open(BytesIO(data), formats=["WEBP"]) as image:
            image.load()
    except OSError:
        return False
    return True
