"""What the formats of ITK's world share: NRRD and MetaImage."""

from collections.abc import Collection, Iterator

import numpy as np
from jaxtyping import Float64, Shaped

from optidel.errors import InputError
from optidel.readers.decoded import Decoded, DecodeOptions, blacked, check_size, range_rule
from optidel.readers.volume import Volume, check_volume, grey_volume, oriented, slices

ITK_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From ITK's axes, which point to the left, to posterior and up, to RAS+."""

MAX_NUMBER = 1 << 31
"""No side of an image is longer, and no header; larger numbers would overflow."""


def frames_of(
    values: Shaped[np.ndarray, "c x y *z"],
    affine: Float64[np.ndarray, "4 4"],
    count: int,
    options: DecodeOptions,
    locators: Collection[str] | None,
) -> Iterator[Decoded]:
    """A plane as one frame, its first row on top; a volume as slices.

    Args:
        values: as stored, c 1, 3 or 4.
        affine: of a volume, RAS+.
        count: volumes in the file; the first is given.
        options: axes, and the window of the recipe.
        locators: of the slices, or None for all.

    Raises:
        InputError: neither grey nor colour, or too large.
    """
    channels = values.shape[0]
    if channels not in (1, 3, 4):
        raise InputError(f"has {channels} channels, neither grey nor colour; save one image a channel")
    # Alpha is dropped, as everywhere.
    values = values[: 1 if channels == 1 else 3]
    if values.ndim == 3:
        yield _plane(values)
        return
    check_volume(values.shape[1:])
    voxels, note = oriented(np.moveaxis(values, 0, -1), affine)
    if count > 1:
        note += f", first of {count} volumes"
    if channels == 1:
        volume = grey_volume(voxels[..., 0], 1.0, 0.0, options, note)
    else:
        low, high, rule = range_rule(voxels)
        volume = Volume(voxels=voxels, low=low, high=high, rule=rule + note)
    yield from slices(volume, options, locators)


def _plane(values: Shaped[np.ndarray, "c x y"]) -> Decoded:
    _, width, height = values.shape
    check_size(width, height)
    picture = np.ascontiguousarray(values.transpose(2, 1, 0))
    low, high, rule = range_rule(picture)
    picture = np.ascontiguousarray(blacked(picture, low, high))
    return Decoded(locator="", values=picture, low=low, high=high, rule=rule, modality=None)


def whole_numbers(text: str, name: str) -> list[int]:
    """Whole numbers of a header field.

    Raises:
        InputError: none, or something else.
    """
    try:
        numbers = [int(value) for value in text.split()]
    except ValueError:
        numbers = []
    if not numbers or max(numbers) > MAX_NUMBER:
        raise InputError(f"has no usable whole numbers as {name}")
    return numbers
