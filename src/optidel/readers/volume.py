"""Volumes as slices, whatever file they came from: orientation, one scale for all slices, and Hounsfield units.

Slices are in RAS+ orientation, each turned so that superior, or anterior, is up.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float64, Shaped

from optidel.errors import InputError
from optidel.readers.decoded import (
    CT_WINDOW,
    MIN_SIDE,
    Decoded,
    DecodeOptions,
    blacked,
    check_frames,
    check_size,
    percentile_rule,
)
from optidel.readers.scale import Limits

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}

AIR = (-1100.0, -850.0)
"""HU of air, with noise and interpolation."""

TISSUE = (-150.0, 300.0)
"""HU of fat, water, organs and enhanced vessels."""

LEAST_AIR, LEAST_TISSUE = 0.005, 0.02
"""Fractions of a CT that are air and tissue at least: a chest holds 30 % and 40 %, a narrow crop of an organ
with its rim still so much.
"""

GAP = (-500.0, -200.0)
"""HU between lung and fat, where hardly anything in a body lies."""

PEAK = 2.0
"""Times as dense as in the gap, per HU, are values of air and of tissue; 10 and more in a CT, 1 in noise."""

BELOW = 0.001
"""Fraction of values under those of air that streaks of metal make; what else lies there is padding, which is
one value.
"""

NEGATIVE = -100.0
"""Volumes that reach below this take a window that the recipe states: fat does, and no magnitude image."""

SAMPLE = 1 << 20
"""Voxels that are looked at to recognise HU; a round number, fractions of a per cent are seen in far fewer."""

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
    directions = affine[:3, :3]
    is_sound = np.isfinite(directions).all() and abs(np.linalg.det(directions)) > 0
    if not is_sound:
        return voxels, ", orientation unknown"
    return nib.orientations.apply_orientation(voxels, nib.orientations.io_orientation(affine)), ""


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
    voxels: Shaped[np.ndarray, "x y z"], slope: float, offset: float, window: tuple[float, float] | None
) -> Limits:
    """In stored units: the scaling never has to be done for the whole volume."""
    sample = _sampled(voxels) * slope + offset
    if sample.size == 0:
        raise InputError("holds only values that are not finite")
    in_hu = is_hounsfield(sample)
    if window and (in_hu or sample.min() < NEGATIVE):
        level, width = window
        name = f"window {level:g}/{width:g}, by the recipe"
    elif in_hu:
        level, width = CT_WINDOW
        name = f"CT window {level:g}/{width:g}, values look like HU"
    else:
        if offset == 0 and slope > 0:
            return percentile_rule(voxels)
        low, high, name = percentile_rule(voxels * np.float32(slope) + np.float32(offset))
        return (low - offset) / slope, (high - offset) / slope, name
    low, high = level - width / 2, level + width / 2
    return (low - offset) / slope, (high - offset) / slope, name


def _sampled(voxels: Shaped[np.ndarray, "..."]) -> Float64[np.ndarray, "n"]:
    """Every so-many-th finite value."""
    flat = voxels.ravel(order="K")
    sample = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    return sample[np.isfinite(sample)]


def is_hounsfield(values: Float64[np.ndarray, "n"]) -> bool:
    """Whether values look like a CT in HU: air, tissue, and under air nothing but padding.

    Args:
        values: some of a volume's, scaled.
    """
    padding = values[values < AIR[0]]
    if np.unique(padding).size > 1 and padding.size > BELOW * values.size:
        return False
    body = values[values >= AIR[0]]
    if body.size == 0:
        return False
    air, tissue, gap = (_share(body, *ends) for ends in (AIR, TISSUE, GAP))
    if air < LEAST_AIR or tissue < LEAST_TISSUE:
        return False
    least = PEAK * gap / (GAP[1] - GAP[0])
    return air / (AIR[1] - AIR[0]) >= least and tissue / (TISSUE[1] - TISSUE[0]) >= least


def _share(values: Float64[np.ndarray, "n"], low: float, high: float) -> float:
    """Fraction of the values within limits."""
    return float(((values >= low) & (values <= high)).mean())


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
