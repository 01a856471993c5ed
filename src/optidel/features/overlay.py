"""What a key patch must not contain: the black border of the device, burned-in text and boxes, specular
glare.

Everything is measured on a copy whose longest side is at most 512 px, so that the sizes below, all fractions
of the short side, mean the same for every corpus, and the zones are then enlarged to the frame.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int16, UInt8
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

# Share of the frame that is dark surroundings, the least where a device paints boxes: a light microscope
# frames nothing, and the empty glass between its cells is as flat as paint.
FRAMED = 0.01

# Levels by which burned-in text stands out from the picture under it: an eighth of the range. JPEG at
# quality 50 rings by some 20 levels around an edge.
STROKE = 32

# Levels by which a mark stands out that is not a weak reflection.
STRONG = 2 * STROKE

# Levels that a stroke has at least: text is written to be read, in the upper part of the range.
LIGHT = 100

# A stroke is thinner than the short side over this: 7 px of 224, where letters are up to 18 px high.
STROKE_WIDTH = 32

# A glyph is at most the short side over these high and wide; touching letters come as one wide glyph.
GLYPH_HEIGHT, GLYPH_WIDTH = 12, 6

# px of a glyph: nothing can be read in fewer.
LEAST_HEIGHT = 3

# Share of dark surroundings around a mark from which on it lies outside the picture, where only text is.
ON_BLACK = 0.4

# Letters of a line: heights differ by at most a quarter (capitals and figures), feet by 15 % of the height,
# and the gap between neighbours is at most 1.3 heights (a space is one).
ALIKE_HEIGHT, COMMON_FOOT, GAP = 0.25, 0.15, 1.3

# A line has three glyphs and four letters at least: fewer bright spots stand in a row by chance.
LINE_GLYPHS, LINE_LETTERS = 3, 4

# The same in a colour picture that no device frames, a microscope's or a camera's: the gaps of a tissue
# stand in short rows by chance.
UNFRAMED_GLYPHS = 6

# Width of a letter over its height, for counting the letters of a wide glyph.
LETTER_WIDTH = 0.8

# Share of a line's glyphs that are strong: reflections vary, ink does not.
LINE_STRONG = 0.7

# Length of a line over its height at the least.
LINE_LONG = 2.5

# Changes between ink and ground along a line of text, per height of the line: a letter has 2 to 4 in 0.8
# heights; a fascia in ultrasound, as bright and as thin, has next to none.
CROSSINGS = 2.0

# Levels of the brightest pixel of each glyph in a grey frame: ink is near white, a fascia or a rib seldom
# is. How far it stands out tells nothing there, for it may lie on bright bone.
INK = 225

# Levels by which the ground around a side letter deviates at most: it lies on air, bone on more bone.
GROUND = 15

# The same for small letters, which antialiasing makes paler, where they stand out well.
PALE_INK = 190

# Levels of all pixels of a glyph in a second and a third look at grey frames: letters that have grown
# together with the bright tissue that they lie on come apart.
SOLID_INK = (195, 225)

# px between a mark on black and the lit area: the ragged rim of a cell touches it, text does not.
CLEAR = 3

# Letters of a short line, which counts only beside a long one or outside the picture.
SHORT_LETTERS = 2

# Heights between a short line and a long one of its block, down and across: a form has columns.
NEXT_LINE = (6, 16)

# px around a line, up and down, and left and right: the soft rim of its letters.
LINE_MARGIN = (2, 3)

# px, the box in which a strong glyph near a line belongs to it (dots, colons, units).
SUBJECT_REACH = (7, 15)

# A band of padding fills three quarters of its side, is at most 0.4 of the frame deep, deviates from a
# straight line in less than a quarter of its length, rises by at most 0.15, and is looked for from 16 px
# on.
TILTED, BAND_SIDE, BAND_DEPTH, BAND_STRAIGHT, BAND_EDGE = 0.15, 0.75, 0.4, 0.75, 16

# A side letter of a radiograph is thinner than an eighth of the short side, lies over the middle of the
# range and 50 levels over what is around it.
MARKER_SIZE, MARKER_LEVEL, MARKER_RAISED = 8, 140, 50

# Its rim rises by 60 levels in 3 px over most of its length; bone does not.
MARKER_STEEP, MARKER_SHARP = 60, 0.6

# It is at most a fifth of the short side high and wide; a rib or a skull is longer.
MARKER_SIDE = 5

# It lies in the outer quarter of the frame, where nobody looks for a finding; calcifications lie within.
MARKER_RIM = 0.25

# It has 6 px at least and 2 % of the frame at most; more than 40 of them are cells.
MARKER_LEAST, MARKER_MOST, MARKER_COUNT = 6, 0.02, 40

# Share of dark surroundings over which a grey frame shows cells or an organ in the dark, not a radiograph.
MARKED_DARK = 0.5

# Paint varies by at most 8 levels in 5 × 5 px and deviates by 6 over the whole box; blown-out pixels are no
# paint.
PAINT_FLAT, PAINT_DEVIATION, PAINT_WHITE = 8, 6, 250

# A box has 2 thousandths of the frame at least; paint fills 0.3 of it at least (scope guides hold a
# drawing); its edge is looked for 5 px around it.
PAINT_AREA, PAINT_FILL, PAINT_REACH = 0.002, 0.3, 5

# Levels between a box and what is around it.
PAINT_EDGE = 30

# Share of each side of a box that lies on a straight line within 4 % of the box's depth: a rectangle has
# all of it, an ellipse a fifth.
PAINT_STRAIGHT = 0.9

# A reflection is 60 levels over the frame's median, over 215 in the mean and over 190 in each channel.
GLARE_OVER, GLARE_LEAST, GLARE_WHITE = 60, 215, 190

# Frames of a group that tell what is burned in: 8; a pixel is the same within 10 levels, steady in 9 frames
# of 10; strokes recur in 3 of 10.
GROUP_LEAST, GROUP_SAME, GROUP_STEADY, GROUP_STROKES = 8, 10, 0.9, 0.3

# A group that is steady over more than this share of its lit area is one scene, and tells nothing.
STATIC = 0.4


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
        closed = self.border | self.overlay | self.glare
        return np.asarray(~closed)


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
    nothing = np.zeros_like(dark)
    if coloured and is_framed(lit, dark):
        border = ~lit
        background = nothing
    else:
        border = _bands(dark)
        background = dark & ~border
    # The rim of a border is ragged and dim, and no more part of the picture than the border.
    if border.any():
        border = ndimage.binary_dilation(border, disk(reach))

    # Painted boxes are an endoscope's; side letters and name plates are a radiograph's.
    marks = _boxes(small, dark) if coloured else _markers(small, dark)
    printed = _text(small, dark, coloured) | marks
    glare = nothing
    # In a grey frame what is near white may be bone or a calcification.
    if coloured:
        glare = ndimage.binary_dilation(_glare(small), disk(reach))
    # Burned-in text is as white as a reflection, and is called by its first name.
    glare = glare & ~printed

    printed = _enlarged(printed, height, width)
    if overlay is not None:
        printed = printed | _enlarged(overlay, height, width)
    return Zones(
        border=_enlarged(border, height, width),
        overlay=printed,
        glare=_enlarged(glare, height, width),
        background=_enlarged(background, height, width),
    )


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
    nothing = np.zeros((height, width), dtype=bool)
    if count < GROUP_LEAST:
        return nothing

    small = np.stack([reduced(frame) for frame in frames])
    middle = np.median(small, axis=0)
    deviation = np.abs(small - middle).max(axis=-1)
    share_same = (deviation <= GROUP_SAME).mean(axis=0)
    steady = share_same >= GROUP_STEADY
    # Black is steady in every group, and is no overlay.
    bright = middle.max(axis=-1) > DARK
    # Opened, so that a pixel that is steady by chance does not count.
    constant = opened(steady & bright, 1)
    lit = max(int(bright.sum()), 1)
    if constant.sum() > STATIC * lit:
        return nothing

    strokes = [_raised(frame) > STROKE for frame in small]
    recurring = np.mean(strokes, axis=0) >= GROUP_STROKES
    reach = edge_reach(small[0])
    joined = _closed(constant | recurring, 2 * reach)
    overlay = ndimage.binary_dilation(joined, disk(reach))
    return _enlarged(overlay, height, width)


def _bands(dark: BoolImage) -> BoolImage:
    """The part of ``dark`` that is a straight band along a side, at most slightly tilted: padding, a
    collimator's edge.
    """
    from scipy.stats import theilslopes  # a third of a second to import, for tilted bands alone

    bands = np.zeros_like(dark)
    for turns in range(4):
        # Turned, so that the side in question is at the top.
        side = np.rot90(dark, turns)
        height = side.shape[0]
        if min(side.shape) < BAND_EDGE or not side[0].mean() > BAND_SIDE:
            continue

        # In a column that is dark throughout, argmin finds no end.
        first_lit = np.argmin(side, axis=0)
        depth = np.where(side.all(axis=0), height, first_lit)
        across = np.arange(depth.size)
        # Every fourth column: the fit compares all pairs. It is robust, so the picture may bulge into a band.
        slope, start = theilslopes(depth[::4], across[::4])[:2]
        line = start + slope * across

        tolerance = 0.01 * height + 1
        near = np.abs(depth - line) <= tolerance
        straight = near.mean() > BAND_STRAIGHT and abs(slope) < TILTED
        shallow = 2 <= np.median(depth) <= BAND_DEPTH * height
        if shallow and straight:
            rows = np.arange(height)[:, None]
            above = rows < line[None, :]
            bands |= np.rot90(above, -turns) & dark
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
            solid = image[..., 1] >= level
            text |= _text_of(ink & solid, raised, image, dark, coloured)
    return text


def _text_of(
    ink: BoolImage, raised: Int16[np.ndarray, "h w"], image: Image, dark: BoolImage, coloured: bool
) -> BoolImage:
    """The same for given pixels of ink."""
    short = min(image.shape[:2])
    green = image[..., 1]
    # Marks that touch at a corner are one: thin strokes run diagonally.
    labels, count = ndimage.label(ink, np.ones((3, 3)))
    number = np.arange(1, count + 1)
    boxes = _label_boxes(labels)
    tall = boxes[:, 2] - boxes[:, 0]
    wide = boxes[:, 3] - boxes[:, 1]
    fits_height = (tall >= LEAST_HEIGHT) & (tall <= short / GLYPH_HEIGHT)
    fits_width = wide <= short / GLYPH_WIDTH
    is_glyph = fits_height & fits_width

    strong = np.asarray(ndimage.maximum(raised, labels, number) > STRONG)
    if not coloured:
        brightest = np.asarray(ndimage.maximum(green, labels, number))
        white = brightest >= INK
        pale = brightest >= PALE_INK
        strong = white | (strong & pale)

    certain = np.zeros(count, dtype=bool)
    fewest = LINE_GLYPHS
    if coloured:
        certain = strong & _outside_picture(labels, number, dark)
        if dark.mean() < FRAMED:
            fewest = UNFRAMED_GLYPHS

    text = np.zeros_like(dark)
    up, aside = LINE_MARGIN
    for top, left, foot, right in _lines(boxes[is_glyph], strong[is_glyph], certain[is_glyph], fewest):
        if _is_written(ink[top:foot, left:right]):
            rows = slice(max(top - up, 0), foot + up)
            columns = slice(max(left - aside, 0), right + aside)
            text[rows, columns] = True
    # Label 0 is the ground, before the first mark.
    is_certain = np.append(False, is_glyph & certain)
    text |= is_certain[labels]

    around = ndimage.binary_dilation(text, np.ones(SUBJECT_REACH))
    near = labels[around]
    is_strong = np.append(False, is_glyph & strong)
    joining = near[is_strong[near]]
    text |= np.isin(labels, joining)
    if not text.any():
        return text
    # The soft rim of the letters, wider along the line, in which the gaps between them close.
    return np.asarray(ndimage.binary_dilation(text, np.ones((3, 5))))


def _label_boxes(labels: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "n 4"]:
    """Top, left, foot and right of each label from 1, px, ends exclusive."""
    corners = []
    for rows, columns in ndimage.find_objects(labels):
        corners.append((rows.start, columns.start, rows.stop, columns.stop))
    return np.array(corners, dtype=np.int64).reshape(-1, 4)


def _outside_picture(
    labels: Int[np.ndarray, "h w"], number: Int[np.ndarray, "n"], dark: BoolImage
) -> Bool[np.ndarray, "n"]:
    """Which marks lie on black and apart from the lit area."""
    short = min(dark.shape)
    # A 24th of the short side: half of the highest letter.
    size = max(3, short // 24)
    darkness = ndimage.uniform_filter(dark.astype(np.float32), size=size)
    on_black = np.isin(number, labels[darkness > ON_BLACK])

    width = 2 * CLEAR + 1
    near_light = ndimage.binary_dilation(largest(~dark), np.ones((width, width)))
    touching = np.isin(number, labels[near_light])
    return np.asarray(on_black & ~touching)


def _is_written(ink: BoolImage) -> bool:
    """Whether rows through a line change often enough between ink and ground to be text."""
    height, width = ink.shape
    changes = (ink[:, 1:] != ink[:, :-1]).sum(axis=1)
    least = CROSSINGS * width / height
    # The median row, for the rows at head and foot cross few letters.
    usual = np.median(changes)
    return bool(usual >= least)


def _lines(
    boxes: Int[np.ndarray, "n 4"],
    strong: Bool[np.ndarray, "n"],
    certain: Bool[np.ndarray, "n"],
    fewest: int,
) -> list[Int[np.ndarray, "4"]]:
    """Group glyph boxes (top, left, foot, right) of like height and common foot, side by side, into lines of
    text.

    ``fewest`` glyphs and four letters, most of them strong, make a line; two where one of them is certain or
    a line of four is near.
    """
    if not len(boxes):
        return []
    top, left, foot, right = boxes.astype(np.float64).T
    tall = foot - top
    wide = right - left
    # Touching glyphs come as one wide box.
    letters = np.maximum(1, np.round(wide / (LETTER_WIDTH * tall)))

    rows = []
    spans = []
    heights = []
    is_long = []
    for row in _rows_of_glyphs(left, right, foot, tall):
        box = np.r_[boxes[row, :2].min(axis=0), boxes[row, 2:].max(axis=0)]
        length = box[3] - box[1]
        height = np.median(tall[row])
        # Weak marks are counted as glyphs, but not as letters.
        strong_letters = letters[row[strong[row]]].sum()
        many = len(row) >= fewest and strong_letters >= LINE_LETTERS
        steady = strong[row].mean() >= LINE_STRONG
        rows.append(row)
        spans.append(box)
        heights.append(height)
        is_long.append(many and steady and length >= LINE_LONG * height)

    high = np.array(heights)
    long = np.array(is_long)
    lines = [spans[number] for number in np.flatnonzero(long)]
    for number in np.flatnonzero(~long):
        row = rows[number]
        if letters[row].sum() < SHORT_LETTERS:
            continue
        if certain[row].any():
            lines.append(spans[number])
            continue

        # Lines of one block are written in one size.
        same_size = np.abs(high - high[number]) <= np.maximum(1, COMMON_FOOT * high)
        block = [spans[other] for other in np.flatnonzero(long & same_size)]
        reach = high[number] * np.array(NEXT_LINE)
        near = any(_within(spans[number], line, reach) for line in block)
        if near and strong[row].any():
            lines.append(spans[number])
    return lines


def _rows_of_glyphs(
    left: Float64[np.ndarray, "n"],
    right: Float64[np.ndarray, "n"],
    foot: Float64[np.ndarray, "n"],
    tall: Float64[np.ndarray, "n"],
) -> list[Int[np.ndarray, "m"]]:
    """Groups of glyphs of like height and common foot, each within a gap of another."""
    taller = np.maximum.outer(tall, tall)
    height_difference = np.abs(np.subtract.outer(tall, tall))
    foot_difference = np.abs(np.subtract.outer(foot, foot))
    gap = np.maximum.outer(left, left) - np.minimum.outer(right, right)

    # One px is always allowed: the smallest letters have three, and cannot agree better.
    alike = height_difference <= np.maximum(1, ALIKE_HEIGHT * taller)
    level = foot_difference <= np.maximum(1, COMMON_FOOT * taller)
    close = gap <= GAP * taller
    count, member = connected_components(alike & level & close, directed=False)
    return [np.flatnonzero(member == number) for number in range(count)]


def _within(
    first: Int[np.ndarray, "4"], second: Int[np.ndarray, "4"], reach: Float64[np.ndarray, "2"]
) -> bool:
    """Whether two boxes (top, left, foot, right) are at most ``reach`` px apart, down and across."""
    starts = np.maximum(first[:2], second[:2])
    ends = np.minimum(first[2:], second[2:])
    gaps = starts - ends
    return bool(np.all(gaps <= reach))


def _markers(image: Image, dark: BoolImage) -> BoolImage:
    """Small bright marks with sharp edges in a grey frame: side letters and name plates of an X-ray; too many
    of them are cells.
    """
    white = image.min(axis=-1)
    short = min(white.shape)
    nothing = np.zeros_like(dark)
    # Odd, so that the window has a middle.
    size = max(5, short // MARKER_SIZE | 1)
    # Signed, for levels are subtracted.
    level = white.astype(np.int16)
    raised = level - ndimage.grey_opening(white, size=(size, size))
    bright = (raised > MARKER_RAISED) & (white > MARKER_LEVEL)
    touching = np.ones((3, 3))
    labels, count = ndimage.label(bright, touching)
    if count == 0 or dark.mean() > MARKED_DARK:
        return nothing

    highest = ndimage.maximum_filter(level, size=3)
    lowest = ndimage.minimum_filter(level, size=3)
    steep = highest - lowest > MARKER_STEEP
    inner = ndimage.binary_erosion(labels > 0, touching)
    rim = np.where(inner, 0, labels)
    sharp = ndimage.mean(steep, rim, np.arange(count + 1)) > MARKER_SHARP
    area = np.bincount(labels.ravel())
    right_size = (area >= MARKER_LEAST) & (area < MARKER_MOST * white.size)
    is_marker = sharp & right_size
    # Label 0 is the ground.
    is_marker[0] = False

    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        if not is_marker[number]:
            continue
        longest = max(rows.stop - rows.start, columns.stop - columns.start)
        small = longest <= short / MARKER_SIDE and _at_rim(rows, columns, white.shape)
        is_marker[number] = small and _on_plain_ground(white, labels == number)
    if not 0 < is_marker.sum() <= MARKER_COUNT:
        return nothing
    return np.asarray(ndimage.binary_dilation(is_marker[labels], np.ones((5, 5))))


def _on_plain_ground(white: UInt8[np.ndarray, "h w"], mark: BoolImage) -> bool:
    """Whether a mark is near white, and what is around it is even."""
    # A ring from 2 to 5 px around the mark: nearer by, the soft rim of the letter is no ground.
    inner = ndimage.binary_dilation(mark, np.ones((5, 5)))
    outer = ndimage.binary_dilation(mark, np.ones((11, 11)))
    ground = white[outer & ~inner]
    if not ground.size:
        return False
    near_white = white[mark].max() >= PALE_INK
    even = ground.std() <= GROUND
    return bool(near_white and even)


def _at_rim(rows: slice, columns: slice, shape: tuple[int, ...]) -> bool:
    """Whether the middle of a box lies in the outer part of the frame."""
    height, width = shape
    down = (rows.start + rows.stop) / 2 / height
    across = (columns.start + columns.stop) / 2 / width
    far = 1 - MARKER_RIM
    central = MARKER_RIM <= down <= far and MARKER_RIM <= across <= far
    return not central


def _raised(image: Image) -> Int16[np.ndarray, "h w"]:
    """By how many levels thin, bright marks stand out: text, and also small reflections.

    Measured in green: white, yellow, cyan and green letters are bright in it, and tissue and stains are not.
    """
    green = image[..., 1]
    short = min(green.shape)
    # Odd, so that the window has a middle; wider than a stroke, so that opening wipes the stroke out.
    size = max(5, short // STROKE_WIDTH | 1)
    ground = ndimage.grey_opening(green, size=(size, size))
    raised = green.astype(np.int16) - ground
    text = np.where(green > LIGHT, raised, 0)
    return text.astype(np.int16)


def _boxes(image: Image, dark: BoolImage) -> BoolImage:
    """Rectangles painted in one flat colour with a sharp edge: scope guides, banners, redaction."""
    boxes = np.zeros_like(dark)
    if dark.mean() < FRAMED:
        return boxes
    # Signed, for levels are subtracted.
    level = image.astype(np.int16)
    window = (5, 5, 1)
    highest = ndimage.maximum_filter(level, size=window)
    lowest = ndimage.minimum_filter(level, size=window)
    flat = (highest - lowest).max(axis=-1) <= PAINT_FLAT
    brightest = level.max(axis=-1)
    exposed = (brightest < PAINT_WHITE) & (brightest > DARK)
    labels, _ = ndimage.label(flat & ~dark & exposed)
    areas = np.bincount(labels.ravel())
    least_area = PAINT_AREA * dark.size
    for number, part in enumerate(ndimage.find_objects(labels), start=1):
        if areas[number] < least_area:
            continue
        inside = labels[part] == number
        colours = level[part][inside]
        if inside.mean() < PAINT_FILL or colours.std(axis=0).max() > PAINT_DEVIATION:
            continue

        rows, columns = part
        rows_around = slice(max(rows.start - PAINT_REACH, 0), rows.stop + PAINT_REACH)
        columns_around = slice(max(columns.start - PAINT_REACH, 0), columns.stop + PAINT_REACH)
        surroundings = level[rows_around, columns_around]
        ring = np.ones(surroundings.shape[:2], dtype=bool)
        ring[1:-1, 1:-1] = False
        paint = np.median(colours, axis=0)
        contrast = np.abs(surroundings[ring] - paint).max(axis=-1)
        # Most of the ring: a box may lie against another one, or at the edge of the frame.
        edged = np.mean(contrast > PAINT_EDGE) > 0.5
        if edged and _is_rectangle(inside):
            boxes[rows_around, columns_around] = True
    if not boxes.any():
        return boxes
    # Parts of one banner, cut by what is written on it, are joined across 16 px.
    return _closed(boxes, 8)


def _is_rectangle(inside: BoolImage) -> bool:
    """Whether a painted area has four straight sides: a cell on black is flat too, and round."""
    for turns in range(4):
        side = np.rot90(inside, turns)
        height = side.shape[0]
        # In an empty column, argmax finds no paint.
        first_painted = np.argmax(side, axis=0)
        depth = np.where(side.any(axis=0), first_painted, height)
        tolerance = max(1, round(0.04 * height))
        near = depth <= tolerance
        if near.mean() < PAINT_STRAIGHT:
            return False
    return True


def _glare(image: Image) -> BoolImage:
    """Blown-out, nearly colourless pixels well above the frame's usual brightness."""
    brightness = image.mean(axis=-1)
    usual = float(np.median(brightness))
    least = max(usual + GLARE_OVER, GLARE_LEAST)
    bright = brightness > least
    colourless = image.min(axis=-1) > GLARE_WHITE
    return np.asarray(bright & colourless)


def _closed(mask: BoolImage, radius: int) -> BoolImage:
    # Padded, so that closing does not eat away what touches the edge.
    padded = np.pad(mask, radius)
    closed = ndimage.binary_closing(padded, disk(radius))
    inner = slice(radius, -radius)
    return np.asarray(closed[inner, inner])


def _enlarged(mask: BoolImage, height: int, width: int) -> BoolImage:
    if mask.shape == (height, width):
        return mask
    picture = PillowImage.fromarray(mask.astype(np.uint8))
    enlarged = picture.resize((width, height), PillowImage.Resampling.NEAREST)
    return np.asarray(enlarged) > 0
