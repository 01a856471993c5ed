"""Near-copies inside one corpus: of frames that show the same, the first stands for the others."""

import numpy as np
from jaxtyping import Int64

from optidel.copies.concepts import find_concepts, point_matches
from optidel.copies.hashes import first_equal, neighbours
from optidel.copies.leaks import RATE
from optidel.copies.points import PointIndex, agreeing, constellation
from optidel.copies.prints import Prints
from optidel.progress import track

# Cosine similarity of descriptors from which they need no second witness. Below it lie neighbours in a video
# and tiles turned by some degrees, but also skin lesions of different patients, up to 0.86, in a concept of
# mostly other pictures.
ALONE = 0.9

# Bits of 256 by which the hashes of neighbours in a video differ at most; unrelated pictures, of 128 ± 8, by
# more than a hundred.
WITNESS_BITS = 80

# Agreeing points that are a second witness: all of 1,305 pairs of turned tiles had 10, no pair of skin 2.
WITNESS_POINTS = 6

Rows = Int64[np.ndarray, "n"]


def near_copies(prints: Prints, radius: int) -> tuple[Rows, Rows]:
    """For each frame the earliest frame with the same pixels, and the earliest frame that it nearly copies;
    its own row where there is none.

    Frames are near-copies where their perceptual hashes differ by at most ``radius`` bits, or where they are
    changed copies of each other (turned, mirrored, cropped, neighbours in a video) by descriptor or points;
    with a radius of 0 only equal hashes count. Both frames are compared directly: a frame that has changed
    slowly over a video is a near-copy of some frame before it, and perhaps not of the first. A frame that
    copies later frames alone is a near-copy of the first frame to which they lead. Frames that show nothing
    are all alike, and are copies of none.

    Args:
        prints: of the corpus.
        radius: bits of 256.

    Returns:
        Two int64 (n,), ``exact`` and ``near``.
    """
    exact = first_equal(prints.pixels)
    near = np.arange(len(exact))
    first_of_equals = exact == near
    compared = np.flatnonzero(prints.sound & first_of_equals)
    linked = _Linked(len(exact))
    hashes = prints.hashes[compared]
    for number, rows, _ in neighbours(hashes, hashes, radius):
        # Rows rise, and a frame is its own neighbour.
        earliest = rows[0]
        frame = compared[number]
        near[frame] = compared[earliest]
        for row in rows:
            linked.add(frame, compared[row])
    if radius == 0 or not len(compared):
        return exact, np.asarray(near[exact])

    # The same samples are drawn each time, so that a second look finds the same copies.
    rng = np.random.default_rng(0)
    index = PointIndex(prints.points, rng)
    concepts = find_concepts(prints, RATE, index, rng)
    descriptors = prints.descriptors[compared]
    for number, row, similarity in concepts.similar(descriptors):
        frame = int(compared[number])
        # Each pair comes from both of its sides, and one of them is enough.
        if row < frame and (similarity > ALONE or _has_witness(prints, frame, row)):
            near[frame] = min(near[frame], row)
            linked.add(frame, row)

    others = np.zeros(len(exact), dtype=bool)
    others[compared] = True
    for frame in track(compared.tolist(), "near-copies", len(compared)):
        # Points take longest to compare, so only frames without an earlier copy so far are looked up.
        if near[frame] < frame:
            continue
        others[frame] = False
        query = constellation(prints.points, frame)
        for row, _ in point_matches(concepts, index, query, others):
            near[frame] = min(near[frame], row)
            linked.add(frame, row)
        others[frame] = True

    # Two views of one tile may have too little in common, and each enough with a third that comes after both.
    for frame in compared.tolist():
        if near[frame] == frame:
            near[frame] = linked.first(frame)
    return exact, np.asarray(near[exact])


def _has_witness(prints: Prints, frame: int, row: int) -> bool:
    """Whether hashes or points speak for two frames whose descriptors are alike."""
    differing = np.bitwise_count(prints.hashes[frame] ^ prints.hashes[row])
    if int(differing.sum()) <= WITNESS_BITS:
        return True
    first, second = constellation(prints.points, frame), constellation(prints.points, row)
    return max(agreeing(first, second), agreeing(first.mirrored(), second)) >= WITNESS_POINTS


class _Linked:
    """Which frames are copies of each other, directly or through others."""

    def __init__(self, count: int) -> None:
        self._before = list(range(count))

    def first(self, frame: int) -> int:
        """The earliest frame to which links lead."""
        before = self._before
        while before[frame] != frame:
            before[frame] = before[before[frame]]  # halves the way for who comes next
            frame = before[frame]
        return frame

    def add(self, frame: int, other: int) -> None:
        """Link two frames."""
        first, second = self.first(int(frame)), self.first(int(other))
        self._before[max(first, second)] = min(first, second)


def first_of_chain(near: Rows) -> Rows:
    """For each frame the first of the chain of near-copies that leads to it.

    Args:
        near: int64 (n,), an earlier row or the frame's own.
    """
    first = near.copy()
    # Rows rise, so the entry that a row leads to is final before it is read.
    for row in range(len(first)):
        earlier = first[row]
        first[row] = first[earlier]
    return first
