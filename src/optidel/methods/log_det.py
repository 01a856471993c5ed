"""Log-determinant: the kept rows span as large a volume as possible in the kernel's space."""

from functools import partial

import numpy as np
from jaxtyping import Float32

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.methods.k_center import most_central
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Ranking, Strategy, divide, merged_greedy, two_rounds
from optidel.records import Selection

# Rows up to which ``auto`` ranks all as one: at 5 % the factor holds 160 MB.
EXACT_UP_TO = 20_000
# Rows to keep up to which the best of all parts are ranked against each other: 3·m³ steps.
SECOND_ROUND_UP_TO = 3_000
# Least volume factor: a copy of a pick adds none, and the logarithm has to stay finite.
SMALLEST = 1e-9
# Cosines of float32 rows are right to about 1e-6; where all rows are copies the bandwidth is not 0.
SMALLEST_BANDWIDTH = 1e-6


def log_det(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    bandwidth: float | None = None,
    strategy: Strategy = "auto",
) -> Selection:
    """Greedily maximise log det of the kernel exp(−(1 − cosine)/bandwidth) over the kept rows.

    Where exact, a smaller count keeps a prefix. In parts a prefix of the ranking serves a smaller count as
    well, though a run for that count has other finalists.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering into parts.
        bandwidth: cosine distance, positive; default the median distance of a row to the centroid of its
            part.
        strategy: ``exact`` over all rows at once (n·m², and n·m numbers in memory), ``partitioned`` inside
            clusters, the best of which are then ranked against each other (up to 3,000 rows to keep; beyond,
            merged by gain), or ``auto``: exact up to 20,000 rows.

    Returns:
        The selection in the order of the picks. Gain: what each adds to the log-determinant, at most 0, and
        log 1e-9 for a copy. The first pick, where all tie, is the row most similar to the mean. Each dropped
        row names the most similar pick of its part.

    Raises:
        RecipeError: a parameter out of range.

    Source: greedy maximum a posteriori of a determinantal point process, Chen, Zhang & Zhou 2018, algorithm 1
        (arXiv 1709.05135).
    """
    if bandwidth is not None and not bandwidth > 0:
        raise RecipeError(
            f"bandwidth must be a positive cosine distance, got {bandwidth}; 0.5 is a good start"
        )
    parts = divide(vectors, strategy, EXACT_UP_TO, "log-det", rng)
    if bandwidth is None:
        typical_distance = float(np.median(1 - parts.similarity))
        bandwidth = max(SMALLEST_BANDWIDTH, typical_distance)
    merge = two_rounds if count <= SECOND_ROUND_UP_TO else merged_greedy
    rank = partial(greedy_map, bandwidth=bandwidth)
    picks, gains = merge(vectors, count, parts, rank)
    twins = cluster_twins(vectors, parts, picks)
    return outcome(len(vectors), picks, gains, dropped="adds little volume", twins=twins)


def greedy_map(rows: Float32[np.ndarray, "c d"], depth: int, bandwidth: float) -> Ranking:
    """Rank unit rows by the volume each adds, with one incremental Cholesky row a step.

    Returns:
        picks int64 (depth,) and gains float64 (depth,), log of the conditional variance, falling.
    """
    picks = np.empty(depth, dtype=np.int64)
    gains = np.empty(depth)
    factor = np.zeros((depth, len(rows)))
    variance = np.ones(len(rows))
    # In float32 the kernel of near copies would not be positive definite; nor would it be with lengths taken
    # as exactly 1.
    wide = rows.astype(np.float64)
    length = np.einsum("cd,cd->c", wide, wide)
    best = most_central(rows)
    for step in range(depth):
        volume = max(float(variance[best]), SMALLEST)
        picks[step] = best
        gains[step] = np.log(volume)
        if volume > SMALLEST:
            distance = (length + length[best]) / 2 - wide @ wide[best]
            kernel = np.exp(-distance / bandwidth)
            explained = factor[:step, best] @ factor[:step]
            factor[step] = (kernel - explained) / np.sqrt(volume)
            variance = np.maximum(variance - factor[step] ** 2, 0)
        variance[picks[: step + 1]] = -1
        # To nine decimals, so that copies tie and the lower row comes first.
        best = int(variance.round(9).argmax())
    return picks, np.minimum.accumulate(gains)
