"""One mask file as a viewer shows it: a code for every pixel, equal for equal colours.

A code is the grey level itself, or ``COLOUR`` plus the packed red, green and blue of a pixel that is not
grey. So a one-bit file, a grey file and a palette file that look alike have equal codes.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Int32, Shaped, UInt8
from PIL import Image as PillowImage
from scipy import ndimage

from optidel.arrays import VOID, BoolImage, ClassMask, Image
from optidel.datasets.orientations import stored_picture, turned_otherwise
from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, reader_for
from optidel.readers.decode import read_decoded
from optidel.readers.decoded import Window, turned
from optidel.readers.raster import FORMATS, orientation_of
from optidel.readers.source import Source

# Codes of colours start here; grey levels and class numbers stay below. 24 bits hold red, green and blue.
COLOUR = 1 << 24

# Channels this close are one grey level: what re-encoding a grey picture moves them apart at most.
NEAR_GREY = 8

# The same for JPEG, whose colour channels are stored at half resolution; measured on the masks of PolypGen.
LOSSY_GREY = 32

# A mask with more colours is a photograph: no labelled set of ours has more than 20 classes.
MAX_COLOURS = 64

# JPEG moves a flat colour by less than this in any channel, except at edges.
SAME_COLOUR = 48

# Share of a JPEG mask's pixels that must lie near one of its main colours; at its edges none does.
FLAT_SHARE = 0.8

# A main colour covers at least this share: 16 x 16 px in 384 x 384.
RARE = 0.002

# Chroma stored at half resolution blends two colours over 2 px on either side of an edge.
BLEND = 2

LOSSY_ENDINGS = (".jpg", ".jpeg", ".webp")

# Formats that change values a little, whatever the file is called, and those that a TIFF may hold inside.
LOSSY_FORMATS, LOSSY_IN_TIFF = ("JPEG", "MPO"), ("jpeg", "tiff_jpeg", "webp")

# What a WebP that keeps every value says of itself, in its first chunk or behind a header.
LOSSLESS_WEBP = b"VP8L"

# White, or void, in a mask of 16 bits.
WHITE = 65535

# Below it lie numbers of classes, as many as are read at most; grey levels of 16 bits are hundreds.
FEW_CLASSES = 64

# From half of the alpha range on, a viewer shows the pixel rather than what lies behind it.
OPAQUE = 128

NO_PALETTE: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMask:
    """The codes of one mask.

    ``codes`` int32 (h, w). ``palette`` maps a code to its index, where the file has a palette. ``lossy``: the
    file format changes values a little. ``inverted``: the file says that its lowest value is white.
    ``by_alpha``: the colours show nothing, and the codes are the levels of the alpha channel.
    """

    codes: Int32[np.ndarray, "h w"]
    palette: Mapping[int, int] = field(default_factory=lambda: NO_PALETTE)
    lossy: bool = False
    inverted: bool = False
    by_alpha: bool = False

    def counts(self) -> Counter[int]:
        """Pixels of each code."""
        return count_codes(self.codes)


def single_frame(path: Path, locator: str = "", window: Window | None = None) -> Decoded:
    """The only frame of a file, or one slice of a volume, by the reader of its format.

    Args:
        path: of the file.
        locator: of the slice, such as ``axial:57``; empty for a file of one frame.
        window: level and width in HU, in place of the one that a CT states.

    Raises:
        InputError: no reader knows the file, or it holds no frame or, without a locator, several.
    """
    if locator:
        return read_decoded(path, locator, window)
    source = Source(name=path.name, path=path)
    reader = reader_for(source)
    if reader is None:
        raise InputError(f"has the ending {path.suffix!r}, which no reader knows")
    frames = iter(reader(source, DecodeOptions(window=window), None))
    decoded = next(frames, None)
    if decoded is None:
        raise InputError("holds no frame")
    if next(frames, None) is not None:
        raise InputError("holds several frames; a labelled image is one frame, so save each as a file")
    return decoded


def single_image(path: Path, locator: str = "", window: Window | None = None) -> Image:
    """The only frame of a file, or one slice of a volume, u8 (h, w, 3).

    Args:
        path: of the file.
        locator: of the slice, such as ``axial:57``; empty for a file of one frame.
        window: level and width in HU, in place of the one that a CT states.

    Raises:
        InputError: as in :func:`single_frame`.
    """
    pixels = single_frame(path, locator, window).image
    height, width = pixels.shape[:2]
    colour = np.broadcast_to(pixels, (height, width, 3))
    return np.ascontiguousarray(colour)


def header_size(path: Path) -> tuple[int, int] | None:
    """Width and height that a picture declares, in px; None where only its reader can tell."""
    try:
        with warnings.catch_warnings():
            # Nothing is decoded here, and the limits of the reader follow.
            warnings.simplefilter("ignore")
            with PillowImage.open(path) as opened:
                return opened.size
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return None


def read_mask(path: Path, *, stored: bool = False, locator: str = "", turn: int | None = None) -> ShownMask:
    """Read a mask as it is shown, turned by its EXIF orientation; transparent pixels are black.

    Where all that is opaque looks alike, the alpha channel itself is the mask; one that is the same
    everywhere says nothing, and the colours are.

    Args:
        path: a file that a reader knows and that holds one frame, or a volume.
        stored: take the indices of a palette for values, whatever their colours.
        locator: of the slice of a volume, such as ``axial:57``; empty for a file of one frame.
        turn: the EXIF orientation to show it by, in place of its own.

    Raises:
        InputError: several frames, values that are not whole numbers, or a photograph.
    """
    shown = _as_shown(path, stored, locator)
    header = None if turn is None else stored_picture(path)
    if turn is None or header is None:
        return shown
    return replace(shown, codes=turned_otherwise(shown.codes, header.orientation, turn))


def _as_shown(path: Path, stored: bool, locator: str) -> ShownMask:
    if locator:
        values = _whole_numbers(single_frame(path, locator))
        return ShownMask(codes=_codes(values, lossy=False))
    picture = _palette_mask(path, stored)
    if picture is not None:
        return picture
    decoded = single_frame(path)
    values = _whole_numbers(decoded)
    alpha, is_channel, lossy = _alpha_and_loss(path)
    inverted = decoded.low > decoded.high and values.shape[2] == 1
    if stored or alpha is None or alpha.shape != values.shape[:2]:
        return ShownMask(codes=_codes(values, lossy=lossy), lossy=lossy, inverted=inverted)
    return replace(_through(values, alpha, is_channel, lossy), inverted=inverted)


def _through(
    values: Shaped[np.ndarray, "h w c"], alpha: UInt8[np.ndarray, "h w"], is_channel: bool, lossy: bool
) -> ShownMask:
    """A mask that is see-through in places, by a channel or by one colour that the file names."""
    varies = bool(np.ptp(alpha)) and is_channel
    seen = np.where((alpha < OPAQUE)[..., None], 0, values)
    if not np.ptp(seen, axis=(0, 1)).any():  # one colour, or nothing, is seen
        if varies:
            return ShownMask(codes=alpha.astype(np.int32), by_alpha=True)
        # What is see-through everywhere was not meant to be; of one colour, it is an empty mask.
        seen = values if np.ptp(values, axis=(0, 1)).any() else seen
    try:
        return ShownMask(codes=_codes(seen, lossy=lossy), lossy=lossy)
    except InputError:
        if not varies:
            raise
        # A photograph cut out along the mask.
        return ShownMask(codes=alpha.astype(np.int32), by_alpha=True)


def foreground(values: ClassMask) -> BoolImage:
    """Foreground of a binary mask: from half of 255, or of 65535; masks of 0 and 1 as they are."""
    top = int(values.max(initial=0))
    if top <= 1:
        return values > 0
    half = 128 if top <= 255 else 32768
    return values >= half


def brightness(codes: ClassMask) -> ClassMask:
    """Grey levels of codes; a colour counts by its brightest channel."""
    channels = [codes >> shift & 255 for shift in (16, 8, 0)]
    brightest = np.maximum.reduce(channels)
    return np.where(codes >= COLOUR, brightest, codes).astype(np.int32)


def count_codes(codes: ClassMask) -> Counter[int]:
    """Pixels of each code."""
    low, high = int(codes.min()), int(codes.max())
    if high - low < 1 << 16:  # counting is ten times as fast as sorting
        counts = np.bincount((codes - low).ravel())
        values = np.flatnonzero(counts)
        return Counter(dict(zip((values + low).tolist(), counts[values].tolist(), strict=True)))
    values, counts = np.unique(codes, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def pack(colours: Shaped[np.ndarray, "... 3"]) -> Int32[np.ndarray, "..."]:
    """Codes of colours: the level itself where red, green and blue are equal."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    packed = COLOUR | red << 16 | green << 8 | blue
    return np.where((red == green) & (green == blue), red, packed).astype(np.int32)


