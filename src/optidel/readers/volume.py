"""Volumes as slices, whatever file they came from: orientation, and one scale for all slices.

Slices are in RAS+ orientation, each turned so that superior, or anterior, is up.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from optidel.errors import InputError
from optidel.readers.decoded import (
    MIN_SIDE,
    Decoded,
    DecodeOptions,
    Window,
    blacked,
    check_frames,
    check_size,
    percentile_rule,
)
from optidel.readers.hounsfield import hounsfield_limits
from optidel.readers.scale import Limits

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}

Voxels = Shaped[np.ndarray, "x y z c"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Voxels (x, y, z, c) as stored, in RAS+ order, c 1 or 3, and the rule that all slices share."""

    voxels: Voxels
    low: float
    high: float
    rule: str
    modality: str | None = None


def check_volume(shape: tuple[int, ...]) -> None:
    """Refuse a volume by the planes that it declares.

    Args:
        shape: (x, y, z).

    Raises:
        InputError: too many slices, or all planes too large or too small.
    """
    check_frames(max(shape))
    check_size(*max((plane(shape, axis) for axis in range(3)), key=min))


def plane(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """The sides of the slices across an axis."""
    height, width = (side for other, side in enumerate(shape[:3]) if other != axis)
    return height, width


def oriented(
    voxels: Shaped[np.ndarray, "x y z *c"], affine: Float64[np.ndarray, "4 4"]
) -> tuple[Shaped[np.ndarray, "x y z *c"], str]:
    """Voxels in RAS+ order, and what to add to the rule: an affine without an inverse orients nothing.

    Args:
        voxels: as they lie in the file.
        affine: voxel indices to millimetres, RAS+.
    """
    # nibabel's orientation of a singular affine is an error, or nonsense.
    directions = affine[:3, :3]
    is_sound = np.isfinite(directions).all() and abs(np.linalg.det(directions)) > 0
    if not is_sound:
        return voxels, ", orientation unknown"
    from nibabel.orientations import apply_orientation, io_orientation  # a third of a second, for volumes

    return apply_orientation(voxels, io_orientation(affine)), ""


def grey_volume(
    voxels: Shaped[np.ndarray, "x y z"], slope: float, offset: float, options: DecodeOptions, note: str = ""
) -> Volume:
    """One scale for all slices: a window where the values are HU, else percentiles.

    Args:
        voxels: as stored, in RAS+ order.
        slope, offset: to the values that are meant.
        options: for the window of the recipe.
        note: what the rule says besides.

    Raises:
        InputError: no voxel is finite.
    """
    low, high, rule = _limits(voxels, slope, offset, options.window)
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        voxels = blacked(voxels, low, high)  # resampling leaves NaN outside the field of view
        rule = f"{rule}, not finite is black"
    return Volume(voxels=voxels[..., None], low=low, high=high, rule=rule + note)


def _limits(
    voxels: Shaped[np.ndarray, "x y z"], slope: float, offset: float, window: Window | None
) -> Limits:
    """In stored units: the scaling never has to be done for the whole volume."""
    limits = hounsfield_limits(voxels, slope, offset, window)
    if limits is not None:
        return limits
    if offset == 0 and slope > 0:
        return percentile_rule(voxels)
    low, high, rule = percentile_rule(voxels * np.float32(slope) + np.float32(offset))
    return (low - offset) / slope, (high - offset) / slope, rule


def slices(volume: Volume, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """Slices ``axial:57`` along the axes of the options, or those that are named.

    Planes narrower than 8 px (of a thin stack) are none; a single plane is read whichever way it lies.

    Raises:
        InputError: only planes that are too narrow.
    """
    for name in _axes(volume, options, locators):
        axis = AXES[name]
        for position in range(volume.voxels.shape[axis]):
            locator = f"{name}:{position}"
            if locators is None or locator in locators:
                values = np.ascontiguousarray(np.rot90(volume.voxels.take(position, axis=axis)))
                yield Decoded(
                    locator=locator,
                    values=values,
                    low=volume.low,
                    high=volume.high,
                    rule=volume.rule,
                    modality=volume.modality,
                )


def _axes(volume: Volume, options: DecodeOptions, locators: Collection[str] | None) -> list[str]:
    if locators is not None:
        return [name for name in AXES if any(item.startswith(f"{name}:") for item in locators)]
    shape: tuple[int, ...] = volume.voxels.shape[:3]
    wide = [name for name in AXES if min(plane(shape, AXES[name])) >= MIN_SIDE]
    names = [name for name in options.axes if name in wide]
    if names:
        return names
    # A plane in a volume's clothes: there is nothing else to be cut from it.
    if shape.count(1) == 1 and wide:
        return wide
    raise InputError(
        f"has only {' and '.join(options.axes)} planes narrower than {MIN_SIDE} px; name another axis"
    )


def raw_values(data: bytes, kind: np.dtype[Any], shape: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    """Values in Fortran order, as volumes are stored.

    Args:
        data: their bytes.
        kind: their type, with its byte order.
        shape: of the array.

    Raises:
        InputError: fewer bytes than the shape declares.
    """
    count = int(np.prod(shape)) * kind.itemsize
    if len(data) < count:
        raise InputError(f"is cut: it declares {count} bytes of voxels and holds {len(data)}")
    voxels = np.frombuffer(data, kind, count // kind.itemsize).reshape(shape, order="F")
    return voxels.astype(kind.newbyteorder("="), copy=False)
