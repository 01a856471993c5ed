"""What a key patch must not contain: the black border of the device, burned-in text and boxes, specular
glare.

Everything is measured on a copy whose longest side is at most 512 px, so that the sizes below, all fractions
of the short side, mean the same for every corpus, and the zones are then enlarged to the frame.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int16, UInt8
from PIL import Image as PillowImage
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

FRAMED = 0.01
"""Share of the frame that is dark surroundings, the least where a device paints boxes: a light microscope
frames nothing, and the empty glass between its cells is as flat as paint."""

STROKE = 32
"""Levels by which burned-in text stands out from the picture under it: an eighth of the range. JPEG at
quality 50 rings by some 20 levels around an edge."""

STRONG = 2 * STROKE
"""Levels by which a mark stands out that is not a weak reflection."""

LIGHT = 100
"""Levels that a stroke has at least: text is written to be read, in the upper part of the range."""

STROKE_WIDTH = 32
"""A stroke is thinner than the short side over this: 7 px of 224, where letters are up to 18 px high."""

GLYPH_HEIGHT, GLYPH_WIDTH = 12, 6
"""A glyph is at most the short side over these high and wide; touching letters come as one wide glyph."""

LEAST_HEIGHT = 3
"""px of a glyph: nothing can be read in fewer."""

ON_BLACK = 0.4
"""Share of dark surroundings around a mark from which on it lies outside the picture, where only text is."""

ALIKE_HEIGHT, COMMON_FOOT, GAP = 0.25, 0.15, 1.3
"""Letters of a line: heights differ by at most a quarter (capitals and figures), feet by 15 % of the
height, and the gap between neighbours is at most 1.3 heights (a space is one)."""

LINE_GLYPHS, LINE_LETTERS = 3, 4
"""A line has three glyphs and four letters at least: fewer bright spots stand in a row by chance."""

UNFRAMED_GLYPHS = 6
"""The same in a colour picture that no device frames, a microscope's or a camera's: the gaps of a tissue stand in
short rows by chance."""

LETTER_WIDTH = 0.8
"""Width of a letter over its height, for counting the letters of a wide glyph."""

LINE_STRONG = 0.7
"""Share of a line's glyphs that are strong: reflections vary, ink does not."""

LINE_LONG = 2.5
"""Length of a line over its height at the least."""

CROSSINGS = 2.0
"""Changes between ink and ground along a line of text, per height of the line: a letter has 2 to 4 in 0.8
heights; a fascia in ultrasound, as bright and as thin, has next to none."""

INK = 225
"""Levels of the brightest pixel of each glyph in a grey frame: ink is near white, a fascia or a rib seldom
is. How far it stands out tells nothing there, for it may lie on bright bone."""

GROUND = 15
"""Levels by which the ground around a side letter deviates at most: it lies on air, bone on more bone."""

PALE_INK = 190
"""The same for small letters, which antialiasing makes paler, where they stand out well."""

SOLID_INK = (195, 225)
"""Levels of all pixels of a glyph in a second and a third look at grey frames: letters that have grown
together with the bright tissue that they lie on come apart."""

CLEAR = 3
"""px between a mark on black and the lit area: the ragged rim of a cell touches it, text does not."""

SHORT_LETTERS = 2
"""Letters of a short line, which counts only beside a long one or outside the picture."""

NEXT_LINE = (6, 16)
"""Heights between a short line and a long one of its block, down and across: a form has columns."""

LINE_MARGIN = (2, 3)
"""px around a line, up and down, and left and right: the soft rim of its letters."""

SUBJECT_REACH = (7, 15)
"""px, the box in which a strong glyph near a line belongs to it (dots, colons, units)."""

TILTED, BAND_SIDE, BAND_DEPTH, BAND_STRAIGHT, BAND_EDGE = 0.15, 0.75, 0.4, 0.75, 16
"""A band of padding fills three quarters of its side, is at most 0.4 of the frame deep, deviates from a
straight line in less than a quarter of its length, rises by at most 0.15, and is looked for from 16 px
on."""

