"""Log-determinant: the chosen rows span as large a volume as possible in the kernel's space."""

from functools import partial

import numpy as np
from jaxtyping import Float32, Float64, Int64

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.methods.k_center import most_central
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Strategy, divide, merged_greedy, two_rounds
from optidel.records import Selection

EXACT_UP_TO = 20_000
SECOND_ROUND_UP_TO = 3_000
"""Rows wanted up to which the best of all parts are ranked against each other: 3·m³ steps."""
SMALLEST = 1e-9
"""Least volume factor: a copy of a chosen row adds none, and the logarithm has to stay finite."""


def log_det(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    bandwidth: float | None = None,
    strategy: Strategy = "auto",
) -> Selection:
    """Greedily maximise log det of the kernel exp(−(1 − cosine)/bandwidth) over the chosen rows.

    Where exact, a smaller count keeps a prefix; in parts a prefix of the ranking serves a smaller count as
    well, though a run for that count puts other rows forward.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering into parts.
        bandwidth: cosine distance, positive; default the median distance of a row to the centroid of its
            part.
        strategy: ``exact`` over all rows at once (n·m², and n·m numbers in memory), ``partitioned`` inside
            clusters, the best of which are then ranked against each other (up to 3,000 rows wanted; beyond,
            merged by gain), or ``auto``: exact up to 20,000 rows.

    Returns:
        The selection in the order taken. Gain: what each adds to the log-determinant, at most 0, and log 1e-9
        for a copy; the first choice, where all tie, is the row most similar to the mean. Each dropped row
        names the most similar taken row of its part.

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
    width = max(1e-6, float(np.median(1 - parts.similarity))) if bandwidth is None else bandwidth
    merge = two_rounds if count <= SECOND_ROUND_UP_TO else merged_greedy
    chosen, gains = merge(vectors, count, parts, partial(greedy_map, bandwidth=width))
    return outcome(
        len(vectors), chosen, gains, dropped="adds little volume", twins=cluster_twins(vectors, parts, chosen)
    )


def greedy_map(
    rows: Float32[np.ndarray, "c d"], depth: int, bandwidth: float
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Rank unit rows by the volume each adds, with one incremental Cholesky row a step.

    Returns:
        places int64 (depth,) and gains float64 (depth,), log of the conditional variance, falling.
    """
    places, gains = np.empty(depth, dtype=np.int64), np.empty(depth)
    factor = np.zeros((depth, len(rows)))
    variance = np.ones(len(rows))
    # In float32 the kernel of near copies would not be positive definite; nor would it be with lengths taken
    # as exactly 1.
    wide = rows.astype(np.float64)
    length = np.einsum("cd,cd->c", wide, wide)
    place = most_central(rows)
    for step in range(depth):
        volume = max(float(variance[place]), SMALLEST)
        places[step], gains[step] = place, np.log(volume)
        if volume > SMALLEST:
            kernel = np.exp((wide @ wide[place] - (length + length[place]) / 2) / bandwidth)
            factor[step] = (kernel - factor[:step, place] @ factor[:step]) / np.sqrt(volume)
            variance = np.maximum(variance - factor[step] ** 2, 0)
        variance[places[: step + 1]] = -1
        place = int(variance.round(9).argmax())
    return places, np.minimum.accumulate(gains)
