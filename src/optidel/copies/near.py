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
    """For each frame the earliest frame with the same pixels, and the earliest kept frame that it nearly
    copies; its own row where there is none.

    Frames are near-copies where their perceptual hashes differ by at most ``radius`` bits, or where they are
    changed copies of each other (turned, mirrored, cropped, neighbours in a video) by descriptor or points;
    with a radius of 0 only equal hashes count. Every near-copy is close to the frame that stands for it: long
    chains of slowly changing frames are cut into pieces. Frames that show nothing are all alike, and stand for
    themselves.

    Args:
        prints: of the corpus.
        radius: bits of 256.

    Returns:
        Two int64 (n,), ``exact`` and ``near``.
    """
    exact = first_equal(prints.pixels)
    compared = np.flatnonzero(prints.sound & (exact == np.arange(len(exact))))
    alike: dict[int, set[int]] = {row: set() for row in compared.tolist()}
    hashes = prints.hashes[compared]
    for number, rows, _ in neighbours(hashes, hashes, radius):
        alike[int(compared[number])].update(compared[rows].tolist())
    if radius == 0 or not len(compared):
        return exact, _standing(exact, alike)

    rng = np.random.default_rng(0)
    index = PointIndex(prints.points, rng)
    concepts = find_concepts(prints, RATE, index, rng)
    for number, row, _ in concepts.similar(prints.descriptors[compared]):
        if row in alike:
            alike[int(compared[number])].add(row)

    near = np.arange(len(exact))
    stands = np.zeros(len(exact), dtype=bool)
    for frame in track(compared.tolist(), "near-copies", len(compared)):
        standing = sorted(row for row in alike[frame] if row < frame and stands[row])
        if not standing:
            # Points take longest to compare, so only frames without a copy so far are looked up.
            matches = point_matches(concepts, index, constellation(prints.points, frame), stands)
            standing = [row for row, _ in matches]
        near[frame] = standing[0] if standing else frame
        stands[frame] = not standing
    return exact, np.asarray(near[exact])


def _standing(exact: Rows, alike: dict[int, set[int]]) -> Rows:
    near = np.arange(len(exact))
    for frame, rows in alike.items():
        standing = sorted(row for row in rows if row < frame and near[row] == row)
        near[frame] = standing[0] if standing else frame
    return np.asarray(near[exact])