MARKER_SIZE, MARKER_LEVEL, MARKER_RAISED = 8, 140, 50
"""A side letter of a radiograph is thinner than an eighth of the short side, lies over the middle of the
range and 50 levels over what is around it."""

MARKER_STEEP, MARKER_SHARP = 60, 0.6
"""Its rim rises by 60 levels in 3 px over most of its length; bone does not."""

MARKER_SIDE = 5
"""It is at most a fifth of the short side high and wide; a rib or a skull is longer."""

MARKER_RIM = 0.25
"""It lies in the outer quarter of the frame, where nobody looks for a finding; calcifications lie within."""

MARKER_LEAST, MARKER_MOST, MARKER_COUNT = 6, 0.02, 40
"""It has 6 px at least and 2 % of the frame at most; more than 40 of them are cells."""

MARKED_DARK = 0.5
"""Share of dark surroundings over which a grey frame shows cells or an organ in the dark, not a
radiograph."""

PAINT_FLAT, PAINT_DEVIATION, PAINT_WHITE = 8, 6, 250
"""Paint varies by at most 8 levels in 5 × 5 px and deviates by 6 over the whole box; blown-out pixels are no
paint."""

PAINT_AREA, PAINT_FILL, PAINT_REACH = 0.002, 0.3, 5
"""A box has 2 thousandths of the frame at least; paint fills 0.3 of it at least (scope guides hold a
drawing); its edge is looked for 5 px around it."""

PAINT_EDGE = 30
"""Levels between a box and what is around it."""

PAINT_STRAIGHT = 0.9
"""Share of each side of a box that lies on a straight line within 4 % of the box's depth: a rectangle has
all of it, an ellipse a fifth."""

GLARE_OVER, GLARE_LEAST, GLARE_WHITE = 60, 215, 190
"""A reflection is 60 levels over the frame's median, over 215 in the mean and over 190 in each channel."""

GROUP_LEAST, GROUP_SAME, GROUP_STEADY, GROUP_STROKES = 8, 10, 0.9, 0.3
"""Frames of a group that tell what is burned in: 8; a pixel is the same within 10 levels, steady in 9
frames of 10; strokes recur in 3 of 10."""

STATIC = 0.4
"""A group that is steady over more than this share of its lit area is one scene, and tells nothing."""


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
    marks = _boxes(small, dark) if coloured else _markers(small, dark)
    printed = _text(small, dark, coloured) | marks
    glare = ndimage.binary_dilation(_glare(small), disk(reach)) if coloured else np.zeros_like(dark)
    parts = (border, printed, glare & ~printed, background)
    zones = [_enlarged(zone, height, width) for zone in parts]
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
    if count < GROUP_LEAST:
        return nothing
    middle = np.median(small, axis=0)
    deviation = np.abs(small - middle).max(axis=-1)
    same = (deviation <= GROUP_SAME).mean(axis=0) >= GROUP_STEADY
    bright = middle.max(axis=-1) > DARK
    constant = opened(same & bright, 1)
    if constant.sum() > STATIC * max(int(bright.sum()), 1):
        return nothing
    strokes = [_raised(frame) > STROKE for frame in small]
    recurring = np.mean(strokes, axis=0) >= GROUP_STROKES
    reach = edge_reach(small[0])
    overlay = ndimage.binary_dilation(_closed(constant | recurring, 2 * reach), disk(reach))
    return _enlarged(overlay, height, width)


