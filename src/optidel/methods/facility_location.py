"""Facility location: every row has a kept one that is as similar as possible.

The greedy ranking has two phases. At first a pick matters to nearly every row, and few candidates can be the
best: their gains are computed from the similarities when needed (:func:`_first_picks`). Later a pick matters
only to the rows that resemble it: for each row the few candidates that would serve it better are stored in a
sparse matrix, and the gains of all candidates are kept up to date (:func:`_later_picks`).

A row's service is its similarity to the nearest pick.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from scipy.sparse import coo_array, csr_array

from optidel.arrays import Vectors
from optidel.features.rows import random_order, spans
from optidel.methods.inputs import check_choice
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Ranking, divide, merged_greedy
from optidel.progress import say
from optidel.records import Selection

# Rows up to which ``auto`` is exact: it is quick, and a sample would contain most of them.
EXACT_UP_TO = 4096
# Rows up to which ``auto`` ranks all as one, and up to which the exact ranking stores all similarities: 1.6
# GB of float32.
WHOLE_UP_TO = 20_000
# Rows of the sample on which the sampled ranking judges its first picks. With 4 proposals a pick, the
# objective was at most 0.1 % below the exact one in the measurements of docs/selectors.md.
SAMPLE = 1024
# Rows for each pick that is judged on the sample.
EARLY = 300
# Candidates that the sample proposes for each of these picks.
PROPOSALS = 4
# ``auto`` samples where there are at most this many rows for each one kept. Then the picks judged on the
# sample are at most one in twelve.
SAMPLED_FROM = 25
# Similarities of one block: 8 MB, which stay in the cache.
BLOCK = 1 << 21
# Similarities in the first batch of candidates: a smaller batch takes the same time, a larger one is rarely
# needed.
BATCH = 1 << 15
# Least and greatest number of candidates in a batch. Round numbers: they bound the rows, BATCH and BLOCK the
# work.
BATCH_ROWS = (8, 64)
# Rows of a tile of similarities, which is one block in all. A tile wider than high is the fastest.
HIGH = 512
# Candidates stored for a row in the sparse matrix, on average: the first phase ends after one pick for each
# 100 rows. After a sample, which makes fewer first picks, it is 300.
LISTED = 100
# The sparse matrix is trimmed each time the number of picks has grown this many times: a trim costs one pass
# over all entries, and by then most are useless.
TRIM_GROWTH = 3

Strategy = Literal["auto", "exact", "sampled", "partitioned"]
# From candidates, at most a block of them, to their similarities to the rows to be served, at least 0. The
# next call overwrites the answer. For a slice the answer must not be modified.
Similarities = Callable[[slice | Int64[np.ndarray, "r"]], Float32[np.ndarray, "r s"]]


def facility_location(
    vectors: Vectors, count: int, *, rng: np.random.Generator, strategy: Strategy = "auto"
) -> Selection:
    """Greedily maximise Σᵢ max over kept j of max(0, cosine(i, j)).

    The exact ranking reaches at least 1 − 1/e of the best possible sum. With a fixed strategy a smaller count
    keeps a prefix; ``auto`` may choose another strategy for a smaller count.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the sample, and the clustering into parts.
        strategy: how to rank. ``exact`` ranks all rows. ``sampled`` lets a sample of 1,024 rows propose the
            first n/300 picks, makes all others exactly, and stores no n × n matrix. ``partitioned`` ranks
            inside clusters and merges by gain. ``auto`` is exact up to 4,096 rows. Up to 20,000 rows it is
            sampled if at least 4 % are kept (a prefix of fewer would lose up to about 1 %), else exact. Above
            that it is partitioned.

    Returns:
        The selection in the order of the picks. Gain: what each pick adds to the sum. Each dropped row names
        the most similar pick of its part.

    Raises:
        RecipeError: another strategy.

    Source: Nemhauser, Wolsey & Fisher 1978 for the greedy algorithm; Wei, Iyer & Bilmes 2015 for training
        data; Badanidiyuru et al. 2014 (KDD) for gains from a sample of the rows.
    """
    check_choice("strategy", strategy, ("auto", "exact", "sampled", "partitioned"))
    n, seed = len(vectors), int(rng.integers(2**62))
    if strategy == "auto" and n <= WHOLE_UP_TO:
        strategy = "exact" if n <= EXACT_UP_TO or count * SAMPLED_FROM < n else "sampled"
        if strategy == "sampled":
            say(
                f"facility-location: {n:,} rows are ranked as one, but the first {n // EARLY} choices "
                f"are proposed by a sample of {SAMPLE:,} of them; strategy='exact' does without, in more time"
            )
    division = "exact" if strategy == "sampled" else strategy
    parts = divide(vectors, division, WHOLE_UP_TO, "facility-location", rng)

    def sampled(rows: Float32[np.ndarray, "c d"], depth: int) -> Ranking:
        # The same sample at every depth, so that a deeper ranking starts with the shallower one.
        return sampled_greedy(rows, depth, np.random.default_rng(seed))

    picks, gains = merged_greedy(vectors, count, parts, greedy if strategy == "exact" else sampled)
    twins = cluster_twins(vectors, parts, picks)
    return outcome(n, picks, gains, dropped="served by a kept one", twins=twins)


def greedy(rows: Float32[np.ndarray, "c d"], depth: int) -> Ranking:
    """Rank unit rows by what each adds to the sum of similarities.

    Returns:
        picks int64 (depth,) and gains float64 (depth,), falling.
    """
    c = len(rows)
    service = np.zeros(c, dtype=np.float32)
    early = min(depth, max(1, c // LISTED))
    similarity = _similarities(rows)
    picks, gains = _first_picks(similarity, c, service, early)
    return _continued(rows, service, picks, gains, depth)


def sampled_greedy(rows: Float32[np.ndarray, "c d"], depth: int, rng: np.random.Generator) -> Ranking:
    """Rank unit rows by what each adds, the first c/300 of them among candidates that a sample proposes.

    The first picks matter to nearly every row, so their gain on a sample is close to their gain on all. The
    sample proposes four times as many candidates as there are picks, and their gains over all rows decide
    among them. Later picks are those of :func:`greedy`, and make up for most of what the first missed.

    Returns:
        picks int64 (depth,) and gains float64 (depth,), falling.
    """
    c = len(rows)
    if c <= EXACT_UP_TO:
        return greedy(rows, depth)
    early = c // EARLY
    sample = random_order(rows, rng)[:SAMPLE]
    cosine = _positive(rows @ rows[sample].T)
    # A row of the sample stands for many others, but it would serve none of them as well as itself.
    cosine[sample, np.arange(len(sample))] = 0
    sample_service = np.zeros(len(sample), dtype=np.float32)
    proposals, _ = _first_picks(_stored(cosine), c, sample_service, PROPOSALS * early)

    service = np.zeros(c, dtype=np.float32)
    proposal_cosine = _positive(rows[proposals] @ rows.T)
    best, gains = _first_picks(_stored(proposal_cosine), len(proposals), service, early)
    return _continued(rows, service, proposals[best], gains, depth)


def _continued(
    rows: Float32[np.ndarray, "c d"],
    service: Float32[np.ndarray, "c"],
    picks: Int64[np.ndarray, "t"],
    gains: Float64[np.ndarray, "t"],
    depth: int,
) -> Ranking:
    """The first picks and the exact ones after them, ``depth`` in all.

    Args:
        rows: unit rows.
        service: similarity of each row to the nearest of the first picks.
        picks: the first picks.
        gains: theirs.
        depth: of the ranking.
    """
    if depth > len(picks):
        order = np.argsort(service, kind="stable")
        position = np.argsort(order)
        improvement = _improvements(rows[order], service[order])
        first = position[picks]
        later, later_gains = _later_picks(improvement, first, depth - len(picks))
        picks = np.concatenate([picks, order[later]])
        gains = np.concatenate([gains, later_gains])
    # A later pick may add more than an early one that a sample proposed, or exceed it by its last digit. A
    # ranking has to fall to be merged with others.
    return picks[:depth], np.minimum.accumulate(gains)[:depth]


def _first_picks(similarity: Similarities, c: int, service: Float32[np.ndarray, "s"], depth: int) -> Ranking:
    """The first ``depth`` picks of ``c`` candidates by lazy evaluation; updates ``service``.

    A gain can only shrink as picks are added, so an old gain is an upper bound. The candidates of the highest
    bounds are evaluated again until one of them is above the bounds of all others.

    Args:
        similarity: of candidates to the rows to be served.
        c: number of candidates.
        service: zeros; becomes the similarity of each row to the nearest pick.
        depth: picks.

    Source: Minoux 1978.
    """
    s = len(service)
    sums = [_row_sums(similarity(span)) for span in spans(c, s, BLOCK)]
    bound = np.concatenate(sums).astype(np.float64)
    picks = np.empty(depth, dtype=np.int64)
    gains = np.empty(depth)
    least, greatest = BATCH_ROWS
    most = min(c, max(1, BLOCK // s), greatest)
    for step in range(depth):
        fresh = np.zeros(c, dtype=bool)
        size = min(most, max(least, BATCH // s))
        while not fresh[best := int(bound.argmax())]:
            batch = np.argpartition(-bound, size - 1)[:size]
            if best not in batch:  # where many bounds tie, others may fill the batch
                batch[0] = best
            batch = np.sort(batch[~fresh[batch]])
            gap = similarity(batch)
            np.subtract(gap, service, out=gap)
            bound[batch] = _row_sums(_positive(gap))
            fresh[batch] = True
            size = min(most, 2 * size)
            bound[picks[:step]] = -np.inf
        picks[step] = best
        gains[step] = bound[best]
        [best_similarity] = similarity(np.array([best]))
        np.maximum(service, best_similarity, out=service)
        bound[best] = -np.inf
    return picks, gains


def _row_sums(block: Float32[np.ndarray, "r s"]) -> Float32[np.ndarray, "r"]:
    """Sum of each row.

    No product with ones: it would wake the threads of the BLAS thousands of times for a few microseconds
    each.
    """
    sums: Float32[np.ndarray, r] = np.einsum("rs->r", block)
    return sums


def _later_picks(improvement: csr_array, first: Int64[np.ndarray, "t"], depth: int) -> Ranking:
    """The next ``depth`` picks after the first; the gain of every candidate is kept up to date.

    Args:
        improvement: float32 (c, c), by how much a candidate (second) would raise the service of a row (first)
            above what the first picks give; only positive entries.
        first: int64 (t,), the first picks.
        depth: at most c − t.
    """
    c = improvement.shape[0]
    picks = np.empty(depth, dtype=np.int64)
    gains = np.empty(depth)
    gain = np.bincount(improvement.indices, improvement.data, minlength=c).astype(np.float64)
    gain[first] = -np.inf
    level = np.zeros(c, dtype=np.float32)
    by_candidate = improvement.tocsc()
    next_trim = TRIM_GROWTH * len(first)
    for step in range(depth):
        best = int(gain.argmax())
        column = slice(*by_candidate.indptr[best : best + 2])
        rows, new_level = by_candidate.indices[column], by_candidate.data[column]
        helps = new_level > level[rows]
        rows, new_level = rows[helps], new_level[helps]

        picks[step] = best
        gains[step] = (new_level - level[rows]).sum(dtype=np.float64)
        gain -= _lost_gains(improvement, rows, level[rows], new_level)
        gain[best] = -np.inf
        level[rows] = new_level
        if step + len(first) == next_trim:
            improvement = _trimmed(improvement, level)
            next_trim *= TRIM_GROWTH
    return picks, gains


def _lost_gains(
    improvement: csr_array,
    rows: Int32[np.ndarray, "r"],
    old_level: Float32[np.ndarray, "r"],
    new_level: Float32[np.ndarray, "r"],
) -> Float64[np.ndarray, "c"]:
    """What every candidate can no longer add once these rows rise to a new level."""
    starts = improvement.indptr[rows]
    lengths = improvement.indptr[rows + 1] - starts
    # The entries of the rows, one row after the other: consecutive numbers, shifted to where each row begins.
    shift = starts - (np.cumsum(lengths) - lengths)
    entries = np.arange(lengths.sum()) + np.repeat(shift, lengths)
    low = np.repeat(old_level, lengths)
    high = np.repeat(new_level, lengths)
    reach = np.clip(improvement.data[entries], low, high)
    lost = reach - low
    return np.bincount(improvement.indices[entries], lost, minlength=improvement.shape[0])


def _trimmed(improvement: csr_array, level: Float32[np.ndarray, "c"]) -> csr_array:
    """Without the entries that are no longer above the levels of their rows."""
    lengths = np.diff(improvement.indptr)
    level_of_entry = np.repeat(level, lengths)
    entries = np.flatnonzero(improvement.data > level_of_entry)
    starts = np.searchsorted(entries, improvement.indptr)
    columns = (improvement.data.take(entries), improvement.indices.take(entries), starts)
    return csr_array(columns, shape=improvement.shape)


def _improvements(rows: Float32[np.ndarray, "c d"], service: Float32[np.ndarray, "c"]) -> csr_array:
    """By how much a candidate (second) is more similar to a row (first) than the nearest pick is, float32 (c,
    c).

    Only positive entries are stored. The similarities are computed in tiles of their upper half, one at a
    time.

    Args:
        rows: unit rows, in ascending order of ``service``.
        service: similarity of each row to the nearest pick.
    """
    c = len(rows)
    tile = np.empty(BLOCK, dtype=np.float32)
    mask = np.empty(BLOCK, dtype=bool)
    columns: list[tuple[Int32[np.ndarray, e], Int32[np.ndarray, e], Float32[np.ndarray, e]]] = []
    for upper in spans(c, 1, HIGH):
        for part in spans(c - upper.start, 1, BLOCK // HIGH):
            left = slice(upper.start + part.start, upper.start + part.stop)
            shape = upper.stop - upper.start, left.stop - left.start
            area = shape[0] * shape[1]
            cosine = np.matmul(rows[upper], rows[left].T, out=tile[:area].reshape(shape))
            # Rows ascend by service: what does not improve on the upper row's cannot improve on the left
            # row's. So one comparison finds the pairs of both directions.
            better = np.greater(cosine, service[upper, None], out=mask[:area].reshape(shape))
            entries = np.flatnonzero(better)
            value, entries = cosine.take(entries), entries.astype(np.int32)
            i = entries // np.int32(shape[1])
            j = entries - i * np.int32(shape[1]) + np.int32(left.start)
            i += np.int32(upper.start)
            columns.append((i, j, value - service[i]))

            # A pair within ``upper`` occurs in both orders already.
            mutual = np.flatnonzero((value > service[j]) & (j >= upper.stop))
            i, j = i[mutual], j[mutual]
            columns.append((j, i, value[mutual] - service[j]))
    row, candidate, gap = (np.concatenate(column) for column in zip(*columns, strict=True))
    matrix = coo_array((gap, (row, candidate)), shape=(c, c))
    matrix.has_canonical_format = True  # no pair occurs twice: nothing to sort or sum
    return matrix.tocsr()


def _similarities(rows: Float32[np.ndarray, "c d"]) -> Similarities:
    """Similarities of candidates to all rows, at least 0: from a matrix if it fits, else computed in each
    call.

    Each answer overwrites the one before: new memory for every block would cost more than the arithmetic.
    """
    if len(rows) <= WHOLE_UP_TO:
        return _stored(_matrix(rows))
    buffer = np.empty((max(1, BLOCK // len(rows)), len(rows)), dtype=np.float32)

    def computed(candidates: slice | Int64[np.ndarray, "r"]) -> Float32[np.ndarray, "r c"]:
        block = rows[candidates]
        return _positive(np.matmul(block, rows.T, out=buffer[: len(block)]))

    return computed


def _stored(matrix: Float32[np.ndarray, "c s"]) -> Similarities:
    """Similarities from a matrix of all of them."""
    buffer = np.empty((max(1, BLOCK // matrix.shape[1]), matrix.shape[1]), dtype=np.float32)

    def stored(candidates: slice | Int64[np.ndarray, "r"]) -> Float32[np.ndarray, "r s"]:
        if isinstance(candidates, slice):
            return matrix[candidates]
        # Any mode but the default writes to the buffer without a copy.
        return matrix.take(candidates, axis=0, out=buffer[: len(candidates)], mode="clip")

    return stored


def _positive(cosine: Float32[np.ndarray, "r c"]) -> Float32[np.ndarray, "r c"]:
    """Numbers below 0 become 0, in place."""
    np.maximum(cosine, 0, out=cosine)
    return cosine


def _matrix(rows: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "c c"]:
    """All similarities, at least 0: one half in blocks that stay in the cache, the other half its mirror
    image.
    """
    matrix = np.empty((len(rows), len(rows)), dtype=np.float32)
    for span in spans(*matrix.shape):
        block = matrix[span, span.start :]
        np.matmul(rows[span], rows[span.start :].T, out=block)
        _positive(block)
        matrix[span.stop :, span] = matrix[span, span.stop :].T
    return matrix
