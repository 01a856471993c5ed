"""Facility location: every row has a chosen one as similar as possible."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from optidel.arrays import Vectors
from optidel.features.rows import spans
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Strategy, divide, merged_greedy
from optidel.records import Selection

DENSE_UP_TO = 20_000
"""Rows up to which all similarities are held at once: 1.6 GB of float32."""
BLOCK = 1 << 20
"""Similarities looked at together: 4 MB, which stays in the cache."""
LISTED = 100
"""Candidates that a row is to have, about, when they are written down."""

Similarities = Callable[[slice | Int64[np.ndarray, "r"]], Float32[np.ndarray, "r c"]]
"""Rows, at most a block, to their similarities to all rows; overwritten by the next call. Those of a slice are only to be read."""


def facility_location(vectors: Vectors, count: int, *, rng: np.random.Generator, strategy: Strategy = "auto") -> Selection:
    """Greedily maximise Σᵢ max over chosen j of max(0, cosine(i, j)); at least 1 − 1/e of the best. A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering into parts.
        strategy: ``exact`` over all rows at once, ``partitioned`` inside clusters, merged by gain, or ``auto``: exact up to 20,000 rows.

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
    """Rank unit rows by what each adds.

    The first choices concern all rows, and few candidates are worth a look: they are taken lazily from the similarities. Once c/100 are
    taken, every row has only about a hundred candidates more similar to it than those taken: these are written down, and from then on the
    gain of every candidate is kept up to date.

    Returns:
        places int64 (depth,) and gains float64 (depth,), falling.
    """
    similarity = _similarities(rows)
    served = np.zeros(len(rows), dtype=np.float32)
    first, first_gains = _lazy(similarity, served, min(depth, max(1, len(rows) // LISTED)))
    rest, rest_gains = _updated(similarity, served, first, depth - len(first))
    # Rounding may raise a gain by its last digit; a ranking has to fall to be merged.
    return np.concatenate([first, rest]), np.minimum.accumulate(np.concatenate([first_gains, rest_gains]))


def _lazy(
    similarity: Similarities, served: Float32[np.ndarray, "c"], depth: int
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """The first ``depth`` choices; ``served`` (zeros) becomes each row's similarity to the nearest of them.

    A gain can only shrink as others are taken, so an old one is a bound: the candidates of the highest bounds are evaluated again until
    one of them is above all others' bounds (Minoux 1978).
    """
    c = len(served)
    bound = np.concatenate([np.einsum("rc->r", similarity(span)) for span in spans(c, c, BLOCK)]).astype(np.float64)
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    most = min(c, max(1, BLOCK // c), 64)
    for step in range(depth):
        fresh, asked = np.zeros(c, dtype=bool), min(8, most)
        while not fresh[place := int(bound.argmax())]:
            top = np.argpartition(-bound, asked - 1)[:asked]
            top = np.sort(top[~fresh[top]])
            left = similarity(top)
            np.subtract(left, served, out=left)
            # Not a product with ones: that would wake the threads of the BLAS thousands of times for a few microseconds each.
            bound[top] = np.einsum("rc->r", np.maximum(left, 0, out=left))
            fresh[top], asked = True, min(most, 2 * asked)
            bound[places[:step]] = -np.inf
        places[step], gains[step] = place, bound[place]
        np.maximum(served, similarity(np.array([place]))[0], out=served)
        bound[place] = -np.inf
    return places, gains


def _updated(
    similarity: Similarities, served: Float32[np.ndarray, "c"], taken: Int64[np.ndarray, "t"], depth: int
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """The next ``depth`` choices after those ``taken``, which left each row ``served``; every gain is kept up to date."""
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    if not depth:
        return places, gains
    c = len(served)
    starts, candidates, closeness = _candidates(similarity, served)
    gain = np.bincount(candidates, closeness - np.repeat(served, np.diff(starts)), minlength=c).astype(np.float64)
    gain[taken] = -np.inf
    trim = 2 * len(taken)
    for step in range(depth):
        places[step] = place = int(gain.argmax())
        own = similarity(np.array([place]))[0]
        better = np.flatnonzero(own > served)
        gains[step] = (own[better] - served[better]).sum(dtype=np.float64)
        lengths = starts[better + 1] - starts[better]
        entries = np.arange(lengths.sum()) + np.repeat(starts[better] - np.cumsum(lengths) + lengths, lengths)
        low = np.repeat(served[better], lengths)
        lost = np.minimum(np.maximum(closeness[entries], low), np.repeat(own[better], lengths)) - low
        gain -= np.bincount(candidates[entries], lost, minlength=c)
        gain[place] = -np.inf
        served[better] = own[better]
        if step + len(taken) == trim:
            keep = closeness > np.repeat(served, np.diff(starts))
            starts, candidates, closeness = np.concatenate([[0], np.cumsum(keep)])[starts], candidates[keep], closeness[keep]
            trim *= 2
    return places, gains


def _candidates(
    similarity: Similarities, served: Float32[np.ndarray, "c"]
) -> tuple[Int64[np.ndarray, "c+1"], Int32[np.ndarray, "e"], Float32[np.ndarray, "e"]]:
    """For each row the candidates more similar to it than it is served: where its entries start, their rows and their similarities."""
    c = len(served)
    counts, candidates, closeness = [], [], []
    for span in spans(c, c, BLOCK):
        block = similarity(span)
        above = np.flatnonzero(block > served[span, None])
        counts.append(np.bincount(above // c, minlength=len(block)))
        candidates.append(above % c)
        closeness.append(block.take(above))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return starts, np.concatenate(candidates).astype(np.int32), np.concatenate(closeness)


def _similarities(rows: Float32[np.ndarray, "c d"]) -> Similarities:
    """Similarities of at most a block of rows to all, not below 0: from a matrix if it fits, else computed when asked.

    The answer is written where the one before it was: new memory for every block would cost more than the arithmetic on it.
    """
    buffer = np.empty((max(1, BLOCK // len(rows)), len(rows)), dtype=np.float32)
    if len(rows) > DENSE_UP_TO:

        def computed(some: slice | Int64[np.ndarray, "r"]) -> Float32[np.ndarray, "r c"]:
            block = np.matmul(rows[some], rows.T, out=buffer[: len(rows[some])])
            return np.maximum(block, 0, out=block)

        return computed
    matrix = _matrix(rows)
    # Any mode but the default writes to the buffer directly.
    return lambda some: matrix[some] if isinstance(some, slice) else matrix.take(some, axis=0, out=buffer[: len(some)], mode="clip")


def _matrix(rows: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "c c"]:
    """All similarities, not below 0: one half in blocks that stay in the cache, the other half its mirror image."""
    matrix = np.empty((len(rows), len(rows)), dtype=np.float32)
    for span in spans(*matrix.shape):
        block = np.matmul(rows[span], rows[span.start :].T, out=matrix[span, span.start :])
        np.maximum(block, 0, out=block)
        matrix[span.stop :, span] = matrix[span, span.stop :].T
    return matrix