def _bands(dark: BoolImage) -> BoolImage:
    """The part of ``dark`` that is a straight band along a side, at most slightly tilted: padding, a
    collimator's edge.
    """
    from scipy.stats import theilslopes  # a third of a second to import, for tilted bands alone

    bands = np.zeros_like(dark)
    for turns in range(4):
        side = np.rot90(dark, turns)
        if min(side.shape) < BAND_EDGE or not side[0].mean() > BAND_SIDE:
            continue
        depth = np.where(side.all(axis=0), side.shape[0], np.argmin(side, axis=0))
        across = np.arange(depth.size)
        slope, start = theilslopes(depth[::4], across[::4])[:2]
        line = start + slope * across
        near = np.abs(depth - line) <= 0.01 * side.shape[0] + 1
        shallow = 2 <= np.median(depth) <= BAND_DEPTH * side.shape[0]
        if shallow and near.mean() > BAND_STRAIGHT and abs(slope) < TILTED:
            bands |= np.rot90(np.arange(side.shape[0])[:, None] < line[None, :], -turns) & dark
    return bands


def _text(image: Image, dark: BoolImage, coloured: bool) -> BoolImage:
    """Boxes around rows of glyphs, and around whatever looks like a glyph on black or close to such a row.

    In a grey frame dark surroundings are no sign of text, for cells and vessels are bright on black too.
    """
    raised = _raised(image)
    ink = raised > STROKE
    text = _text_of(ink, raised, image, dark, coloured)
    if not coloured:
        for level in SOLID_INK:
            text |= _text_of(ink & (image[..., 1] >= level), raised, image, dark, coloured)
    return text


