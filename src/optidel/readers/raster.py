"""JPEG, PNG, BMP, WebP and GIF: the pictures of cameras, screens and the web.

Rule: bit depth. Alpha is dropped, palettes become colour, EXIF rotation is applied; frames of an animation
    keep their time.
"""

import warnings
import zlib
from collections.abc import Collection, Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from optidel.errors import InputError
from optidel.readers.codecs import load_codecs
from optidel.readers.decoded import (
    MAX_PIXELS,
    Decoded,
    DecodeOptions,
    check_frames,
    check_size,
    depth_rule,
    ending,
    turned,
)
from optidel.readers.jpeg import REMEDY, JpegHeader, check_jpeg, check_range, decode_jpeg, jpeg_header
from optidel.readers.source import Source
from optidel.readers.webp import (
    IF_IT_DECODES,
    check_streams,
    check_whole,
    completed,
    is_webp,
    lengthened,
)

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF")
"""What Pillow may take a file for; some of its other decoders start programs or read several files."""

ORIENTATION = 0x0112

SMALL = 1 << 26
"""Bytes of a file that is read whole before it is decoded (64 MiB): 100 megapixels of JPEG are fewer."""

MAX_CHUNK = 1 << 30
"""Bytes of the longest chunk of a PNG that is read: more than 100 megapixels of 16 bits in colour."""

EXIF = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
"""Where a PNG may state its orientation."""

JPEGS = ("JPEG", "MPO")
START_OF_JPEG, END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"

FILLED = (*JPEGS, "BMP", "DIB", "WEBP")
"""Formats that are read without their last rows: black in BMP, grey in JPEG, without a meaning in WebP."""

WIDEST = 4
"""Bytes a pixel of the widest BMP, and of what its rows are filled up to."""

MAX_ANIMATION = 20_000
"""Frames of the longest animation: half an hour at ten a second. A GIF of a few bytes a frame can hold a
hundred times as many, and none of them is a picture of anything.
"""

GREY = ("1", "L", "LA", "La")


def read_raster(
    source: Source, options: DecodeOptions, locators: Collection[str] | None
) -> Iterator[Decoded]:
    """JPEG, PNG, BMP, WebP, GIF: one frame, or ``frame:i`` of an animation."""
    strict = locators is None and options.damaged == "refuse"
    with source.open() as file:
        data = file.read() if source.size < SMALL else b""
        header = jpeg_header(data) if data.startswith(START_OF_JPEG) else None
        if header is not None and header.is_deep:
            yield _deep_jpeg(data, header, strict)
            return
        if is_webp(data):
            data = _whole_webp(data, strict)
        stream = BytesIO(data) if data else file
        with _opened(source, stream) as image:
            check_size(image.width, image.height)
            # The other pictures of an MPO are previews.
            count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            check_frames(count)
            if image.format == "PNG" and locators is None:
                _check_chunks(stream)
            if count > MAX_ANIMATION:
                raise InputError(f"holds {count} frames, more than the {MAX_ANIMATION} an animation may have")
            if image.format == "WEBP" and data and strict:
                check_streams(data)
            if count > 1:
                yield from _animation(image, count, locators)
            else:
                yield _picture(image, stream, data, strict)


def _picture(image: PillowImage.Image, stream: BinaryIO, data: bytes, strict: bool) -> Decoded:
    turn = None
    if image.format == "PNG" and _bits(stream) == 16:
        values = _sixteen_bits(stream)
    elif (quick := _quick(image, data, strict)) is not None:
        values = quick
        if image.format == "PNG":
            turn = 1  # it has no tag: Pillow would decode it once more to look for one behind the pixels
    else:
        if strict and image.format in JPEGS:
            check_jpeg(data)
        values = _filled(image, stream, strict)
    values = turned(values, orientation_of(image) if turn is None else turn)
    low, high, rule = depth_rule(values)
    return Decoded(locator="", values=values, low=low, high=high, rule=rule, modality=None)


