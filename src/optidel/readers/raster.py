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
from optidel.readers.source import Source

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF")
"""What Pillow may take a file for; some of its other decoders start programs or read several files."""

ORIENTATION = 0x0112

SMALL = 1 << 26
"""Bytes of a file that is read whole before it is decoded."""

MAX_CHUNK = 1 << 30
"""Bytes of the longest chunk of a PNG that is read."""

EXIF = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
"""Where a PNG may state its orientation."""

GREY = ("1", "L", "LA", "La")


def read_raster(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
    """JPEG, PNG, BMP, WebP, GIF: one frame, or ``frame:i`` of an animation."""
    del options
    with source.open() as stream:
        deep = stream.read(25)[-1:] == b"\x10"  # where a PNG states its bits
        stream.seek(0)
        data = stream.read() if source.size < SMALL else b""
        yield from _frames(source, BytesIO(data) if data else stream, data, deep, wanted)


def _frames(
    source: Source, stream: BinaryIO, data: bytes, deep: bool, wanted: Collection[str] | None
) -> Iterator[Decoded]:
    with _opened(source, stream) as image:
        check_size(image.width, image.height)
        count = (
            1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        )  # the other pictures of an MPO are previews
        check_frames(count)
        if image.format == "PNG" and wanted is None:
            _check_chunks(stream)
        if count > 1:
            yield from _animation(image, count, wanted)
            return
        if deep and image.format == "PNG":
            values, turn = _sixteen_bits(stream), image.getexif().get(ORIENTATION, 1)
        elif (
            quick := _quick(image, data)
        ) is not None:  # Pillow would decode a PNG to look for a tag behind the pixels
            values, turn = quick, 1 if image.format == "PNG" else image.getexif().get(ORIENTATION, 1)
        else:
            values, turn = _values(image), image.getexif().get(ORIENTATION, 1)
        values = turned(values, turn)
        low, high, rule = depth_rule(values)
        yield Decoded(locator="", values=values, low=low, high=high, rule=rule, modality=None)


def _opened(source: Source, stream: BinaryIO) -> PillowImage.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)  # our own limit follows
        try:
            return PillowImage.open(stream, formats=FORMATS)
        except UnidentifiedImageError:
            raise InputError(f"is no image, though its ending is {ending(source.name)!r}") from None
        except PillowImage.DecompressionBombError:
            raise InputError(
                f"declares more pixels than the limit of {MAX_PIXELS // 1_000_000} megapixels"
            ) from None


def _check_chunks(stream: BinaryIO) -> None:
    """Compare the checksum of every chunk of a PNG; Pillow does not look at that of the pixels, which are
    then silently wrong.
    """
    place = stream.tell()
    stream.seek(8)
    name = b""
    while name != b"IEND":
        head = stream.read(8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        body = stream.read(min(length, MAX_CHUNK))
        if (
            len(head) < 8
            or len(body) < length
            or stream.read(4) != zlib.crc32(name + body).to_bytes(4, "big")
        ):
            raise InputError("is damaged: the checksum of a PNG chunk fails, or it is cut short")
    stream.seek(place)


def _values(image: PillowImage.Image) -> np.ndarray[Any, Any]:
    if image.mode in GREY:
        grey = image if image.mode == "L" else image.convert("L")
        return np.asarray(grey)[..., None]
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _quick(image: PillowImage.Image, data: bytes) -> np.ndarray[Any, Any] | None:
    """The same values, decoded a third faster, where the file is as most are, else None: Pillow copies every
    picture twice.
    """
    import imagecodecs

    decode = {"JPEG": imagecodecs.jpeg8_decode, "PNG": imagecodecs.png_decode}.get(image.format or "")
    shape = {"L": (image.height, image.width), "RGB": (image.height, image.width, 3)}.get(image.mode)
    if decode is None or shape is None or "transparency" in image.info:
        return None
    end = data.rfind(b"\xff\xd9")
    if image.format == "JPEG" and (
        end < 0 or data.find(b"\xff\xda", end) >= 0
    ):  # libjpeg would paint grey what is cut off
        return None
    if image.format == "PNG" and any(tag in data for tag in EXIF):
        return None
    try:
        values: np.ndarray[Any, Any] = decode(data)
    except Exception:  # Pillow says why, or knows better
        return None
    return values.reshape(*shape[:2], -1) if values.shape == shape and values.dtype == np.uint8 else None


def _sixteen_bits(stream: BinaryIO) -> np.ndarray[Any, Any]:
    """A PNG of 16 bits a channel; Pillow would keep 8 of them where there is more than one channel."""
    import imagecodecs

    stream.seek(0)
    values: np.ndarray[Any, Any] = imagecodecs.png_decode(stream.read())
    values = values[..., None] if values.ndim == 2 else values
    return np.ascontiguousarray(values[..., : 3 if values.shape[2] >= 3 else 1])


def _animation(image: PillowImage.Image, count: int, wanted: Collection[str] | None) -> Iterator[Decoded]:
    seconds = 0.0
    for i in range(count):
        try:
            image.seek(i)
            check_size(*image.size)  # a frame of a GIF may stretch its canvas
            image.load()  # even if it is not wanted: later frames are painted over this one
        except Exception as error:
            raise InputError(
                f"frame {i} of {count}: {error if isinstance(error, InputError) else type(error).__name__}"
            ) from None
        if wanted is None or f"frame:{i}" in wanted:
            values = np.array(_values(image))
            low, high, rule = depth_rule(values)
            yield Decoded(
                locator=f"frame:{i}",
                values=values,
                low=low,
                high=high,
                rule=rule,
                modality=None,
                seconds=round(seconds, 3),
            )
        seconds += image.info.get("duration", 0) / 1000