def unpack(codes: Int32[np.ndarray, "..."]) -> Int32[np.ndarray, "... 3"]:
    """Red, green and blue of codes; a grey level has three equal ones."""
    channels = [np.where(codes >= COLOUR, codes >> shift & 255, codes) for shift in (16, 8, 0)]
    return np.stack(channels, axis=-1).astype(np.int32)


def code_name(code: int) -> str:
    """A code for people: ``255`` or ``#ff0000``."""
    return f"#{code - COLOUR:06x}" if code >= COLOUR else str(code)


def parse_code(text: str | int) -> int:
    """The inverse of :func:`code_name`.

    Raises:
        InputError: neither a whole number nor a colour.
    """
    name = str(text).strip()
    try:
        if name.startswith("#") and len(name) == 7:
            packed = int(name[1:], 16)
            colour = np.array([packed >> 16, packed >> 8 & 255, packed & 255])
            return int(pack(colour))
        return int(name)
    except ValueError:
        raise InputError(
            f"{text!r} is no value of a mask; write a number such as 255, or '#e0e0c0'"
        ) from None


def _palette_mask(path: Path, stored: bool) -> ShownMask | None:
    """The mask of a file with a palette; None for every other file."""
    try:
        with path.open("rb") as stream, PillowImage.open(stream) as opened:
            if opened.mode != "P" or getattr(opened, "n_frames", 1) > 1:
                return None
            # A stream, for Pillow turns what it maps from a path into memory wrongly (13.0, raw TIFF).
            indices = np.asarray(opened)
            # Asked for afterwards: of a TIFF, Pillow turns the pixels itself and takes the tag away.
            indices = turned(indices, orientation_of(opened)).astype(np.int32)
            flat = opened.getpalette("RGB") or []
            alpha = _palette_alpha(opened)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return None
    colours = np.zeros((256, 3), dtype=np.int32)
    entries = np.array(flat, dtype=np.int32).reshape(-1, 3)
    colours[: len(entries)] = entries
    colours[alpha < OPAQUE] = 0
    codes = pack(colours)
    used = np.unique(indices)
    # A palette that shows two of its values alike was never meant to be looked at.
    if stored or len(np.unique(codes[used])) < len(used):
        return ShownMask(codes=indices)
    palette = {int(codes[index]): int(index) for index in used}
    return ShownMask(codes=codes[indices], palette=palette)


