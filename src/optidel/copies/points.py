"""Points of a picture that are found again after it was turned, mirrored, cropped or recompressed, and how
many of them agree between two pictures.

Blobs of several sizes are found as extrema of differences of Gaussians; each is described by the directions
of the gradients around it, relative to its own direction and size, cut to one bit a number. Two pictures
are copies where many points of one lie where a single turn, scale and shift puts those of the other.
Nothing is trained or downloaded.

Source: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004; consistent turns and
scales: Jégou, Douze & Schmid, "Hamming embedding and weak geometric consistency", ECCV 2008.

Axes: p points of a picture, c cells, b bins of direction, s levels of scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from PIL import Image as PillowImage
from scipy import ndimage

from optidel.arrays import Image
from optidel.copies.hashes import ranges

# Points kept of a picture, the strongest: 1.5 kB. Histology has more, most other pictures fewer.
COUNT = 64

# Longest side of the picture in which points are looked for, px: most medical thumbnails have no more detail.
SIDE = 128

# Widths of the Gaussians, px: from Lowe's 1.6, 2.5 steps an octave, up to a fifteenth of the side.
SIGMAS = 1.6 * 2 ** (np.arange(7) / 2.5)

# Levels of 255 that a blob stands out at least: under it lies the noise of JPEG.
CONTRAST = 0.8

# Ratio of the principal curvatures above which a blob is part of an edge and slides along it (Lowe 2004).
EDGE = 10.0

# px from the rim within which a blob's neighbourhood is cut off.
MARGIN = 4

# Cells along a side and directions in each, as in Lowe's descriptor: 128 numbers, one bit each.
CELLS, BINS = 4, 8

# Half the side of the described square, in widths of the blob's Gaussian.
REACH = 6.0

# Bins of the histogram that gives a point its own direction (Lowe 2004).
TURNS = 36

# Samples along a side of the described square: four a cell.
SAMPLES = 16

# Bytes of one description: a bit for each direction of each cell.
BYTES = CELLS * CELLS * BINS // 8

# Bits of 128 from which on two descriptions are of different things: unrelated ones differ in 64 ± 6.
DIFFERENT_BITS = 32

# px by which a point may miss the place that a single match predicts: its direction is coarse.
OFFSET = 8.0

# px by which it may miss the place that all agreeing matches predict together, tightened in steps.
REFINED = (8.0, 5.0, 4.0)

# Largest difference of two matches' logarithm of scale, and least cosine of their turns, to be of one move:
# a factor of 1.8 and 32°, for a point's own size and direction are coarse.
SCALES, DIRECTIONS = 0.6, 0.85

# Matches from which a move (turn, scale, shift) can be told from chance at all.
FEWEST = 3

# Hash tables: a true match shares the key of one of them in two cases of five, and a copy has many.
TABLES = 4

# Points that share a key on average; the keys are as long as that takes.
CROWD = 16

# Pictures with the most consistent votes that are compared point by point.
CANDIDATES = 5

# Consistent votes without which a picture is no candidate.
VOTES = 3

# Turns that votes are counted by, 45° each: coarse, as a point's direction is (Lowe's steps are 30°).
TURN_STEPS = 8

# Scales that votes are counted by, a factor of 2 apart, as in Lowe 2004.
SCALE_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The points of n pictures.

    Args:
        geometry: float16 (n, 64, 4): x and y from the picture's centre, px of its reduced copy; the size of
            the blob, px; its direction, radians. A size of 0 fills up where a picture has fewer.
        bits: u8 (n, 64, 16), what is around each.
    """

    geometry: np.ndarray
    bits: UInt8[np.ndarray, "n p 16"]

    def __getitem__(self, rows: Int64[np.ndarray, "m"] | slice) -> "Points":
        """The points of some of the pictures."""
        geometry = self.geometry[rows]
        bits = self.bits[rows]
        return Points(geometry=geometry, bits=bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constellation:
    """The points of one picture: ``where`` complex (p,), x + iy; ``size`` and ``turn`` (p,); ``bits`` u8
    (p, 16).
    """

    where: np.ndarray
    size: Float64[np.ndarray, "p"]
    turn: Float64[np.ndarray, "p"]
    bits: UInt8[np.ndarray, "p 16"]

    def mirrored(self) -> "Constellation":
        """The points of the mirrored picture: x changes its sign, and so does every angle to the y axis."""
        all_bits = np.unpackbits(self.bits, axis=1)
        cells = all_bits.reshape(-1, CELLS, CELLS, BINS)
        # The rows of cells change places, and so do the directions in each cell.
        directions = -np.arange(BINS) % BINS
        flipped = cells[:, ::-1, :, directions]
        flat = flipped.reshape(-1, 8 * BYTES)
        bits = np.packbits(flat, axis=1)

        where = -self.where.conj()
        turn = np.pi - self.turn
        return Constellation(where=where, size=self.size, turn=turn, bits=bits)


def constellation(points: Points, row: int) -> Constellation:
    """The points of one picture of many."""
    geometry = np.asarray(points.geometry[row], dtype=np.float64)
    # A size of 0 only fills up.
    real = geometry[:, 2] > 0
    x, y, size, turn = geometry[real].T
    where = x + 1j * y
    bits = np.asarray(points.bits[row])
    return Constellation(where=where, size=size, turn=turn, bits=bits[real])


def find_points(image: Image) -> tuple[np.ndarray, UInt8[np.ndarray, "64 16"]]:
    """The strongest blobs of a picture.

    Args:
        image: u8 (h, w, 3).

    Returns:
        One row of ``geometry`` float16 (64, 4) and of ``bits`` u8 (64, 16) of :class:`Points`.
    """
    grey = _grey(image)
    layers = [ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=3) for sigma in SIGMAS]
    blurred = np.stack(layers)
    difference = np.diff(blurred, axis=0)
    level, y, x = _blobs(difference)
    down, right = np.gradient(blurred, axis=(1, 2))
    gradients = (right + 1j * down).astype(np.complex64)
    turn = _directions(gradients, level, y, x)
    bits = _describe(gradients, level, y, x, turn)

    # Positions are measured from the centre, so that a turn of the picture turns them about zero.
    height, width = grey.shape
    from_centre_x = x - (width - 1) / 2
    from_centre_y = y - (height - 1) / 2
    size = SIGMAS[level]
    count = len(x)
    geometry = np.zeros((COUNT, 4), dtype=np.float16)
    geometry[:count] = np.stack([from_centre_x, from_centre_y, size, turn], axis=1)
    filled = np.zeros((COUNT, BYTES), dtype=np.uint8)
    filled[:count] = bits
    return geometry, filled


