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

# Points kept of a picture, the strongest: 1.5 kB. Histology has more, most other pictures fewer.
COUNT = 64

# Longest side of the picture in which points are looked for, px: most medical thumbnails have no
# more detail.
SIDE = 128

# Widths of the Gaussians, px: from Lowe's 1.6, 2.5 steps an octave, up to a twelfth of the side.
SIGMAS = 1.6 * 2 ** (np.arange(7) / 2.5)

# Levels of 255 that a blob stands out at least: under it lies the noise of JPEG.
CONTRAST = 0.8

# Ratio of the principal curvatures above which a blob is part of an edge and slides along it
# (Lowe 2004).
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

BYTES = CELLS * CELLS * BINS // 8

# Bits of 128 from which on two descriptions are of different things: unrelated ones differ in 64
# ± 6.
DIFFERENT_BITS = 32

# px by which a point may miss the place that a single match predicts: its direction is coarse.
OFFSET = 8.0

# px by which it may miss the place that all agreeing matches predict together, tightened step by
# step.
REFINED = (8.0, 5.0, 4.0)

# Largest difference of two matches' logarithm of scale, and least cosine of their turns, to be of
# one move.
SCALES, DIRECTIONS = 0.6, 0.85

# Matches from which a move (turn, scale, shift) can be told from chance at all.
FEWEST = 3

# Hash tables: a true match shares the key of one of them in two cases of five, and a copy has
# many.
TABLES = 4

# Points that share a key on average; the keys are as long as that takes.
CROWD = 16

# Pictures with the most consistent votes that are compared point by point.
CANDIDATES = 5

