"""What a key patch must not contain: the black border of the device, burned-in text and boxes, specular
glare.

Everything is measured on a copy whose longest side is at most 512 px, so that the sizes below, all fractions
of the short side, mean the same for every corpus, and the zones are then enlarged to the frame.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int16
from PIL import Image as Raster
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

from optidel.arrays import BoolImage, Image, Images
from optidel.readers.content import (
    DARK,
    disk,
    edge_reach,
    is_coloured,
    is_framed,
    largest,
    opened,
    reduced,
    surround,
)

FRAMED = 0.01  # of the frame that is dark surroundings, the least where a device paints boxes
STROKE = 32  # levels by which burned-in text stands out from the tissue under it
STATIC = 0.4  # a group of frames that is constant over more than this is one scene, and tells nothing about overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """Where a key patch may not lie; each bool (h, w), True inside the zone.

    ``border`` is around the lit area of the device, small pictures beside it included; ``overlay`` is
    burned-in text and boxes; ``glare`` is blown-out reflection; ``background`` is dark surroundings that
    belong to the picture (air around a body), of which a patch may hold some but not mostly consist.
    """

    border: BoolImage
    overlay: BoolImage
    glare: BoolImage
    background: BoolImage

    @property
    def valid(self) -> BoolImage:
        """Bool (h, w), True where a prompt may be put; the background is not closed to prompts, small cells
        may lie in it.
        """
        return np.asarray(~(self.border | self.overlay | self.glare))


def forbidden(image: Image, overlay: BoolImage | None = None) -> Zones:
    """Find border, burned-in overlay, glare and background of one frame.

    A dark surrounding is a *border* where the frame is in colour and one lit area holds most of it, or where
    it is a straight band along a side; else (a brain on black, cells in the dark) it is *background*.

    Args:
        image: u8 (h, w, 3).
        overlay: bool, what :func:`group_overlay` found in frames of the same group, stretched to this frame;
            added to what is found here.
    """
    height, width = image.shape[:2]
    small = reduced(image)
    reach = edge_reach(small)
    dark = surround(small)
    lit = largest(opened(~dark, 2 * reach))
    coloured = is_coloured(small, ~dark)
    if coloured and is_framed(lit, dark):
        border, background = ~lit, np.zeros_like(dark)
    else:
        border = _bands(dark)
        background = dark & ~border
    border = ndimage.binary_dilation(border, disk(reach)) if border.any() else border
    found = _text(small, dark, coloured) | (_boxes(small, dark) if coloured else _markers(small, dark))
    glare = ndimage.binary_dilation(_glare(small), disk(reach)) if coloured else np.zeros_like(dark)
    zones = [_enlarged(zone, height, width) for zone in (border, found, glare & ~found, background)]
    if overlay is not None:
        zones[1] = zones[1] | _enlarged(overlay, height, width)
    return Zones(border=zones[0], overlay=zones[1], glare=zones[2], background=zones[3])


def group_overlay(frames: Images) -> BoolImage:
    """Find what is burned in at the same place of the frames of one group: labels, boxes, and fields whose
    text changes.

    A pixel is overlay where nine of ten frames show the same bright level, or where thin bright strokes recur
    in three of ten. A sample that is constant over more than 40 % of its lit area is one scene seen again and
    again: then nothing is called overlay.

    Args:
        frames: u8 (k, h, w, 3), at least 8 frames of one group, better 20 or more, of one size or stretched
            to it where they differ by a few per cent; with fewer the answer is all False.

    Returns:
        bool (h, w), True on overlay.
    """
    count, height, width = frames.shape[:3]
    small = np.stack([reduced(frame) for frame in frames]) if count else frames
    nothing = np.zeros((height, width), dtype=bool)
    if count < 8:
        return nothing
    middle = np.median(small, axis=0)
    same = (np.abs(small - middle).max(axis=-1) <= 10).mean(axis=0) >= 0.9
    bright = middle.max(axis=-1) > DARK
    constant = opened(same & bright, 1)
    if constant.sum() > STATIC * max(int(bright.sum()), 1):
        return nothing
    recurring = np.mean([_raised(frame) > STROKE for frame in small], axis=0) >= 0.3
    reach = edge_reach(small[0])
    found = ndimage.binary_dilation(_closed(constant | recurring, 2 * reach), disk(reach))
    return _enlarged(found, height, width)


def _bands(dark: BoolImage) -> BoolImage:
    """The part of ``dark`` that is a straight band along a side, at most slightly tilted: padding, a
    collimator's edge.
    """
    from scipy.stats import theilslopes  # a third of a second to import, for tilted bands alone

    bands = np.zeros_like(dark)
    for turns in range(4):
        side = np.rot90(dark, turns)
        if min(side.shape) < 16 or not side[0].mean() > 0.75:
            continue
        depth = np.where(side.all(axis=0), side.shape[0], np.argmin(side, axis=0))
        across = np.arange(depth.size)
        slope, start = theilslopes(depth[::4], across[::4])[:2]
        line = start + slope * across
        near = np.abs(depth - line) <= 0.01 * side.shape[0] + 1
        if 2 <= np.median(depth) <= 0.4 * side.shape[0] and near.mean() > 0.75 and abs(slope) < 0.15:
            bands |= np.rot90(np.arange(side.shape[0])[:, None] < line[None, :], -turns) & dark
    return bands


def _text(image: Image, dark: BoolImage, coloured: bool) -> BoolImage:
    """Boxes around rows of glyphs, and around whatever looks like a glyph on black or close to such a row.

    In a grey frame dark surroundings are no sign of text, for cells and vessels are bright on black too.
    """
    raised = _raised(image)
    short = min(image.shape[:2])
    labels, count = ndimage.label(raised > STROKE, np.ones((3, 3)))
    boxes = np.array([(r.start, c.start, r.stop, c.stop) for r, c in ndimage.find_objects(labels)]).reshape(
        -1, 4
    )
    tall, wide = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    is_glyph = (tall >= 3) & (tall <= short / 12) & (wide <= short / 6)
    number = np.arange(1, count + 1)
    strong = np.asarray(ndimage.maximum(raised, labels, number) > 2 * STROKE)
    on_black = ndimage.uniform_filter(dark.astype(np.float32), size=max(3, short // 24)) > 0.4
    certain = strong & np.isin(number, labels[on_black]) if coloured else np.zeros(count, dtype=bool)
    found = np.zeros_like(dark)
    for top, left, foot, right in _lines(boxes[is_glyph], strong[is_glyph], certain[is_glyph]):
        found[max(top - 2, 0) : foot + 2, max(left - 3, 0) : right + 3] = True
    found |= np.append(False, is_glyph & certain)[labels]
    near = labels[ndimage.binary_dilation(found, np.ones((7, 15)))]
    found |= np.isin(labels, near[np.append(False, is_glyph & strong)[near]])
    return np.asarray(ndimage.binary_dilation(found, np.ones((3, 5)))) if found.any() else found


def _lines(
    boxes: Int[np.ndarray, "n 4"], strong: Bool[np.ndarray, "n"], certain: Bool[np.ndarray, "n"]
) -> list[Int[np.ndarray, "4"]]:
    """Group glyph boxes (top, left, foot, right) of like height and common foot, side by side, into lines of
    text.

    Four glyphs, most of them strong, make a line; two where one of them is certain or a line of four is near.
    """
    if not len(boxes):
        return []
    top, left, foot, right = (boxes[:, side].astype(np.float64) for side in range(4))
    tall = foot - top
    taller = np.maximum(tall[:, None], tall[None, :])
    gap = np.maximum(left[:, None], left[None, :]) - np.minimum(right[:, None], right[None, :])
    alike = np.abs(tall[:, None] - tall[None, :]) <= np.maximum(1, 0.25 * taller)
    linked = (
        alike
        & (np.abs(foot[:, None] - foot[None, :]) <= np.maximum(1, 0.15 * taller))
        & (gap <= 1.3 * taller)
    )
    count, member = connected_components(linked, directed=False)
    rows = [np.flatnonzero(member == number) for number in range(count)]
    spans = [np.r_[boxes[row, :2].min(axis=0), boxes[row, 2:].max(axis=0)] for row in rows]
    letters = np.maximum(1, np.round((right - left) / (0.8 * tall)))  # touching glyphs come as one wide box
    wide = np.array([span[3] - span[1] for span in spans])
    high = np.array([np.median(tall[row]) for row in rows])
    long = np.array(
        [len(row) >= 3 and strong[row].mean() >= 0.7 and letters[row[strong[row]]].sum() >= 4 for row in rows]
    ) & (wide >= 2.5 * high)
    lines = [spans[number] for number in np.flatnonzero(long)]
    for number in np.flatnonzero(~long & [letters[row].sum() >= 2 for row in rows]):
        span, reach = spans[number], high[number] * np.array([6, 16])
        like = [
            spans[other]
            for other in np.flatnonzero(long & (np.abs(high - high[number]) <= np.maximum(1, 0.15 * high)))
        ]
        near = any(
            np.all(np.maximum(span[:2], line[:2]) - np.minimum(span[2:], line[2:]) <= reach) for line in like
        )
        if (near and strong[rows[number]].any()) or certain[rows[number]].any():
            lines.append(span)
    return lines


def _markers(image: Image, dark: BoolImage) -> BoolImage:
    """Small bright marks with sharp edges in a grey frame: side letters and name plates of an X-ray; too many
    of them are cells.
    """
    white = image.min(axis=-1)
    short = min(white.shape)
    nothing = np.zeros_like(dark)
    size = max(5, short // 8 | 1)
    raised = white.astype(np.int16) - ndimage.grey_opening(white, size=(size, size))
    labels, count = ndimage.label((raised > 50) & (white > 140), np.ones((3, 3)))
    if count == 0 or dark.mean() > 0.5:
        return nothing
    steep = ndimage.maximum_filter(white, size=3).astype(np.int16) - ndimage.minimum_filter(white, size=3)
    rim = np.where(ndimage.binary_erosion(labels > 0, np.ones((3, 3))), 0, labels)
    sharp = ndimage.mean(steep > 60, rim, np.arange(count + 1))
    area = np.bincount(labels.ravel())
    chosen = (sharp > 0.6) & (area >= 6) & (area < 0.02 * white.size)
    chosen[0] = False
    return (
        np.asarray(ndimage.binary_dilation(chosen[labels], np.ones((5, 5))))
        if 0 < chosen.sum() <= 40
        else nothing
    )


def _raised(image: Image) -> Int16[np.ndarray, "h w"]:
    """By how many levels thin, bright, colourless marks stand out: text, and also small reflections."""
    white = image.min(axis=-1)
    size = max(5, min(image.shape[:2]) // 32 | 1)
    raised = white.astype(np.int16) - ndimage.grey_opening(white, size=(size, size))
    return np.where(white > 100, raised, 0).astype(np.int16)


def _boxes(image: Image, dark: BoolImage) -> BoolImage:
    """Rectangles painted in one flat colour with a sharp edge: scope guides, banners, redaction."""
    if (
        dark.mean() < FRAMED
    ):  # a light microscope frames nothing, and the empty glass between its cells is as flat as paint
        return np.zeros_like(dark)
    level = image.astype(np.int16)
    span = (
        ndimage.maximum_filter(level, size=(5, 5, 1)) - ndimage.minimum_filter(level, size=(5, 5, 1))
    ).max(axis=-1)
    painted = (span <= 8) & ~dark & (level.max(axis=-1) < 250) & (level.max(axis=-1) > DARK)
    labels, _ = ndimage.label(painted)
    found = np.zeros_like(dark)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[rows, columns] == number
        colours = level[rows, columns][inside]
        if len(colours) < 0.002 * dark.size or inside.mean() < 0.3 or colours.std(axis=0).max() > 6:
            continue
        around = (
            slice(max(rows.start - 5, 0), rows.stop + 5),
            slice(max(columns.start - 5, 0), columns.stop + 5),
        )
        ring = np.ones(level[around].shape[:2], dtype=bool)
        ring[1:-1, 1:-1] = False
        if np.mean(np.abs(level[around][ring] - np.median(colours, axis=0)).max(axis=-1) > 30) > 0.5:
            found[around] = True
    return _closed(found, 8) if found.any() else found


def _glare(image: Image) -> BoolImage:
    """Blown-out, nearly colourless pixels well above the frame's usual brightness."""
    white = image.min(axis=-1)
    usual = float(np.median(image.mean(axis=-1)))
    return np.asarray((image.mean(axis=-1) > max(usual + 60, 215)) & (white > 190))


def _closed(mask: BoolImage, radius: int) -> BoolImage:
    padded = np.pad(mask, radius)
    return np.asarray(ndimage.binary_closing(padded, disk(radius))[radius:-radius, radius:-radius])


def _enlarged(mask: BoolImage, height: int, width: int) -> BoolImage:
    if mask.shape == (height, width):
        return mask
    return (
        np.asarray(Raster.fromarray(mask.astype(np.uint8)).resize((width, height), Raster.Resampling.NEAREST))
        > 0
    )