def agreeing(first: Constellation, second: Constellation) -> int:
    """How many points of two pictures one turn, scale and shift brings together; mirror images are not tried.

    Each point is matched with its most similar counterpart; every match proposes a move, the move that most
    matches share is fitted to all of them, and the matches that it explains are counted.
    """
    if not len(first.where) or not len(second.where):
        return 0
    distance = _differing_bits(first, second)
    nearest = distance.min(axis=1)
    alike = np.flatnonzero(nearest < DIFFERENT_BITS)
    if len(alike) < FEWEST:
        return 0
    nearest_points = distance.argmin(axis=1)
    counterpart = nearest_points[alike]

    source = first.where[alike]
    target = second.where[counterpart]
    scale = second.size[counterpart] / first.size[alike]
    turn = second.turn[counterpart] - first.turn[alike]
    shared = _shared_moves(source, target, scale, turn)
    supporters = shared.sum(axis=1)
    best = supporters.argmax()
    fitting = shared[best]

    for offset in REFINED:
        count = fitting.sum()
        if count < FEWEST:
            return 0
        # Turn and scale are one complex factor, the shift is one complex summand.
        ones = np.ones(count)
        design = np.stack([source[fitting], ones], axis=1)
        solution = np.linalg.lstsq(design, target[fitting], rcond=None)
        factor, shift = solution[0]
        miss = factor * source + shift - target
        fitting = np.abs(miss) < offset

    # Several points at one position, or matched with one, are one agreement.
    sources = np.unique(source[fitting])
    targets = np.unique(target[fitting])
    return min(len(sources), len(targets))


def _differing_bits(first: Constellation, second: Constellation) -> Int64[np.ndarray, "p q"]:
    """In how many bits of 128 each point of one picture differs from each of another."""
    # Two numbers of 64 bits a point, for the processor counts the ones of 64 bits at once.
    first_halves = first.bits.view(np.uint64)
    second_halves = second.bits.view(np.uint64)
    differing = first_halves[:, None] ^ second_halves[None]
    counts = np.bitwise_count(differing)
    return np.asarray(counts.sum(axis=2, dtype=np.int64))


