"""Key patches: square crops around masks, free of border and overlay, each with the reason where it is
refused.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image as PillowImage

from optidel.arrays import BoolImage, Image
from optidel.features.overlay import Zones
from optidel.models.masks import Mask
from optidel.records import Box, Frame, KeyPatch

# Shifts that are tried, of the crop's side, nearest first: half of it either way, in eighths.
SHIFTS = np.linspace(-0.5, 0.5, 9)
# Sides that are tried, of the crop's side, largest first. Round numbers down to under a half.
SHRINKS = (1.0, 0.85, 0.7, 0.55, 0.45)
# Of what a crop shows of the mask, a moved crop still shows this much.
SHOWN = 0.5
# Share of a mask that is blown out above which the mask is of a reflection.
BLOWN = 0.5
# Of the least side, the least length of a mask: a smaller one would fill a ninth of its patch at the most.
LEAST_MASK = 3


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
    # Summed-area tables: hundreds of boxes are tried for each mask, each in four look-ups.
    sums = {
        "border": _summed(zones.border),
        "overlay": _summed(zones.overlay),
        "glare": _summed(zones.glare),
        "background": _summed(zones.background),
    }
    sums["hard"] = sums["border"] + sums["overlay"]

    accepted: list[Box] = []
    patches: list[KeyPatch] = []
    candidates = [mask for mask in masks if mask.mask.any()]
    candidates.sort(key=lambda mask: -mask.score)
    for mask in candidates:
        area = mask.mask.sum()
        blown_out = (mask.mask & zones.glare).sum()
        box, small = _square(mask.mask, limits)
        if not small:
            box = _moved(box, mask.mask, sums["hard"], limits)
        if small:
            refused = "small"
        elif blown_out > BLOWN * area:
            refused = "glare"
        else:
            refused = _refusal(box, image, sums, limits, accepted)
        if not refused:
            accepted.append(box)
        patch = KeyPatch(
            frame=frame,
            box=box,
            area=int(area),
            predicted_iou=mask.predicted_iou,
            stability=mask.stability,
            refused=refused,
        )
        patches.append(patch)
    return patches


def whole_frame(frame: Frame) -> KeyPatch:
    """A frame as a key patch: all of it is in its box, and nothing refuses it."""
    return KeyPatch(
        frame=frame.id,
        box=(0, 0, frame.width, frame.height),
        area=frame.width * frame.height,
        predicted_iou=1.0,
        stability=1.0,
        refused="",
    )


def crop(image: Image, box: Box, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """Cut ``box`` out of an image u8 (h, w, 3) and scale it to u8 (size, size, 3), antialiased."""
    x0, y0, x1, y1 = box
    cut = np.ascontiguousarray(image[y0:y1, x0:x1])
    picture = PillowImage.fromarray(cut)
    scaled = picture.resize((size, size), PillowImage.Resampling.BICUBIC)
    return np.asarray(scaled)


def refusals(patches: Iterable[KeyPatch]) -> dict[str, int]:
    """How many patches were refused, by reason, most frequent first."""
    counts = Counter(patch.refused for patch in patches if patch.refused)
    # By name where two are equally frequent, so that a page does not change from run to run.
    items = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(items)


def _square(mask: BoolImage, limits: PatchOptions) -> tuple[Box, bool]:
    """The square around a mask inside the frame, and whether the mask is too small to be worth one."""
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    tall = rows[-1] - rows[0]
    wide = columns[-1] - columns[0]
    longer = max(tall, wide) + 1

    short = min(height, width)
    least = max(limits.least_px, limits.least * short)
    most = max(least, limits.most * short)
    padded = longer * (1 + 2 * limits.margin)
    bounded = float(np.clip(padded, least, most))
    side = min(short, round(bounded))

    # The middle of a mask too large for any patch is where most of it lies, not that of its bounding box.
    if longer > side:
        mask_rows, mask_columns = np.nonzero(mask)
        y = float(mask_rows.mean())
        x = float(mask_columns.mean())
    else:
        y = (rows[0] + rows[-1] + 1) / 2
        x = (columns[0] + columns[-1] + 1) / 2

    left = _start(x, side, width)
    top = _start(y, side, height)
    small = short < least or longer < least / LEAST_MASK
    return (left, top, left + side, top + side), bool(small)


def _start(middle: float, side: int, full: int) -> int:
    """Where a box of ``side`` px around ``middle`` starts, pushed inside 0 to ``full``."""
    start = max(middle - side / 2, 0)
    return round(min(start, full - side))


def _moved(box: Box, mask: BoolImage, hard: Int64[np.ndarray, "h1 w1"], limits: PatchOptions) -> Box:
    """The nearest box of at most this size that is free of ``hard`` zones and shows most of what ``box``
    shows of the mask.
    """
    if _count(hard, box) == 0:
        return box
    height, width = mask.shape
    x0, y0, x1, _ = box
    side = x1 - x0
    inside = _summed(mask)
    least_shown = SHOWN * _count(inside, box)
    least = max(limits.least_px, limits.least * min(height, width))
    # Nearest first, so that the first free box is the one that moves least.
    moves = sorted((dx * dx + dy * dy, dx, dy) for dx in SHIFTS for dy in SHIFTS)
    for shrink in SHRINKS:
        length = round(side * shrink)
        if length < least:
            break
        # A shrunk box has its middle where the whole one had it.
        slack = (side - length) / 2
        for _, dx, dy in moves:
            x = round(x0 + slack + dx * side)
            y = round(y0 + slack + dy * side)
            left = min(max(x, 0), width - length)
            top = min(max(y, 0), height - length)
            candidate = (left, top, left + length, top + length)
            if _count(hard, candidate) == 0 and _count(inside, candidate) >= least_shown:
                return candidate
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
    area = _area(box)
    if _count(sums["border"], box):
        return "border"
    if _count(sums["overlay"], box):
        return "overlay"
    if _count(sums["glare"], box) > limits.glare * area:
        return "glare"
    # Against the frame's own contrast, in which modalities differ.
    grey = image.mean(axis=-1)
    least_contrast = limits.contrast * grey.std()
    if grey[y0:y1, x0:x1].std() < least_contrast:
        return "flat"
    if _count(sums["background"], box) > limits.background * area:
        return "flat"
    if any(_shared(box, other) > limits.overlap for other in accepted):
        return "nested"
    return ""


def _shared(first: Box, second: Box) -> float:
    """Intersection over the smaller of two boxes."""
    left = max(first[0], second[0])
    top = max(first[1], second[1])
    right = min(first[2], second[2])
    foot = min(first[3], second[3])
    # Boxes apart have a negative width or height.
    wide = max(right - left, 0)
    high = max(foot - top, 0)
    smaller = min(_area(first), _area(second))
    return wide * high / smaller


def _area(box: Box) -> int:
    x0, y0, x1, y1 = box
    wide = x1 - x0
    high = y1 - y0
    return wide * high


def _summed(mask: BoolImage) -> Int64[np.ndarray, "h1 w1"]:
    """Summed-area table with a leading row and column of zeros."""
    numbers = mask.astype(np.int64)
    down = numbers.cumsum(axis=0)
    sums = down.cumsum(axis=1)
    return np.pad(sums, ((1, 0), (1, 0)))


def _count(sums: Int64[np.ndarray, "h1 w1"], box: Box) -> int:
    """Pixels of a summed mask inside a box."""
    x0, y0, x1, y1 = box
    right = sums[y1, x1] - sums[y0, x1]
    left = sums[y1, x0] - sums[y0, x0]
    return int(right - left)
