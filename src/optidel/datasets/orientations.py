"""Which way up a mask lies beside its image, by the EXIF or TIFF orientation that each of the two states.

Cameras store pixels as they come and a tag that says how to turn them; programs that draw masks may obey the
tag or not, and write their own or none.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jaxtyping import Int32
from numpy import ndarray
from PIL import Image as PillowImage

from optidel.readers.decoded import turned
from optidel.readers.raster import FORMATS, orientation_of

# Orientations from here on swap height and width.
QUARTER_TURN = 5

# Of the eight, a quarter to the left undoes one to the right; the others undo themselves.
UNDONE = {6: 8, 8: 6}

# Chunks in which a PNG may state its orientation: its own, or texts of ImageMagick and Adobe.
TAGGING = (b"eXIf", b"zTXt", b"tEXt", b"iTXt")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPicture:
    """What the header of a picture states: ``size``, width and height of the stored pixels in px, and the
    ``orientation`` in which they are shown, 1 to 8 (1: as stored).
    """

    size: tuple[int, int]
    orientation: int

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as a viewer shows it."""
        width, height = self.size
        return (height, width) if self.orientation >= QUARTER_TURN else (width, height)


def stored_picture(path: Path) -> StoredPicture | None:
    """The header of a picture; None for what has no orientation, such as DICOM. Nothing is decoded.

    Args:
        path: of the file.
    """
    try:
        with path.open("rb") as stream, _opened(stream) as opened:
            size = opened.size
            if opened.format == "TIFF":  # Pillow tells the size as shown
                size = int(opened.tag_v2[256]), int(opened.tag_v2[257])  # type: ignore[attr-defined]
            # Of a PNG without a tag Pillow would decode the pixels, for one may stand behind them.
            has_tag = opened.format != "PNG" or _has_chunk(stream)
            return StoredPicture(size=size, orientation=orientation_of(opened) if has_tag else 1)
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, PillowImage.DecompressionBombError):
        return None


def _opened(stream: BinaryIO) -> PillowImage.Image:
    with warnings.catch_warnings():
        # Nothing is decoded here, and the limits of the reader follow.
        warnings.simplefilter("ignore")
        return PillowImage.open(stream, formats=(*FORMATS, "TIFF"))


def _has_chunk(stream: BinaryIO) -> bool:
    """Whether a PNG has a chunk that may hold an orientation; the stream stays where it was."""
    before = stream.tell()
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        if head[4:] in TAGGING:
            break
        stream.seek(int.from_bytes(head[:4], "big") + 4, 1)
    stream.seek(before)
    return len(head) == 8


def turn_of_mask(image: StoredPicture | None, mask: StoredPicture | None) -> int | None:
    """The orientation that a mask takes in place of its own; None: each of the two is shown by its own.

    A mask that has the size of the stored pixels of its image, and not that of the image as it is shown, was
    drawn on those, and is turned with them.

    >>> turn_of_mask(StoredPicture(size=(8, 6), orientation=6), StoredPicture(size=(8, 6), orientation=1))
    6

    Args:
        image: its header.
        mask: its header.
    """
    if image is None or mask is None or image.shown == mask.shown or image.size != mask.size:
        return None
    return image.orientation


def turned_otherwise(
    codes: Int32[ndarray, "h w"], own: int, orientation: int
) -> Int32[ndarray, "height width"]:
    """A mask that is shown by its own orientation, shown by another one.

    Args:
        codes: as shown.
        own: the orientation that was applied.
        orientation: the one to be applied to the stored pixels.
    """
    return turned(turned(codes, UNDONE.get(own, own)), orientation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A mask beside its image: their headers, and ``source``, the path of the mask for messages."""

    image: StoredPicture | None
    mask: StoredPicture | None
    source: str

    @property
    def turn(self) -> int | None:
        """By the two alone, see :func:`turn_of_mask`."""
        return turn_of_mask(self.image, self.mask)

    @property
    def differs(self) -> bool:
        """Whether the two state different orientations."""
        return self._orientations[0] != self._orientations[1]

    @property
    def is_open(self) -> bool:
        """Whether they differ, the mask has no orientation of its own, and no size says what it lies on."""
        image, mask = self._orientations
        return image != 1 and mask == 1 and self.turn is None and self._sizes_agree

    @property
    def follows_tag(self) -> bool:
        """Whether a mask without a tag has the size of an image as its tag shows it, and no other."""
        image, mask = self._orientations
        return image >= QUARTER_TURN and mask == 1 and self.turn is None and not self._sizes_agree

    @property
    def _orientations(self) -> tuple[int, int]:
        if self.image is None or self.mask is None:
            return 1, 1
        return self.image.orientation, self.mask.orientation

    @property
    def _sizes_agree(self) -> bool:
        return self.image is not None and self.mask is not None and self.image.size == self.mask.size


def turns_of_masks(pairs: Sequence[Beside]) -> tuple[list[int | None], str]:
    """The orientation that each mask of a set takes in place of its own, and what to say about it.

    Where the size of a mask does not tell (half turns, mirrored or square pictures), it lies as the other
    masks of the set do, if those that tell agree that masks are drawn on stored pixels; else each file is
    shown by its own tag.

    Args:
        pairs: every mask of the set beside its image.

    Returns:
        One orientation a mask, None for its own; and a sentence, empty where all pairs agree.
    """
    turns = [pair.turn for pair in pairs]
    by_size = sum(turn is not None for turn in turns)
    is_rule = by_size > 0 and not any(pair.follows_tag for pair in pairs)
    if is_rule:
        turns = [
            pair.image.orientation if pair.is_open and pair.image is not None else turn
            for pair, turn in zip(pairs, turns, strict=True)
        ]

    parts = []
    with_image = sum(turn is not None for turn in turns)
    if with_image:
        parts.append(
            f"{with_image} of {len(pairs)} masks state another EXIF orientation than their image and lie on "
            "its stored pixels, as their sizes tell, so they are turned as it is"
        )
    own = [
        pair
        for pair, turn in zip(pairs, turns, strict=True)
        if turn is None and pair.differs and not pair.follows_tag
    ]
    if own:
        image, mask = own[0]._orientations
        parts.append(
            f"{len(own)} of {len(pairs)} masks state another EXIF orientation than their image (the first, "
            f"{own[0].source}, {mask} and the image {image}), and each file is shown by its own, as viewers "
            "do: where a mask was drawn on the stored pixels, give both files the same tag, or none"
        )
    return turns, "; ".join(parts)