def _shared_moves(
    source: np.ndarray,
    target: np.ndarray,
    scale: Float64[np.ndarray, "m"],
    turn: Float64[np.ndarray, "m"],
) -> Bool[np.ndarray, "m m"]:
    """Which matches (columns) the move of each match (rows) explains, within its tolerances.

    Args:
        source: complex (m,), where the matched points lie in the first picture.
        target: complex (m,), where their counterparts lie in the second.
        scale: float64 (m,), how much larger each counterpart is.
        turn: float64 (m,), radians between each point and its counterpart.
    """
    move = scale * np.exp(1j * turn)
    from_source = source[None, :] - source[:, None]
    predicted = move[:, None] * from_source + target[:, None]
    miss = np.abs(predicted - target[None, :])
    scale_ratio = np.log(scale[None, :] / scale[:, None])
    turned = np.cos(turn[None, :] - turn[:, None])

    same_position = miss < OFFSET
    same_scale = np.abs(scale_ratio) < SCALES
    same_turn = turned > DIRECTIONS
    return np.asarray(same_position & same_scale & same_turn)


class PointIndex:
    """Finds, among many pictures, those that share points with a given one."""

    def __init__(self, points: Points, rng: np.random.Generator) -> None:
        """Sort all points of all pictures into hash tables, by bits that ``rng`` draws."""
        geometry = np.asarray(points.geometry)
        real = geometry[..., 2] > 0
        bits = np.asarray(points.bits)[real]
        blobs = geometry[real].astype(np.float32)
        self._points = points
        self._picture, self._number = np.nonzero(real)
        self._size = blobs[:, 2]
        self._turn = blobs[:, 3]

        # Longer keys for more points: 16 of them would share a key if keys were drawn at random. Up to 4,096
        # points 8 bits do, and 32 are enough for any corpus.
        crowds = max(len(bits), 1) / CROWD
        length = int(np.clip(np.log2(crowds), 8, 32))
        self._positions = []
        for _ in range(TABLES):
            drawing = rng.permutation(8 * BYTES)
            positions = np.sort(drawing[:length])
            self._positions.append(positions)

        self._tables = []
        for positions in self._positions:
            keys = _keys(bits, positions)
            order = np.argsort(keys, kind="stable")
            self._tables.append((keys[order], order))

    def matches(
        self, query: Constellation, allowed: Bool[np.ndarray, "n"] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Pictures that share a move with ``query``, mirrored or not: the row and how many points agree.

        Args:
            query: the points of one picture.
            allowed: bool (n,), the rows that may be candidates; all where not given.
        """
        best: dict[int, int] = {}
        for view in (query, query.mirrored()):
            for row in self._candidates(view, allowed):
                count = agreeing(view, constellation(self._points, row))
                best[row] = max(best.get(row, 0), count)
        yield from sorted(best.items())

    def _candidates(self, query: Constellation, allowed: Bool[np.ndarray, "n"] | None) -> list[int]:
        """The rows with the most votes for one turn and scale."""
        if not len(query.where):
            return []
        blobs, query_points = self._same_keys(query)
        if allowed is not None:
            pictures = self._picture[blobs]
            keep = allowed[pictures]
            blobs = blobs[keep]
            query_points = query_points[keep]
        if not len(blobs):
            return []

        ballot = self._ballot(query, blobs, query_points)
        # Equal numbers fall together, so that a point votes once for a move.
        voices = np.unique(ballot * COUNT + query_points)
        moves, votes = np.unique(voices // COUNT, return_counts=True)
        enough = votes >= VOTES
        rows = moves[enough] // (TURN_STEPS * SCALE_STEPS)
        votes = votes[enough]
        order = np.lexsort((rows, -votes))
        ranked = rows[order].tolist()
        distinct = dict.fromkeys(ranked)
        return list(distinct)[:CANDIDATES]

    def _same_keys(self, query: Constellation) -> tuple[Int64[np.ndarray, "v"], Int64[np.ndarray, "v"]]:
        """The blobs that share the key of a table with a point of ``query``, and the number of that point."""
        blobs, query_points = [], []
        for positions, (keys, order) in zip(self._positions, self._tables, strict=True):
            query_keys = _keys(query.bits, positions)
            low = np.searchsorted(keys, query_keys)
            high = np.searchsorted(keys, query_keys, side="right")
            size = high - low
            blobs.append(order[ranges(low, size)])
            numbers = np.arange(len(query_keys))
            query_points.append(np.repeat(numbers, size))
        return np.concatenate(blobs), np.concatenate(query_points)

    def _ballot(
        self, query: Constellation, blobs: Int64[np.ndarray, "v"], query_points: Int64[np.ndarray, "v"]
    ) -> Int64[np.ndarray, "2 v"]:
        """The picture, turn and scale that each match votes for, as one number, for two turns each."""
        turn = (self._turn[blobs] - query.turn[query_points]) / (2 * np.pi)
        scale = np.log2(self._size[blobs] / query.size[query_points])
        # A match also votes for the neighbouring turn, which it may belong to as well.
        steps = np.stack([turn * TURN_STEPS, turn * TURN_STEPS + 1])
        turns = np.floor(steps).astype(np.int64) % TURN_STEPS
        # Scales a factor of 2 apart, from a quarter to four times: the outermost take what lies beyond.
        middle = SCALE_STEPS // 2
        scales = np.clip(np.rint(scale), -middle, middle).astype(np.int64) + middle
        pictures = self._picture[blobs]
        moves = (pictures * TURN_STEPS + turns) * SCALE_STEPS + scales
        return np.asarray(moves, dtype=np.int64)


def _grey(image: Image) -> Float32[np.ndarray, "h w"]:
    height, width = image.shape[:2]
    ratio = SIDE / max(height, width)
    # A narrow picture keeps at least one pixel between its two margins.
    least = 2 * MARGIN + 1
    new_width = max(least, round(width * ratio))
    new_height = max(least, round(height * ratio))
    # A box averages what is shrunk; what is enlarged needs values in between.
    method = PillowImage.Resampling.BOX if ratio < 1 else PillowImage.Resampling.BILINEAR
    grey = PillowImage.fromarray(image).convert("L")
    resized = grey.resize((new_width, new_height), method)
    return np.asarray(resized, dtype=np.float32)


def _blobs(
    difference: Float32[np.ndarray, "s h w"],
) -> tuple[Int64[np.ndarray, "p"], Int64[np.ndarray, "p"], Int64[np.ndarray, "p"]]:
    """Level, row and column of the strongest extrema that are no edges."""
    strength = np.abs(difference)
    # The greatest among its own level, the next on either side, and 5 × 5 pixels.
    greatest = ndimage.maximum_filter(strength, size=(3, 5, 5))
    peak = strength == greatest
    peak &= strength > CONTRAST
    inside = np.zeros_like(peak)
    inside[1:-1, MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    level, y, x = np.nonzero(peak & inside)

    compact = _compact(difference, level, y, x)
    level, y, x = level[compact], y[compact], x[compact]
    heights = strength[level, y, x]
    order = np.argsort(-heights, kind="stable")
    strongest = order[:COUNT]
    return level[strongest], y[strongest], x[strongest]


def _compact(
    difference: Float32[np.ndarray, "s h w"],
    level: Int64[np.ndarray, "p"],
    y: Int64[np.ndarray, "p"],
    x: Int64[np.ndarray, "p"],
) -> Bool[np.ndarray, "p"]:
    """Which extrema bend alike in all directions: an edge bends in one alone (Lowe 2004, section 4.1)."""
    # Second derivatives by differences of neighbouring pixels: the Hessian of each extremum.
    centre = difference[level, y, x]
    right, left = difference[level, y, x + 1], difference[level, y, x - 1]
    below, above = difference[level, y + 1, x], difference[level, y - 1, x]
    across = right + left - 2 * centre
    down = below + above - 2 * centre
    rising = difference[level, y + 1, x + 1] + difference[level, y - 1, x - 1]
    falling = difference[level, y + 1, x - 1] + difference[level, y - 1, x + 1]
    mixed = (rising - falling) / 4

    trace = across + down
    determinant = across * down - mixed**2
    # A negative determinant is a saddle. Else trace² / determinant grows with the ratio of the curvatures.
    extremum = determinant > 0
    even = trace**2 * EDGE < (EDGE + 1) ** 2 * determinant
    return np.asarray(extremum & even)


def _steps() -> Float64[np.ndarray, "16"]:
    """The middles of the samples along a side of the square, which reaches from −1 to 1."""
    middles = np.arange(SAMPLES) + 0.5
    return np.asarray(middles / SAMPLES * 2 - 1)


def _square(
    gradients: np.ndarray,
    level: Int64[np.ndarray, "p"],
    y: Int64[np.ndarray, "p"],
    x: Int64[np.ndarray, "p"],
    turn: Float64[np.ndarray, "p"],
    reach: float,
) -> np.ndarray:
    """Gradients complex (p, 16, 16) in a square around each point, turned by its direction."""
    steps = _steps()
    grid = steps[None, :] + 1j * steps[:, None]
    unit = reach * SIGMAS[level] * np.exp(1j * turn)
    offset = unit[:, None, None] * grid

    # The nearest pixel; a square that reaches over the rim repeats the pixels there.
    _, height, width = gradients.shape
    nearest_row = np.rint(y[:, None, None] + offset.imag).astype(np.int64)
    nearest_column = np.rint(x[:, None, None] + offset.real).astype(np.int64)
    row = nearest_row.clip(0, height - 1)
    column = nearest_column.clip(0, width - 1)
    levels = level[:, None, None]
    return np.asarray(gradients[levels, row, column])


def _window(sharpness: float) -> Float64[np.ndarray, "16 16"]:
    """Weights that fall off from the middle of the square."""
    squares = _steps() ** 2
    radius = squares[:, None] + squares[None, :]
    weights = np.exp(-sharpness * radius)
    return np.asarray(weights)


def _directions(
    gradients: np.ndarray,
    level: Int64[np.ndarray, "p"],
    y: Int64[np.ndarray, "p"],
    x: Int64[np.ndarray, "p"],
) -> Float64[np.ndarray, "p"]:
    """The direction, radians, in which most gradients around a point go, between bins by a parabola."""
    count = len(level)
    upright = np.zeros(count)
    # Half the reach of the description: the direction is the blob's own, not that of what lies around it.
    square = _square(gradients, level, y, x, upright, REACH / 2)
    turns = np.angle(square) / (2 * np.pi)
    bin_of = np.floor(turns * TURNS).astype(np.int64) % TURNS
    numbers = np.arange(count)
    slot = numbers[:, None, None] * TURNS + bin_of
    weight = np.abs(square) * _window(2.0)
    sums = np.bincount(slot.ravel(), weight.ravel(), count * TURNS)
    histogram = sums.reshape(count, TURNS)
    # Smoothed twice over three bins, so that noise in one bin does not decide.
    for _ in range(2):
        histogram = ndimage.uniform_filter1d(histogram, 3, axis=1, mode="wrap")

    top = histogram.argmax(axis=1)
    peak = histogram[numbers, top]
    before = histogram[numbers, (top - 1) % TURNS]
    after = histogram[numbers, (top + 1) % TURNS]
    bend = before - 2 * peak + after
    # Without a gradient all bins are 0 and no parabola bends.
    divisor = np.where(bend == 0, 1, bend)
    offset = 0.5 * (before - after) / divisor
    position = top + 0.5 + offset
    return np.asarray(position * 2 * np.pi / TURNS)


def _describe(
    gradients: np.ndarray,
    level: Int64[np.ndarray, "p"],
    y: Int64[np.ndarray, "p"],
    x: Int64[np.ndarray, "p"],
    turn: Float64[np.ndarray, "p"],
) -> UInt8[np.ndarray, "p 16"]:
    """Histograms of directions in 4 × 4 cells, each number as one bit: above the median of its point or
    not."""
    count = len(level)
    numbers = CELLS * CELLS * BINS
    square = _square(gradients, level, y, x, turn, REACH)
    angle = np.angle(square) - turn[:, None, None]
    direction = angle / (2 * np.pi) * BINS % BINS
    low = np.floor(direction).astype(np.int64)
    part = direction - low
    weight = np.abs(square) * _window(1.0)

    # Each sample counts in its cell, shared between the two bins nearest to its direction.
    cell = np.arange(SAMPLES) // (SAMPLES // CELLS)
    cell_number = cell[:, None] * CELLS + cell[None, :]
    points = np.arange(count)
    base = points[:, None, None] * numbers + cell_number * BINS
    lower_slot = base + low % BINS
    upper_slot = base + (low + 1) % BINS
    lower_weight = weight * (1 - part)
    upper_weight = weight * part
    lower = np.bincount(lower_slot.ravel(), lower_weight.ravel(), count * numbers)
    upper = np.bincount(upper_slot.ravel(), upper_weight.ravel(), count * numbers)
    histogram = (lower + upper).reshape(count, numbers)

    # The median makes half the bits ones, whatever the contrast, so that unrelated points differ in half.
    median = np.median(histogram, axis=1, keepdims=True)
    return np.packbits(histogram > median, axis=1)


def _keys(bits: UInt8[np.ndarray, "m 16"], positions: Int64[np.ndarray, "l"]) -> Int64[np.ndarray, "m"]:
    """The bits at these positions of each description as one number."""
    all_bits = np.unpackbits(bits, axis=1)
    picked = all_bits[:, positions].astype(np.int64)
    exponents = np.arange(len(positions), dtype=np.int64)
    keys = picked @ (1 << exponents)
    return np.asarray(keys)
