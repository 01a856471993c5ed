"""Near-copies inside one corpus: of frames that show the same, the first stands for the others."""

import numpy as np
from jaxtyping import Int64

from optidel.copies.concepts import find_concepts, point_matches
from optidel.copies.hashes import first_equal, neighbours
from optidel.copies.leaks import RATE
from optidel.copies.points import PointIndex, constellation
from optidel.copies.prints import Prints
from optidel.progress import track

Rows = Int64[np.ndarray, "n"]


def near_copies(prints: Prints, radius: int) -> tuple[Rows, Rows]:
    """For each frame the earliest frame with the same pixels, and the earliest frame that it nearly copies;
    its own row where there is none.

    Frames are near-copies where their perceptual hashes differ by at most ``radius`` bits, or where they are
    changed copies of each other (turned, mirrored, cropped, neighbours in a video) by descriptor or points;
    with a radius of 0 only equal hashes count. Both frames are compared directly: a frame that has changed
    slowly over a video is a near-copy of some frame before it, and perhaps not of the first. Frames that show
    nothing are all alike, and are copies of none.

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
    hashes = prints.hashes[compared]
    for number, rows, _ in neighbours(hashes, hashes, radius):
        # Rows rise, and a frame is its own neighbour.
        earliest = rows[0]
        frame = compared[number]
        near[frame] = compared[earliest]
    if radius == 0 or not len(compared):
        return exact, np.asarray(near[exact])

    # The same samples are drawn each time, so that a second look finds the same copies.
    rng = np.random.default_rng(0)
    index = PointIndex(prints.points, rng)
    concepts = find_concepts(prints, RATE, index, rng)
    descriptors = prints.descriptors[compared]
    for number, row, _ in concepts.similar(descriptors):
        frame = compared[number]
        near[frame] = min(near[frame], row)

    earlier = np.zeros(len(exact), dtype=bool)
    for frame in track(compared.tolist(), "near-copies", len(compared)):
        # Points take longest to compare, so only frames without a copy so far are looked up.
        if near[frame] == frame:
            query = constellation(prints.points, frame)
            matches = point_matches(concepts, index, query, earlier)
            rows_of_copies = [row for row, _ in matches]
            near[frame] = min(rows_of_copies, default=frame)
        earlier[frame] = True
    return exact, np.asarray(near[exact])


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