# Consistent votes without which a picture is no candidate.
VOTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The points of n pictures.

    Args:
        geometry: float16 (n, 64, 4): x and y from the picture's centre, px of its reduced copy; the size of the
            blob, px; its direction, radians. A size of 0 fills up where a picture has fewer.
        bits: u8 (n, 64, 16), what is around each.
    """

    geometry: np.ndarray
    bits: UInt8[np.ndarray, "n p 16"]

    def __getitem__(self, rows: Int64[np.ndarray, "m"] | slice) -> "Points":
        """The points of some of the pictures."""
        return Points(geometry=self.geometry[rows], bits=self.bits[rows])


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
        cells = np.unpackbits(self.bits, axis=1).reshape(-1, CELLS, CELLS, BINS)
        flipped = cells[:, ::-1, :, -np.arange(BINS) % BINS].reshape(-1, 8 * BYTES)
        return Constellation(
            where=-self.where.conj(),
            size=self.size,
            turn=np.pi - self.turn,
            bits=np.packbits(flipped, axis=1),
        )


def constellation(points: Points, row: int) -> Constellation:
    """The points of one picture of many."""
    geometry = np.asarray(points.geometry[row], dtype=np.float64)
    real = geometry[:, 2] > 0
    x, y, size, turn = geometry[real].T
    return Constellation(where=x + 1j * y, size=size, turn=turn, bits=np.asarray(points.bits[row])[real])


def find_points(image: Image) -> tuple[np.ndarray, UInt8[np.ndarray, "64 16"]]:
    """The strongest blobs of a picture.

    Args:
        image: u8 (h, w, 3).

    Returns:
        One row of ``geometry`` float16 (64, 4) and of ``bits`` u8 (64, 16) of :class:`Points`.
    """
    grey = _grey(image)
    blurred = np.stack([ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=3) for sigma in SIGMAS])
    level, y, x = _blobs(np.diff(blurred, axis=0))
    down, right = np.gradient(blurred, axis=(1, 2))
    gradients = (right + 1j * down).astype(np.complex64)

    turn = _directions(gradients, level, y, x)
    bits = _describe(gradients, level, y, x, turn)
    height, width = grey.shape
    geometry = np.zeros((COUNT, 4), dtype=np.float16)
    geometry[: len(x)] = np.stack([x - (width - 1) / 2, y - (height - 1) / 2, SIGMAS[level], turn], axis=1)
    filled = np.zeros((COUNT, BYTES), dtype=np.uint8)
    filled[: len(x)] = bits
    return geometry, filled


def agreeing(first: Constellation, second: Constellation) -> int:
    """How many points of two pictures one turn, scale and shift brings together; mirror images are not tried.

    Each point is matched with its most similar counterpart; every match proposes a move, the move that most
    matches share is fitted to all of them, and the matches that it explains are counted.
    """
    if not len(first.where) or not len(second.where):
        return 0
    differing = np.bitwise_count(first.bits.view(np.uint64)[:, None] ^ second.bits.view(np.uint64)[None])
    distance = differing.sum(axis=2, dtype=np.int64)
    counterpart = distance.argmin(axis=1)
    asking_points = np.flatnonzero(distance.min(axis=1) < DIFFERENT_BITS)
    if len(asking_points) < FEWEST:
        return 0
    theirs = counterpart[asking_points]
    here, there = first.where[asking_points], second.where[theirs]

    scale = second.size[theirs] / first.size[asking_points]
    turn = second.turn[theirs] - first.turn[asking_points]
    move = scale * np.exp(1j * turn)
    predicted = move[:, None] * (here[None, :] - here[:, None]) + there[:, None]
    shared = (
        (np.abs(predicted - there[None, :]) < OFFSET)
        & (np.abs(np.log(scale[None, :] / scale[:, None])) < SCALES)
        & (np.cos(turn[None, :] - turn[:, None]) > DIRECTIONS)
    )
    fitting = shared[shared.sum(axis=1).argmax()]
    for offset in REFINED:
        if fitting.sum() < FEWEST:
            return 0
        design = np.stack([here[fitting], np.ones(fitting.sum())], axis=1)
        factor, shift = np.linalg.lstsq(design, there[fitting], rcond=None)[0]
        fitting = np.abs(factor * here + shift - there) < offset
    return min(len(np.unique(here[fitting])), len(np.unique(there[fitting])))


class PointIndex:
    """Finds, among many pictures, those that share points with a given one."""

    def __init__(self, points: Points, rng: np.random.Generator) -> None:
        """Sort all points of all pictures into hash tables, by bits that ``rng`` draws."""
        real = np.asarray(points.geometry[..., 2]) > 0
        self._points = points
        self._picture, self._number = np.nonzero(real)
        bits = np.asarray(points.bits)[real]
        length = int(np.clip(np.log2(max(len(bits), 1) / CROWD), 8, 32))
        self._positions = [np.sort(rng.permutation(8 * BYTES)[:length]) for _ in range(TABLES)]
        self._tables = []
        for positions in self._positions:
            keys = _keys(bits, positions)
            order = np.argsort(keys, kind="stable")
            self._tables.append((keys[order], order))
        geometry = np.asarray(points.geometry)[real].astype(np.float32)
        self._size, self._turn = geometry[:, 2], geometry[:, 3]

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
        asking, hit = [], []
        for positions, (keys, order) in zip(self._positions, self._tables, strict=True):
            query_keys = _keys(query.bits, positions)
            low, high = np.searchsorted(keys, query_keys), np.searchsorted(keys, query_keys, side="right")
            size = high - low
            offset = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
            hit.append(order[np.repeat(low, size) + offset])
            asking.append(np.repeat(np.arange(len(query_keys)), size))
        number, asking_points = np.concatenate(hit), np.concatenate(asking)
        if allowed is not None:
            keep = allowed[self._picture[number]]
            number, asking_points = number[keep], asking_points[keep]
        if not len(number):
            return []

        turn = (self._turn[number] - query.turn[asking_points]) / (2 * np.pi)
        scale = np.log2(self._size[number] / query.size[asking_points])
        # Eight turns and scales a factor of 2 apart; a match also votes for the neighbouring turn, which it
        # may belong to as well.
        turns = np.floor(np.stack([turn * 8, turn * 8 + 1])).astype(np.int64) % 8
        scales = np.clip(np.rint(scale), -2, 2).astype(np.int64) + 2
        ballot = (self._picture[number] * 8 + turns) * 5 + scales
        each = np.unique(ballot.astype(np.int64) * COUNT + asking_points)  # a point votes once for a move
        moves, votes = np.unique(each // COUNT, return_counts=True)
        enough = votes >= VOTES
        rows, votes = moves[enough] // 40, votes[enough]
        order = np.lexsort((rows, -votes))
        return list(dict.fromkeys(rows[order].tolist()))[:CANDIDATES]


def _grey(image: Image) -> Float32[np.ndarray, "h w"]:
    height, width = image.shape[:2]
    ratio = SIDE / max(height, width)
    size = (max(2 * MARGIN + 1, round(width * ratio)), max(2 * MARGIN + 1, round(height * ratio)))
    method = PillowImage.Resampling.BOX if ratio < 1 else PillowImage.Resampling.BILINEAR
    return np.asarray(PillowImage.fromarray(image).convert("L").resize(size, method), dtype=np.float32)


def _blobs(
    difference: Float32[np.ndarray, "s h w"],
) -> tuple[Int64[np.ndarray, "p"], Int64[np.ndarray, "p"], Int64[np.ndarray, "p"]]:
    """Level, row and column of the strongest extrema that are no edges."""
    strength = np.abs(difference)
    peak = strength == ndimage.maximum_filter(strength, size=(3, 5, 5))
    peak &= strength > CONTRAST
    inside = np.zeros_like(peak)
    inside[1:-1, MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    level, y, x = np.nonzero(peak & inside)

    centre = difference[level, y, x]
    across = difference[level, y, x + 1] + difference[level, y, x - 1] - 2 * centre
    down = difference[level, y + 1, x] + difference[level, y - 1, x] - 2 * centre
    rising = difference[level, y + 1, x + 1] + difference[level, y - 1, x - 1]
    falling = difference[level, y + 1, x - 1] + difference[level, y - 1, x + 1]
    mixed = (rising - falling) / 4
    trace, determinant = across + down, across * down - mixed**2
    round_blob = (determinant > 0) & (trace**2 * EDGE < (EDGE + 1) ** 2 * determinant)

    level, y, x = level[round_blob], y[round_blob], x[round_blob]
    strongest = np.argsort(-strength[level, y, x], kind="stable")[:COUNT]
    return level[strongest], y[strongest], x[strongest]


def _square(
    gradients: np.ndarray,
    level: Int64[np.ndarray, "p"],
    y: Int64[np.ndarray, "p"],
    x: Int64[np.ndarray, "p"],
    turn: Float64[np.ndarray, "p"],
    reach: float,
) -> np.ndarray:
    """Gradients complex (p, 16, 16) in a square around each point, turned by its direction."""
    step = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1
    grid = step[None, :] + 1j * step[:, None]
    offset = (reach * SIGMAS[level] * np.exp(1j * turn))[:, None, None] * grid
    row = np.rint(y[:, None, None] + offset.imag).astype(np.int64).clip(0, gradients.shape[1] - 1)
    column = np.rint(x[:, None, None] + offset.real).astype(np.int64).clip(0, gradients.shape[2] - 1)
    return np.asarray(gradients[level[:, None, None], row, column])


def _window(sharpness: float) -> Float64[np.ndarray, "16 16"]:
    """Weights that fall off from the middle of the square."""
    step = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1
    return np.asarray(np.exp(-sharpness * (step[:, None] ** 2 + step[None, :] ** 2)))


def _directions(
    gradients: np.ndarray,
    level: Int64[np.ndarray, "p"],
    y: Int64[np.ndarray, "p"],
    x: Int64[np.ndarray, "p"],
) -> Float64[np.ndarray, "p"]:
    """The direction, radians, in which most gradients around a point go, between bins by a parabola."""
    count = len(level)
    square = _square(gradients, level, y, x, np.zeros(count), REACH / 2)
    bin_of = np.floor(np.angle(square) / (2 * np.pi) * TURNS).astype(np.int64) % TURNS
    slot = np.arange(count)[:, None, None] * TURNS + bin_of
    weight = np.abs(square) * _window(2.0)
    histogram = np.bincount(slot.ravel(), weight.ravel(), count * TURNS).reshape(count, TURNS)
    for _ in range(2):
        histogram = ndimage.uniform_filter1d(histogram, 3, axis=1, mode="wrap")

    top = histogram.argmax(axis=1)
    each = np.arange(count)
    before, peak, after = (histogram[each, (top + shift) % TURNS] for shift in (-1, 0, 1))
    bend = before - 2 * peak + after
    offset = 0.5 * (before - after) / np.where(bend == 0, 1, bend)
    return np.asarray((top + 0.5 + offset) * 2 * np.pi / TURNS)


def _describe(
    gradients: np.ndarray,
    level: Int64[np.ndarray, "p"],
    y: Int64[np.ndarray, "p"],
    x: Int64[np.ndarray, "p"],
    turn: Float64[np.ndarray, "p"],
) -> UInt8[np.ndarray, "p 16"]:
    """Histograms of directions in 4 × 4 cells, each number as one bit: above the median of its point or
    not."""
    count, numbers = len(level), CELLS * CELLS * BINS
    square = _square(gradients, level, y, x, turn, REACH)
    angle = (np.angle(square) - turn[:, None, None]) / (2 * np.pi) * BINS % BINS
    low = np.floor(angle).astype(np.int64)
    part = angle - low
    cell = np.arange(SAMPLES) // (SAMPLES // CELLS)
    base = np.arange(count)[:, None, None] * numbers + (cell[:, None] * CELLS + cell[None, :]) * BINS
    weight = np.abs(square) * _window(1.0)
    lower = np.bincount((base + low % BINS).ravel(), (weight * (1 - part)).ravel(), count * numbers)
    upper = np.bincount((base + (low + 1) % BINS).ravel(), (weight * part).ravel(), count * numbers)
    histogram = (lower + upper).reshape(count, numbers)
    return np.packbits(histogram > np.median(histogram, axis=1, keepdims=True), axis=1)


def _keys(bits: UInt8[np.ndarray, "m 16"], positions: Int64[np.ndarray, "l"]) -> Int64[np.ndarray, "m"]:
    """The bits at these positions of each description as one number."""
    picked = np.unpackbits(bits, axis=1)[:, positions].astype(np.int64)
    return np.asarray(picked @ (1 << np.arange(len(positions), dtype=np.int64)))
