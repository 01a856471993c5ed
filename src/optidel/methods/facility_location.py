"""Facility location: every row has a chosen one as similar as possible."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from scipy.sparse import coo_array, csr_array

from optidel.arrays import Vectors
from optidel.features.rows import random_order, spans
from optidel.methods.inputs import check_choice
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import divide, merged_greedy
from optidel.progress import say
from optidel.records import Selection

EXACT_UP_TO = 4096
"""Rows up to which ``auto`` is exact: quick enough, and a sample would be most of them."""
WHOLE_UP_TO = 20_000
"""Rows up to which ``auto`` ranks all as one, and up to which the exact ranking holds all similarities at
once: 1.6 GB of float32.
"""
SAMPLE = 1024
"""Rows on which the sampled ranking judges its first choices."""
EARLY = 300
"""Rows for each choice that is judged on the sample."""
PROPOSALS = 4
"""Candidates that the sample proposes for each of these choices."""
SAMPLED_FROM = 25
"""Rows for each one kept, at most, where ``auto`` samples: then the choices judged on the sample are at most
one in twelve.
"""
BLOCK = 1 << 21
"""Similarities looked at together: 8 MB, which stays in the cache."""
BATCH = 1 << 15
"""Similarities that a batch of candidates reads at first: fewer would cost as much time, more might not be
needed.
"""
HIGH = 512
"""Rows of a tile of similarities, a block in all; wider than high is quickest."""
LISTED = 100
"""Candidates that a row is to have, about, when they are written down; after a sample, which so decides less,
300.
"""

Strategy = Literal["auto", "exact", "sampled", "partitioned"]
Similarities = Callable[[slice | Int64[np.ndarray, "r"]], Float32[np.ndarray, "r s"]]
"""Candidates, at most a block, to their similarities to the rows served, at least 0; overwritten by the next.
A slice: read only.
"""


def facility_location(
    vectors: Vectors, count: int, *, rng: np.random.Generator, strategy: Strategy = "auto"
) -> Selection:
    """Greedily maximise Σᵢ max over chosen j of max(0, cosine(i, j)); where exact, at least 1 − 1/e of the
    best.

    By one strategy a smaller count keeps a prefix; ``auto`` may choose another strategy for a smaller count.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the sample, and the clustering into parts.
        strategy: ``exact`` over all rows; ``sampled``, where a sample of 1,024 rows proposes the first n/300
            choices, the others follow exactly, and no n × n matrix is held; ``partitioned``, so inside
            clusters, merged by gain; or ``auto``: exact up to 4,096 rows, up to 20,000 sampled if at least 4
            % are kept (a prefix of fewer loses up to about 1 %) and else exact, then partitioned.

    Returns:
        The selection in the order taken. Gain: what each adds to the sum. Each dropped row names the most
        similar taken row of its part.

    Raises:
        RecipeError: another strategy.

    Source: Nemhauser, Wolsey & Fisher 1978 for the greedy choice; as a choice of training data, Wei, Iyer &
    Bilmes 2015; gains from a sample of the rows, Badanidiyuru et al. 2014 (KDD).
    """
    check_choice("strategy", strategy, ("auto", "exact", "sampled", "partitioned"))
    n, seed = len(vectors), int(rng.integers(2**62))
    if strategy == "auto" and n <= WHOLE_UP_TO:
        strategy = "exact" if n <= EXACT_UP_TO or count * SAMPLED_FROM < n else "sampled"
        if strategy == "sampled":
            first = f"the first {n // EARLY} choices are proposed by a sample of {SAMPLE:,} of them"
            say(
                f"facility-location: {n:,} rows are ranked as one, but {first}; strategy='exact' does without, in more time"
            )
    parts = divide(
        vectors, "exact" if strategy == "sampled" else strategy, WHOLE_UP_TO, "facility-location", rng
    )

    def sampled(
        rows: Float32[np.ndarray, "c d"], depth: int
    ) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
        """The same sample at every depth, so that a deeper ranking starts with the shallower one."""
        return sampled_greedy(rows, depth, np.random.default_rng(seed))

    chosen, gains = merged_greedy(vectors, count, parts, greedy if strategy == "exact" else sampled)
    return outcome(
        n, chosen, gains, dropped="served by a kept one", twins=cluster_twins(vectors, parts, chosen)
    )


def greedy(
    rows: Float32[np.ndarray, "c d"], depth: int
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Rank unit rows by what each adds.

    The first choices concern all rows, and few candidates are worth a look: they are taken lazily from the
    similarities. Once c/100 are taken, every row has only about a hundred candidates more similar to it than
    those taken: these are written down, and from then on the gain of every candidate is kept up to date.

    Returns:
        places int64 (depth,) and gains float64 (depth,), falling.
    """
    c = len(rows)
    similarity = _similarities(rows)
    served = np.zeros(c, dtype=np.float32)
    first, gains = _lazy(similarity, c, served, min(depth, max(1, c // LISTED)))
    return _continued(rows, served, first, gains, depth)


def sampled_greedy(
    rows: Float32[np.ndarray, "c d"], depth: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Rank unit rows by what each adds, the first c/300 among four times as many that add most on a sample of
    the rows.

    What the first choices concern is wide, so a sample tells it; the sum over all rows then corrects the luck
    of the sample. All later ones are as in :func:`greedy`, and make good for most of what the first missed.

    Returns:
        places int64 (depth,) and gains float64 (depth,), falling.
    """
    c = len(rows)
    if c <= EXACT_UP_TO:
        return greedy(rows, depth)
    many = c // EARLY
    sample = random_order(rows, rng)[:SAMPLE]
    cosine = _positive(rows @ rows[sample].T)
    # A row of the sample stands for many, none of which it would serve as well as itself.
    cosine[sample, np.arange(len(sample))] = 0
    proposed, _ = _lazy(_held(cosine), c, np.zeros(len(sample), dtype=np.float32), PROPOSALS * many)
    served = np.zeros(c, dtype=np.float32)
    among, gains = _lazy(_held(_positive(rows[proposed] @ rows.T)), len(proposed), served, many)
    return _continued(rows, served, proposed[among], gains, depth)


def _continued(
    rows: Float32[np.ndarray, "c d"],
    served: Float32[np.ndarray, "c"],
    first: Int64[np.ndarray, "t"],
    gains: Float64[np.ndarray, "t"],
    depth: int,
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """The first choices, which serve the rows as ``served`` says, and the exact ones after them: ``depth`` in
    all.
    """
    if depth > len(first):
        order = np.argsort(served, kind="stable")
        taken = np.argsort(order)[first]
        rest, rest_gains = _updated(_above(rows[order], served[order]), taken, depth - len(first))
        rest = order[rest]
        first, gains = np.concatenate([first, rest]), np.concatenate([gains, rest_gains])
    # A later choice may add more than an early one of a sample, or by its last digit; a ranking has to fall
    # to be merged.
    return first[:depth], np.minimum.accumulate(gains)[:depth]


def _lazy(
    similarity: Similarities, c: int, served: Float32[np.ndarray, "s"], depth: int
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """The first ``depth`` choices of ``c`` candidates; ``served`` (zeros) becomes each row's similarity to
    the nearest of them.

    A gain can only shrink as others are taken, so an old one is a bound: the candidates of the highest bounds
    are evaluated again until one of them is above all others' bounds (Minoux 1978).
    """
    s = len(served)
    bound = np.concatenate([np.einsum("rs->r", similarity(span)) for span in spans(c, s, BLOCK)]).astype(
        np.float64
    )
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    most = min(c, max(1, BLOCK // s), 64)
    for step in range(depth):
        fresh, asked = np.zeros(c, dtype=bool), min(most, max(8, BATCH // s))
        while not fresh[place := int(bound.argmax())]:
            top = np.argpartition(-bound, asked - 1)[:asked]
            if place not in top:  # of many that tie, others came first
                top[0] = place
            top = np.sort(top[~fresh[top]])
            left = similarity(top)
            np.subtract(left, served, out=left)
            # Not a product with ones: that would wake the threads of the BLAS thousands of times for a few
            # microseconds each.
            bound[top] = np.einsum("rs->r", np.maximum(left, 0, out=left))
            fresh[top], asked = True, min(most, 2 * asked)
            bound[places[:step]] = -np.inf
        places[step], gains[step] = place, bound[place]
        np.maximum(served, similarity(np.array([place]))[0], out=served)
        bound[place] = -np.inf
    return places, gains


def _updated(
    above: csr_array, taken: Int64[np.ndarray, "t"], depth: int
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """The next ``depth`` choices after those ``taken``; every gain is kept up to date.

    Args:
        above: float32 (c, c), by how much a row (first) would be better served by a candidate than by those
            taken, where it would.
        taken: int64 (t,).
        depth: at most c − t.
    """
    c = above.shape[0]
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    gain = np.bincount(above.indices, above.data, minlength=c).astype(np.float64)
    gain[taken] = -np.inf
    level, by_candidate, trim = np.zeros(c, dtype=np.float32), above.tocsc(), 3 * len(taken)
    for step in range(depth):
        places[step] = place = int(gain.argmax())
        column = slice(*by_candidate.indptr[place : place + 2])
        better, own = by_candidate.indices[column], by_candidate.data[column]
        helped = own > level[better]
        better, own = better[helped], own[helped]
        gains[step] = (own - level[better]).sum(dtype=np.float64)
        starts, lengths = above.indptr[better], above.indptr[better + 1] - above.indptr[better]
        entries = np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        low = np.repeat(level[better], lengths)
        lost = np.minimum(np.maximum(above.data[entries], low), np.repeat(own, lengths)) - low
        gain -= np.bincount(above.indices[entries], lost, minlength=c)
        gain[place] = -np.inf
        level[better] = own
        if step + len(taken) == trim:
            above, trim = _trimmed(above, level), 3 * trim
    return places, gains


def _trimmed(above: csr_array, level: Float32[np.ndarray, "c"]) -> csr_array:
    """Without the entries that are no longer above the rows' levels."""
    kept = np.flatnonzero(above.data > np.repeat(level, np.diff(above.indptr)))
    starts = np.searchsorted(kept, above.indptr)
    return csr_array((above.data.take(kept), above.indices.take(kept), starts), shape=above.shape)


def _above(rows: Float32[np.ndarray, "c d"], served: Float32[np.ndarray, "c"]) -> csr_array:
    """By how much a candidate (second) is more similar to a row (first) than that is served, float32 (c, c),
    where it is.

    Only this is written down of the similarities: a tile of their upper half is read, and then overwritten by
    the next. Rows are in ascending order of ``served``: what is not above the first row's level is not above
    the second's either, so a tile is compared once.
    """
    c, tile, mask = len(rows), np.empty(BLOCK, dtype=np.float32), np.empty(BLOCK, dtype=bool)
    found: list[tuple[Int32[np.ndarray, e], Int32[np.ndarray, e], Float32[np.ndarray, e]]] = []
    for own in spans(c, 1, HIGH):
        for part in spans(c - own.start, 1, BLOCK // HIGH):
            other = slice(own.start + part.start, own.start + part.stop)
            shape = own.stop - own.start, other.stop - other.start
            cosine = np.matmul(rows[own], rows[other].T, out=tile[: shape[0] * shape[1]].reshape(shape))
            entries = np.flatnonzero(
                np.greater(cosine, served[own, None], out=mask[: cosine.size].reshape(shape))
            )
            value, entries = cosine.take(entries), entries.astype(np.int32)
            high = entries // np.int32(shape[1])
            wide = entries - high * np.int32(shape[1]) + np.int32(other.start)
            high += np.int32(own.start)
            found.append((high, wide, value - served[high]))
            both = np.flatnonzero(
                (value > served[wide]) & (wide >= own.stop)
            )  # a pair within ``own`` is there both ways
            high, wide = high[both], wide[both]
            found.append((wide, high, value[both] - served[wide]))
    row, candidate, gap = (np.concatenate(parts) for parts in zip(*found, strict=True))
    listed = coo_array((gap, (row, candidate)), shape=(c, c))
    listed.has_canonical_format = True  # no pair is there twice: nothing to sort or sum
    return listed.tocsr()


def _similarities(rows: Float32[np.ndarray, "c d"]) -> Similarities:
    """Similarities of candidates to all rows, not below 0: from a matrix if it fits, else computed when
    asked.

    The answer is written where the one before it was: new memory for every block would cost more than the
    arithmetic on it.
    """
    if len(rows) <= WHOLE_UP_TO:
        return _held(_matrix(rows))
    buffer = np.empty((max(1, BLOCK // len(rows)), len(rows)), dtype=np.float32)

    def computed(some: slice | Int64[np.ndarray, "r"]) -> Float32[np.ndarray, "r c"]:
        return _positive(np.matmul(rows[some], rows.T, out=buffer[: len(rows[some])]))

    return computed


def _held(matrix: Float32[np.ndarray, "c s"]) -> Similarities:
    """Similarities from a matrix of all of them."""
    buffer = np.empty((max(1, BLOCK // matrix.shape[1]), matrix.shape[1]), dtype=np.float32)
    # Any mode but the default writes to the buffer directly.
    return lambda some: (
        matrix[some]
        if isinstance(some, slice)
        else matrix.take(some, axis=0, out=buffer[: len(some)], mode="clip")
    )


def _positive(cosine: Float32[np.ndarray, "r c"]) -> Float32[np.ndarray, "r c"]:
    """Cosines below 0 become 0, in place."""
    np.maximum(cosine, 0, out=cosine)
    return cosine


def _matrix(rows: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "c c"]:
    """All similarities, not below 0: one half in blocks that stay in the cache, the other half its mirror
    image.
    """
    matrix = np.empty((len(rows), len(rows)), dtype=np.float32)
    for span in spans(*matrix.shape):
        _positive(np.matmul(rows[span], rows[span.start :].T, out=matrix[span, span.start :]))
        matrix[span.stop :, span] = matrix[span, span.stop :].T
    return matrix
