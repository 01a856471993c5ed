"""Facility location: every row has a chosen one as similar as possible."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64, Int64

from optidel.arrays import Vectors
from optidel.features.rows import spans
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Strategy, divide, merged_greedy
from optidel.records import Selection

DENSE_UP_TO = 16_384
"""Rows up to which all similarities are held at once: 1 GB of float32."""
BLOCK = 1 << 20
"""Similarities changed at once: 4 MB, which stays in the cache."""


def facility_location(vectors: Vectors, count: int, *, rng: np.random.Generator, strategy: Strategy = "auto") -> Selection:
    """Greedily maximise Σᵢ max over chosen j of max(0, cosine(i, j)); at least 1 − 1/e of the best. A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering into parts.
        strategy: ``exact`` over all rows at once, ``partitioned`` inside clusters, merged by gain, or ``auto``: exact up to 16,384 rows.

    Returns:
        The selection in the order taken. Gain: what each adds to the sum. Each dropped row names the most similar taken row of its part.

    Raises:
        RecipeError: another strategy.

    Source: Nemhauser, Wolsey & Fisher 1978 for the greedy choice; as a choice of training data, Wei, Iyer & Bilmes 2015.
    """
    parts = divide(vectors, strategy, DENSE_UP_TO, "facility-location", rng)
    chosen, gains = merged_greedy(vectors, count, parts, greedy)
    return outcome(len(vectors), chosen, gains, dropped="served by a kept one", twins=cluster_twins(vectors, parts, chosen))


def greedy(rows: Float32[np.ndarray, "c d"], depth: int) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Rank unit rows by what each adds, keeping every gain up to date.

    A choice changes the gains only through the rows it serves better than any before, about c/t of them at the t-th choice, so all updates
    together read the similarities about log(depth) times. Lazy evaluation reads more where gains are alike.

    Returns:
        places int64 (depth,) and gains float64 (depth,), falling.
    """
    similarity = _similarities(rows)
    served, ones = np.zeros(len(rows), dtype=np.float32), np.ones(len(rows), dtype=np.float32)
    gain = np.zeros(len(rows))
    for span in spans(len(rows), len(rows), BLOCK):
        gain += ones[: span.stop - span.start] @ similarity(np.arange(span.start, span.stop))
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    for step in range(depth):
        place = int(gain.argmax())
        own = similarity(np.array([place]))[0].copy()
        places[step], gains[step] = place, np.maximum(own - served, 0).sum(dtype=np.float64)
        better = np.flatnonzero(own > served)
        for span in spans(len(better), len(rows), BLOCK):
            changed = better[span]
            low, high = served[changed, None], own[changed, None]
            lost = similarity(changed)
            np.minimum(np.maximum(lost, low, out=lost), high, out=lost)
            gain -= ones[: len(changed)] @ lost - low.sum()
        served[better] = own[better]
        gain[place] = -np.inf
    # Rounding may raise a gain by its last digit; a ranking has to fall to be merged.
    return places, np.minimum.accumulate(gains)


def _similarities(rows: Float32[np.ndarray, "c d"]) -> Callable[[Int64[np.ndarray, "r"]], Float32[np.ndarray, "r c"]]:
    """Similarities of at most a block of rows to all, not below 0: from a matrix if it fits, else computed when asked.

    The answer is written where the one before it was: new memory for every block would cost more than the arithmetic on it.
    """
    buffer = np.empty((max(1, BLOCK // len(rows)), len(rows)), dtype=np.float32)
    if len(rows) > DENSE_UP_TO:

        def computed(some: Int64[np.ndarray, "r"]) -> Float32[np.ndarray, "r c"]:
            block = np.matmul(rows[some], rows.T, out=buffer[: len(some)])
            return np.maximum(block, 0, out=block)

        return computed
    matrix = rows @ rows.T
    np.maximum(matrix, 0, out=matrix)
    # Any mode but the default writes to the buffer directly.
    return lambda some: np.take(matrix, some, axis=0, out=buffer[: len(some)], mode="clip")