def orientation_of(image: PillowImage.Image) -> int:
    """The EXIF orientation of an opened picture, 1 to 8; 1 where it states none that can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other tags, cut or of a wrong type: no pixel hangs on them
        tag = image.getexif().get(ORIENTATION, 1)
    return tag if tag in range(1, 9) else 1


def _filled(image: PillowImage.Image, stream: BinaryIO, strict: bool) -> np.ndarray[Any, Any]:
    """The values; a file that is too short is refused, or read with something else for what is missing."""
    try:
        return _values(image)
    except OSError as error:
        if image.format not in FILLED or (image.format != "WEBP" and "truncated" not in str(error)):
            raise
    if strict and image.format == "WEBP":
        raise InputError(f"is damaged: its WebP stream ends before the last pixel; {IF_IT_DECODES}")
    if strict:
        raise InputError(f"is cut: its data ends before the last row; {REMEDY}")
    stream.seek(0)
    data = stream.read()
    if image.format == "WEBP":
        data = lengthened(data)
    elif image.format in JPEGS:
        data += END_OF_JPEG
    else:
        data += bytes((image.width + 1) * image.height * WIDEST)
    with PillowImage.open(BytesIO(data), formats=FORMATS) as whole:
        try:
            return _values(whole)
        except OSError:
            raise InputError("is cut or damaged, and cannot be decoded") from None


def _whole_webp(data: bytes, strict: bool) -> bytes:
    if not strict:
        return completed(data)
    check_whole(data)
    return data


def _deep_jpeg(data: bytes, header: JpegHeader, strict: bool) -> Decoded:
    """JPEG of 9 to 16 bits, lossless or of 12 bits, which Pillow does not know."""
    check_size(header.width, header.height)
    if strict:
        check_jpeg(data)
    codecs: Any = load_codecs()
    try:
        values: np.ndarray[Any, Any] = codecs.jpeg_decode(data)
    except (ValueError, RuntimeError):
        raise InputError(f"is JPEG of {header.bits} bits, and cannot be decoded") from None
    if strict:
        check_range(values, header)
    values = values[..., None] if values.ndim == 2 else np.ascontiguousarray(values[..., :3])
    most = 2**header.bits - 1
    rule = f"bit depth {header.bits} of {8 * values.dtype.itemsize}"
    return Decoded(locator="", values=values, low=0.0, high=float(most), rule=rule, modality=None)


def _bits(stream: BinaryIO) -> int:
    """Bits a channel, as a PNG states them in the first chunk."""
    stream.seek(24)
    return int.from_bytes(stream.read(1))


def _opened(source: Source, stream: BinaryIO) -> PillowImage.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our own limit of pixels follows, and of cut tags hangs nothing
        try:
            return PillowImage.open(stream, formats=FORMATS)
        except UnidentifiedImageError:
            raise InputError(f"is no image, though its ending is {ending(source.name)!r}") from None
        except OSError:  # cut within its headers; and WebP is decoded whole here
            raise InputError("is damaged: its headers cannot be read") from None
        except PillowImage.DecompressionBombError:
            raise InputError(
                f"declares more pixels than the limit of {MAX_PIXELS // 1_000_000} megapixels"
            ) from None


def _check_chunks(stream: BinaryIO) -> None:
    """Compare the checksum of every chunk of a PNG; Pillow does not look at that of the pixels, which are
    then silently wrong.
    """
    start = stream.tell()
    stream.seek(8)
    name = b""
    while name != b"IEND":
        head = stream.read(8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        body = stream.read(min(length, MAX_CHUNK))
        checksum = stream.read(4)
        is_whole = len(head) == 8 and len(body) == length
        if not is_whole or checksum != zlib.crc32(name + body).to_bytes(4, "big"):
            raise InputError("is damaged: the checksum of a PNG chunk fails, or it is cut short")
    stream.seek(start)


def _values(image: PillowImage.Image) -> np.ndarray[Any, Any]:
    if image.mode in GREY:
        grey = image if image.mode == "L" else image.convert("L")
        return np.asarray(grey)[..., None]
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _quick(image: PillowImage.Image, data: bytes, strict: bool) -> np.ndarray[Any, Any] | None:
    """The values that Pillow gives, decoded a third faster, where the file is as most are, else None: Pillow
    copies every picture twice.

    Raises:
        InputError: JPEG, and ``strict``, and its decoder warns of damage.
    """
    shapes = {"L": (image.height, image.width, 1), "RGB": (image.height, image.width, 3)}
    shape = shapes.get(image.mode)
    if shape is None or not data:
        return None
    if image.format == "JPEG":
        values = decode_jpeg(data, "GRAY" if image.mode == "L" else "RGB", strict)
    elif image.format == "PNG" and "transparency" not in image.info:
        values = _quick_png(data)
    else:
        return None
    if values is None or values.size != np.prod(shape) or values.dtype != np.uint8:
        return None
    return values.reshape(shape)


def _quick_png(data: bytes) -> np.ndarray[Any, Any] | None:
    if any(tag in data for tag in EXIF):
        return None
    try:
        codecs: Any = load_codecs()
        values: np.ndarray[Any, Any] = codecs.png_decode(data)
    except Exception:  # Pillow says why, or knows better
        return None
    return values


def _sixteen_bits(stream: BinaryIO) -> np.ndarray[Any, Any]:
    """A PNG of 16 bits a channel; Pillow would keep 8 of them where there is more than one channel."""
    codecs: Any = load_codecs()
    stream.seek(0)
    values: np.ndarray[Any, Any] = codecs.png_decode(stream.read())
    values = values[..., None] if values.ndim == 2 else values
    return np.ascontiguousarray(values[..., : 3 if values.shape[2] >= 3 else 1])


def _animation(image: PillowImage.Image, count: int, locators: Collection[str] | None) -> Iterator[Decoded]:
    seconds = 0.0
    for i in range(count):
        _seek(image, i, count)
        locator = f"frame:{i}"
        if locators is None or locator in locators:
            values = np.array(_values(image))
            low, high, rule = depth_rule(values)
            yield Decoded(
                locator=locator,
                values=values,
                low=low,
                high=high,
                rule=rule,
                modality=None,
                seconds=round(seconds, 3),
            )
        seconds += image.info.get("duration", 0) / 1000


def _seek(image: PillowImage.Image, i: int, count: int) -> None:
    """Paint frame ``i``; every one in turn, for later frames are painted over earlier ones."""
    try:
        image.seek(i)
        check_size(*image.size)  # a frame of a GIF may stretch its canvas
        image.load()
    except InputError as error:
        raise InputError(f"frame {i} of {count}: {error}") from None
    except Exception as error:
        raise InputError(f"frame {i} of {count}: {type(error).__name__}") from None
