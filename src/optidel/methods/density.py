"""Density sampling: rows in crowded places are drawn less often."""

import numpy as np
from jaxtyping import Float64

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.features.clusters import Clusters, cluster
from optidel.features.rows import content_keys, spans, unit
from optidel.methods.inputs import check_k
from optidel.methods.outcome import outcome
from optidel.records import Selection

TILE = 2048


def density(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    bandwidth: float | None = None,
    k: int | None = None,
) -> Selection:
    """Draw rows without replacement, each with a weight of 1 over its kernel density.

    The density of a row is Σ exp(−(1 − cosine)/bandwidth) over the rows of its cluster, itself included: with
    a bandwidth that small, rows of other clusters hardly count, and the sum costs n²/k instead of n². ``k=1``
    gives the sum over all rows. A smaller count keeps a prefix.

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
    width = max(1e-6, 0.1 * float(np.median(1 - clusters.similarity))) if bandwidth is None else bandwidth
    weight = 1 / kernel_density(vectors, clusters, width)
    uniform = (content_keys(vectors, rng) >> np.uint64(11)).astype(np.float64) / 2**53
    chosen = np.argsort(np.log1p(-uniform) / -weight, kind="stable")[:count]
    return outcome(len(vectors), chosen, weight[chosen], dropped="not drawn")


def kernel_density(vectors: Vectors, clusters: Clusters, bandwidth: float) -> Float64[np.ndarray, "n"]:
    """Sum of exp(−(1 − cosine)/bandwidth) over the rows of the same cluster; at least 1, since a row counts
    itself.
    """
    total = np.ones(len(vectors))
    for members in clusters.members():
        rows = unit(np.asarray(vectors[members])) if len(members) else np.empty((0, 1), dtype=np.float32)
        for span in spans(len(rows), 1, TILE):
            mass = np.zeros(span.stop - span.start)
            for other in spans(len(rows), 1, TILE):
                kernel = rows[span] @ rows[other].T
                kernel -= 1
                np.minimum(kernel, 0, out=kernel)
                kernel /= np.float32(bandwidth)
                mass += np.exp(kernel, out=kernel).sum(axis=1, dtype=np.float64)
            total[members[span]] = np.maximum(mass, 1)
    return total