def _palette_alpha(opened: PillowImage.Image) -> UInt8[np.ndarray, "colours"]:
    """Alpha of each of 256 palette entries."""
    alpha = np.full(256, 255, dtype=np.uint8)
    transparency = opened.info.get("transparency")
    if isinstance(transparency, int):
        alpha[transparency] = 0
    elif isinstance(transparency, bytes):
        alpha[: len(transparency)] = np.frombuffer(transparency, dtype=np.uint8)
    return alpha


def _alpha_and_loss(path: Path) -> tuple[UInt8[np.ndarray, "h w"] | None, bool, bool]:
    """How opaque each pixel of a picture is, None where all are; whether by a channel of its own; and whether
    its format changes values a little.
    """
    try:
        with path.open("rb") as stream, _opened(stream) as opened:
            lossy = _is_lossy(stream, opened)
            is_channel = "A" in opened.getbands()
            if not is_channel and "transparency" not in opened.info:
                return None, False, lossy
            alpha = np.asarray(opened.convert("RGBA").getchannel("A"))
            return turned(alpha, orientation_of(opened)), is_channel, lossy
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return None, False, False


def _opened(stream: BinaryIO) -> PillowImage.Image:
    with warnings.catch_warnings():
        # Its reader has been asked before, and has limits of its own.
        warnings.simplefilter("ignore")
        return PillowImage.open(stream, formats=(*FORMATS, "TIFF", "JPEG2000"))