def _text_of(
    ink: BoolImage, raised: Int16[np.ndarray, "h w"], image: Image, dark: BoolImage, coloured: bool
) -> BoolImage:
    """The same for given pixels of ink."""
    short = min(image.shape[:2])
    labels, count = ndimage.label(ink, np.ones((3, 3)))
    corners = [
        (rows.start, columns.start, rows.stop, columns.stop) for rows, columns in ndimage.find_objects(labels)
    ]
    boxes = np.array(corners, dtype=np.int64).reshape(-1, 4)
    tall, wide = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    is_glyph = (tall >= LEAST_HEIGHT) & (tall <= short / GLYPH_HEIGHT) & (wide <= short / GLYPH_WIDTH)
    number = np.arange(1, count + 1)
    strong = np.asarray(ndimage.maximum(raised, labels, number) > STRONG)
    if not coloured:
        brightest = np.asarray(ndimage.maximum(image[..., 1], labels, number))
        strong = (brightest >= INK) | (strong & (brightest >= PALE_INK))
    on_black = ndimage.uniform_filter(dark.astype(np.float32), size=max(3, short // 24)) > ON_BLACK
    near_light = ndimage.binary_dilation(largest(~dark), np.ones((2 * CLEAR + 1, 2 * CLEAR + 1)))
    alone = np.isin(number, labels[on_black]) & ~np.isin(number, labels[near_light])
    certain = strong & alone if coloured else np.zeros(count, dtype=bool)
    fewest = UNFRAMED_GLYPHS if coloured and dark.mean() < FRAMED else LINE_GLYPHS
    text = np.zeros_like(dark)
    up, aside = LINE_MARGIN
    for top, left, foot, right in _lines(boxes[is_glyph], strong[is_glyph], certain[is_glyph], fewest):
        if _is_written(ink[top:foot, left:right]):
            text[max(top - up, 0) : foot + up, max(left - aside, 0) : right + aside] = True
    text |= np.append(False, is_glyph & certain)[labels]

    near = labels[ndimage.binary_dilation(text, np.ones(SUBJECT_REACH))]
    text |= np.isin(labels, near[np.append(False, is_glyph & strong)[near]])
    return np.asarray(ndimage.binary_dilation(text, np.ones((3, 5)))) if text.any() else text


def _is_written(ink: BoolImage) -> bool:
    """Whether rows through a line change often enough between ink and ground to be text."""
    changes = (ink[:, 1:] != ink[:, :-1]).sum(axis=1)
    return bool(np.median(changes) >= CROSSINGS * ink.shape[1] / ink.shape[0])


def _lines(
    boxes: Int[np.ndarray, "n 4"],
    strong: Bool[np.ndarray, "n"],
    certain: Bool[np.ndarray, "n"],
    fewest: int,
) -> list[Int[np.ndarray, "4"]]:
    """Group glyph boxes (top, left, foot, right) of like height and common foot, side by side, into lines of
    text.

    ``fewest`` glyphs and four letters, most of them strong, make a line; two where one of them is certain or a line of four is near.
    """
    if not len(boxes):
        return []
    top, left, foot, right = (boxes[:, side].astype(np.float64) for side in range(4))
    tall = foot - top
    taller = np.maximum(tall[:, None], tall[None, :])
    gap = np.maximum(left[:, None], left[None, :]) - np.minimum(right[:, None], right[None, :])
    alike = np.abs(tall[:, None] - tall[None, :]) <= np.maximum(1, ALIKE_HEIGHT * taller)
    linked = (
        alike
        & (np.abs(foot[:, None] - foot[None, :]) <= np.maximum(1, COMMON_FOOT * taller))
        & (gap <= GAP * taller)
    )
    count, member = connected_components(linked, directed=False)
    rows = [np.flatnonzero(member == number) for number in range(count)]
    spans = [np.r_[boxes[row, :2].min(axis=0), boxes[row, 2:].max(axis=0)] for row in rows]
    letters = np.maximum(
        1, np.round((right - left) / (LETTER_WIDTH * tall))
    )  # touching glyphs come as one wide box
    wide = np.array([span[3] - span[1] for span in spans])
    high = np.array([np.median(tall[row]) for row in rows])
    long = np.array(
        [
            len(row) >= fewest
            and strong[row].mean() >= LINE_STRONG
            and letters[row[strong[row]]].sum() >= LINE_LETTERS
            for row in rows
        ]
    ) & (wide >= LINE_LONG * high)
    lines = [spans[number] for number in np.flatnonzero(long)]
    for number in np.flatnonzero(~long & [letters[row].sum() >= SHORT_LETTERS for row in rows]):
        span, reach = spans[number], high[number] * np.array(NEXT_LINE)
        like = [
            spans[other]
            for other in np.flatnonzero(
                long & (np.abs(high - high[number]) <= np.maximum(1, COMMON_FOOT * high))
            )
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
    size = max(5, short // MARKER_SIZE | 1)
    raised = white.astype(np.int16) - ndimage.grey_opening(white, size=(size, size))
    labels, count = ndimage.label((raised > MARKER_RAISED) & (white > MARKER_LEVEL), np.ones((3, 3)))
    if count == 0 or dark.mean() > MARKED_DARK:
        return nothing
    steep = ndimage.maximum_filter(white, size=3).astype(np.int16) - ndimage.minimum_filter(white, size=3)
    rim = np.where(ndimage.binary_erosion(labels > 0, np.ones((3, 3))), 0, labels)
    sharp = ndimage.mean(steep > MARKER_STEEP, rim, np.arange(count + 1))
    area = np.bincount(labels.ravel())
    is_marker = (sharp > MARKER_SHARP) & (area >= MARKER_LEAST) & (area < MARKER_MOST * white.size)
    is_marker[0] = False
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        longest = max(rows.stop - rows.start, columns.stop - columns.start)
        if is_marker[number]:
            small = longest <= short / MARKER_SIDE and _at_rim(rows, columns, white.shape)
            is_marker[number] = small and _on_plain_ground(white, labels == number)
    if not 0 < is_marker.sum() <= MARKER_COUNT:
        return nothing
    return np.asarray(ndimage.binary_dilation(is_marker[labels], np.ones((5, 5))))


def _on_plain_ground(white: UInt8[np.ndarray, "h w"], mark: BoolImage) -> bool:
    """Whether a mark is near white, and what is around it is even."""
    inner, outer = (ndimage.binary_dilation(mark, np.ones((side, side))) for side in (5, 11))
    ground = white[outer & ~inner]
    return bool(white[mark].max() >= PALE_INK and ground.size and ground.std() <= GROUND)


def _at_rim(rows: slice, columns: slice, shape: tuple[int, ...]) -> bool:
    """Whether the middle of a box lies in the outer part of the frame."""
    middles = ((rows.start + rows.stop) / 2 / shape[0], (columns.start + columns.stop) / 2 / shape[1])
    return any(not MARKER_RIM <= middle <= 1 - MARKER_RIM for middle in middles)


def _raised(image: Image) -> Int16[np.ndarray, "h w"]:
    """By how many levels thin, bright marks stand out: text, and also small reflections.

    Measured in green: white, yellow, cyan and green letters are bright in it, and tissue and stains are not.
    """
    green = image[..., 1]
    size = max(5, min(image.shape[:2]) // STROKE_WIDTH | 1)
    raised = green.astype(np.int16) - ndimage.grey_opening(green, size=(size, size))
    return np.where(green > LIGHT, raised, 0).astype(np.int16)


def _boxes(image: Image, dark: BoolImage) -> BoolImage:
    """Rectangles painted in one flat colour with a sharp edge: scope guides, banners, redaction."""
    boxes = np.zeros_like(dark)
    if dark.mean() < FRAMED:
        return boxes
    level = image.astype(np.int16)
    highest, lowest = (
        extreme(level, size=(5, 5, 1)) for extreme in (ndimage.maximum_filter, ndimage.minimum_filter)
    )
    brightest = level.max(axis=-1)
    flat = (highest - lowest).max(axis=-1) <= PAINT_FLAT
    labels, _ = ndimage.label(flat & ~dark & (brightest < PAINT_WHITE) & (brightest > DARK))
    areas = np.bincount(labels.ravel())
    for number, part in enumerate(ndimage.find_objects(labels), start=1):
        if areas[number] < PAINT_AREA * dark.size:
            continue
        inside = labels[part] == number
        colours = level[part][inside]
        if inside.mean() < PAINT_FILL or colours.std(axis=0).max() > PAINT_DEVIATION:
            continue
        rows, columns = part
        around = (
            slice(max(rows.start - PAINT_REACH, 0), rows.stop + PAINT_REACH),
            slice(max(columns.start - PAINT_REACH, 0), columns.stop + PAINT_REACH),
        )
        ring = np.ones(level[around].shape[:2], dtype=bool)
        ring[1:-1, 1:-1] = False
        contrast = np.abs(level[around][ring] - np.median(colours, axis=0)).max(axis=-1)
        if np.mean(contrast > PAINT_EDGE) > 0.5 and _is_rectangle(inside):
            boxes[around] = True
    return _closed(boxes, 8) if boxes.any() else boxes


def _is_rectangle(inside: BoolImage) -> bool:
    """Whether a painted area has four straight sides: a cell on black is flat too, and round."""
    for turns in range(4):
        side = np.rot90(inside, turns)
        depth = np.where(side.any(axis=0), np.argmax(side, axis=0), side.shape[0])
        near = depth <= max(1, round(0.04 * side.shape[0]))
        if near.mean() < PAINT_STRAIGHT:
            return False
    return True


def _glare(image: Image) -> BoolImage:
    """Blown-out, nearly colourless pixels well above the frame's usual brightness."""
    white = image.min(axis=-1)
    usual = float(np.median(image.mean(axis=-1)))
    return np.asarray((image.mean(axis=-1) > max(usual + GLARE_OVER, GLARE_LEAST)) & (white > GLARE_WHITE))


def _closed(mask: BoolImage, radius: int) -> BoolImage:
    padded = np.pad(mask, radius)
    return np.asarray(ndimage.binary_closing(padded, disk(radius))[radius:-radius, radius:-radius])


def _enlarged(mask: BoolImage, height: int, width: int) -> BoolImage:
    if mask.shape == (height, width):
        return mask
    return (
        np.asarray(
            PillowImage.fromarray(mask.astype(np.uint8)).resize(
                (width, height), PillowImage.Resampling.NEAREST
            )
        )
        > 0
    )
