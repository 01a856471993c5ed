"""Density sampling: rows in crowded places are drawn less often."""

import numpy as np
from jaxtyping import Float32, Float64

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.features.clusters import Clusters, cluster
from optidel.features.rows import spans, unit
from optidel.methods.draws import weighted_order
from optidel.methods.inputs import check_k
from optidel.methods.outcome import outcome
from optidel.records import Selection

# Rows of a block of the kernel: 16 MB of float32.
TILE = 2048
# Default bandwidth over the median distance to the centroid: narrow enough that only near rows count. A round
# number.
BANDWIDTH_SHARE = 0.1
# Cosines of float32 rows are right to about 1e-6; where all rows are copies the bandwidth is not 0.
SMALLEST_BANDWIDTH = 1e-6


def density(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    bandwidth: float | None = None,
    k: int | None = None,
) -> Selection:
    """Draw rows without replacement, each with a weight of 1 over its kernel density.

    The density of a row is Σ exp(−(1 − cosine)/bandwidth) over the rows of its cluster, itself included. At a
    small bandwidth rows of other clusters hardly count, and the sum costs n²/k instead of n². ``k=1`` gives
    the sum over all rows. A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering and the draw.
        bandwidth: cosine distance, positive; default a tenth of the median distance of a row to its centroid.
        k: clusters; default √n.

    Returns:
        The selection in order of the draw. Gain: 1/density, at most 1: the share of a row that is its own.

    Raises:
        RecipeError: a parameter out of range.

    Source: inverse-propensity sampling of Sachdeva et al. 2024, section 3.2 (arXiv 2402.09668); the draw is
    the one of Efraimidis and Spirakis 2006.
    """
    check_k(k, len(vectors))
    if bandwidth is not None and not bandwidth > 0:
        raise RecipeError(
            f"bandwidth must be a positive cosine distance, got {bandwidth}; 0.05 is a good start"
        )
    clusters = cluster(vectors, k, rng=rng)
    if bandwidth is None:
        typical_distance = float(np.median(1 - clusters.similarity))
        bandwidth = max(SMALLEST_BANDWIDTH, BANDWIDTH_SHARE * typical_distance)
    weight = 1 / kernel_density(vectors, clusters, bandwidth)

    picks = weighted_order(vectors, weight, rng)[:count]
    return outcome(len(vectors), picks, weight[picks], dropped="not drawn")


def kernel_density(vectors: Vectors, clusters: Clusters, bandwidth: float) -> Float64[np.ndarray, "n"]:
    """Sum of exp(−(1 − cosine)/bandwidth) over the rows of the same cluster, float64 (n,).

    At least 1, since a row counts itself.
    """
    total = np.ones(len(vectors))
    for members in clusters.members():
        if len(members):
            rows = unit(np.asarray(vectors[members]))
            for span in spans(len(rows), 1, TILE):
                total[members[span]] = np.maximum(_mass(rows[span], rows, bandwidth), 1)
    return total


def _mass(
    rows: Float32[np.ndarray, "b d"], others: Float32[np.ndarray, "c d"], bandwidth: float
) -> Float64[np.ndarray, "b"]:
    """Sum of the kernel of each row over all others, in blocks."""
    mass = np.zeros(len(rows))
    for span in spans(len(others), 1, TILE):
        kernel = rows @ others[span].T
        kernel -= 1
        # A cosine may exceed 1 by its last digit.
        np.minimum(kernel, 0, out=kernel)
        kernel /= np.float32(bandwidth)
        mass += np.exp(kernel, out=kernel).sum(axis=1, dtype=np.float64)
    return mass