def _is_lossy(stream: BinaryIO, opened: PillowImage.Image) -> bool:
    if opened.format == "WEBP":
        stream.seek(0)
        return LOSSLESS_WEBP not in stream.read(1 << 12)
    if opened.format == "TIFF":
        return opened.info.get("compression") in LOSSY_IN_TIFF
    return opened.format in LOSSY_FORMATS


def _whole_numbers(decoded: Decoded) -> Shaped[np.ndarray, "h w c"]:
    """The values of a frame as a viewer orders them, dark before bright."""
    values: np.ndarray[Any, Any] = decoded.values
    white = decoded.low
    if values.dtype == np.bool_:
        values, white = values.astype(np.uint8) * np.uint8(255), 255.0  # one bit: black and white
    if values.dtype.kind == "f":
        is_whole = np.isfinite(values) & (values == np.round(values))
        if not is_whole.all():
            raise InputError(f"the mask holds {values.dtype} values; masks hold whole numbers")
        values = values.astype(np.int64)
    if decoded.low > decoded.high:  # white is zero
        top = 1 if int(values.max()) <= 1 else int(white)
        values = top - values.astype(np.int64)
    highest = int(values.max())
    if highest >= COLOUR:
        raise InputError(f"the mask holds values up to {highest}; classes are numbered from 0")
    if values.dtype != np.uint16 or highest != WHITE:
        return values
    others = values[(values > 0) & (values < WHITE)]
    if others.size and int(others.max()) < FEW_CLASSES:
        return np.where(values == WHITE, VOID, values)
    # Such a mask holds grey levels, and the upper eight bits say them.
    return values >> 8


def _codes(values: Shaped[np.ndarray, "h w c"], *, lossy: bool) -> Int32[np.ndarray, "h w"]:
    if values.shape[2] == 1:
        return values[..., 0].astype(np.int32)
    return _codes_of_colours(values.astype(np.int32), lossy=lossy)


def _codes_of_colours(values: Int32[np.ndarray, "h w 3"], *, lossy: bool) -> Int32[np.ndarray, "h w"]:
    """Codes of an RGB picture; one that is grey but for its encoding becomes grey."""
    apart = int(np.ptp(values, axis=2).max())
    if apart <= NEAR_GREY:
        return _brightest(values)
    codes = pack(values)
    if not lossy and len(count_codes(codes)) <= MAX_COLOURS:
        return codes
    if apart <= LOSSY_GREY:
        return _brightest(values)
    flat = _main_colours(values) if lossy else None
    if flat is None:
        raise InputError(
            "the mask is a coloured picture; masks have one channel that holds the class of every pixel, "
            "or one colour a class"
        )
    return flat


def _brightest(values: Int32[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "h w"]:
    return np.asarray(values.max(axis=2))


def _main_colours(values: Int32[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "h w"] | None:
    """Codes in which every pixel takes the nearest of the picture's main colours; None where it has none."""
    counts = count_codes(pack(values))
    least = RARE * sum(counts.values())
    main: list[np.ndarray[Any, Any]] = []
    is_free = np.ones(values.shape[:2], dtype=np.bool_)  # near no main colour yet
    for code, _ in counts.most_common(4 * MAX_COLOURS):
        colour = unpack(np.array(code, dtype=np.int32))
        if any(np.abs(colour - other).max() <= SAME_COLOUR for other in main):
            continue
        near = np.abs(values - colour).max(axis=2) <= SAME_COLOUR
        # Blends along edges are bands of up to 4 px; a class has an inside.
        inside = ndimage.binary_erosion(near & is_free, iterations=BLEND)
        if inside.sum() >= least:
            main.append(colour)
            is_free &= ~near
        if len(main) > MAX_COLOURS // 4:
            return None
        if is_free.sum() < least:
            break
    if not main:
        return None
    distance = np.stack([np.abs(values - colour).max(axis=2) for colour in main])
    if (distance.min(axis=0) <= SAME_COLOUR).mean() < FLAT_SHARE:
        return None
    codes = pack(np.stack(main))
    return np.asarray(codes[distance.argmin(axis=0)])
