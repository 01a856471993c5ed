"""Key patches: square crops around masks, free of border and overlay, each with the reason where it is
refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image as Raster

from optidel.arrays import BoolImage, Image
from optidel.features.overlay import Zones
from optidel.models.masks import Mask
from optidel.records import Box, KeyPatch

SHIFTS = np.linspace(-0.5, 0.5, 9)  # of the crop's side; zero first is seen to by the order of distance
SHRINKS = (1.0, 0.85, 0.7, 0.55, 0.45)
SHOWN = 0.5  # of what a crop shows of the mask, a moved crop still shows this much


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOptions:
    """What a key patch may be.

    ``margin`` is added around the mask on each side, as a fraction of its longer side. ``least`` and ``most``
    bound the patch's side, as fractions of the frame's short side; it is never under ``least_px``. A patch is
    refused around a reflection, with more than ``glare`` of its area blown out, more than ``background`` dark
    surroundings, a standard deviation of grey levels under ``contrast`` of the frame's own, or more than
    ``overlap`` of the smaller of two patches shared.
    """

    margin: float = 0.15
    least: float = 1 / 12
    most: float = 0.6
    least_px: int = 24
    glare: float = 0.25
    background: float = 0.6
    contrast: float = 0.1
    overlap: float = 0.6


def key_patches(
    frame: str, image: Image, masks: Sequence[Mask], zones: Zones, options: PatchOptions | None = None
) -> list[KeyPatch]:
    """Turn the masks of one frame into key patches, the refused ones included.

    A crop that touches border or overlay is moved, then shrunk, as little as it takes to be free of both
    while it still shows most of the mask; only where there is no such place is it refused. The best-scored
    mask is served first, ties in the order given.

    Args:
        frame: id of the frame.
        image: u8 (h, w, 3).
        masks: each (h, w).
        zones: of the same frame, each (h, w).
        options: limits; the defaults of :class:`PatchOptions` where None.

    Returns:
        One :class:`KeyPatch` for each non-empty mask, best-scored first; ``refused`` is empty where it is
        accepted, else one of ``small``, ``border``, ``overlay``, ``glare``, ``flat``, ``nested``.
    """
    limits = options or PatchOptions()
    sums = {
        name: _summed(zone)
        for name, zone in (
            ("border", zones.border),
            ("overlay", zones.overlay),
            ("glare", zones.glare),
            ("background", zones.background),
        )
    }
    sums["hard"] = sums["border"] + sums["overlay"]
    accepted: list[Box] = []
    patches: list[KeyPatch] = []
    for mask in sorted((mask for mask in masks if mask.mask.any()), key=lambda mask: -mask.score):
        box, small = _square(mask.mask, limits)
        box = box if small else _moved(box, mask.mask, sums["hard"], limits)
        blown = (mask.mask & zones.glare).sum() > 0.5 * mask.mask.sum()
        refused = "small" if small else "glare" if blown else _refusal(box, image, sums, limits, accepted)
        if not refused:
            accepted.append(box)
        patches.append(
            KeyPatch(
                frame=frame,
                box=box,
                area=int(mask.mask.sum()),
                predicted_iou=mask.predicted_iou,
                stability=mask.stability,
                refused=refused,
            )
        )
    return patches


def crop(image: Image, box: Box, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """Cut ``box`` out of an image u8 (h, w, 3) and scale it to u8 (size, size, 3), antialiased."""
    x0, y0, x1, y1 = box
    cut = np.ascontiguousarray(image[y0:y1, x0:x1])
    return np.asarray(Raster.fromarray(cut).resize((size, size), Raster.Resampling.BICUBIC))


def refusals(patches: Iterable[KeyPatch]) -> dict[str, int]:
    """How many patches were refused, by reason, most frequent first."""
    reasons = [patch.refused for patch in patches if patch.refused]
    return dict(
        sorted(
            ((reason, reasons.count(reason)) for reason in set(reasons)), key=lambda item: (-item[1], item[0])
        )
    )


def _square(mask: BoolImage, limits: PatchOptions) -> tuple[Box, bool]:
    """The square around a mask inside the frame, and whether the mask is too small to be worth one."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    short = min(height, width)
    least = max(limits.least_px, limits.least * short)
    most = max(least, limits.most * short)
    side = min(short, round(float(np.clip(longer * (1 + 2 * limits.margin), least, most))))
    if (
        longer > side
    ):  # too large for any patch: its middle is where most of it lies, not the middle of its bounding box
        y, x = (float(index.mean()) for index in np.nonzero(mask))
    else:
        y, x = (rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2
    left, top = (
        round(min(max(middle - side / 2, 0), full - side)) for middle, full in ((x, width), (y, height))
    )
    return (left, top, left + side, top + side), bool(short < least or longer < least / 3)


def _moved(box: Box, mask: BoolImage, hard: Int64[np.ndarray, "h1 w1"], limits: PatchOptions) -> Box:
    """The nearest box of at most this size that is free of ``hard`` zones and shows most of what ``box``
    shows of the mask.
    """
    if _count(hard, box) == 0:
        return box
    height, width = mask.shape
    side = box[2] - box[0]
    inside = _summed(mask)
    wanted = SHOWN * _count(inside, box)
    least = max(limits.least_px, limits.least * min(height, width))
    for shrink in SHRINKS:
        length = round(side * shrink)
        if length < least:
            break
        slack = (side - length) / 2
        moves = sorted((dx * dx + dy * dy, dx, dy) for dx in SHIFTS for dy in SHIFTS)
        for _, dx, dy in moves:
            left = min(max(round(box[0] + slack + dx * side), 0), width - length)
            top = min(max(round(box[1] + slack + dy * side), 0), height - length)
            place = (left, top, left + length, top + length)
            if _count(hard, place) == 0 and _count(inside, place) >= wanted:
                return place
    return box


def _refusal(
    box: Box,
    image: Image,
    sums: dict[str, Int64[np.ndarray, "h1 w1"]],
    limits: PatchOptions,
    accepted: list[Box],
) -> str:
    """The first reason against a box, or an empty string."""
    x0, y0, x1, y1 = box
    area = (x1 - x0) * (y1 - y0)
    if _count(sums["border"], box):
        return "border"
    if _count(sums["overlay"], box):
        return "overlay"
    if _count(sums["glare"], box) > limits.glare * area:
        return "glare"
    grey = image.mean(axis=-1)
    flat = grey[y0:y1, x0:x1].std() < limits.contrast * grey.std()
    if flat or _count(sums["background"], box) > limits.background * area:
        return "flat"
    return "nested" if any(_shared(box, other) > limits.overlap for other in accepted) else ""


def _shared(one: Box, other: Box) -> float:
    """Intersection over the smaller of two boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(wide, 0) * max(high, 0) / smaller


def _summed(mask: BoolImage) -> Int64[np.ndarray, "h1 w1"]:
    """Summed-area table with a leading row and column of zeros."""
    return np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def _count(sums: Int64[np.ndarray, "h1 w1"], box: Box) -> int:
    x0, y0, x1, y1 = box
    return int(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0])
