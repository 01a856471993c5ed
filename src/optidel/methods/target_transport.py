"""Optimal transport: the rows from which the target can be reached at the least cost, none used twice."""

import numpy as np
from jaxtyping import Float32, Float64

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.features.rows import random_order, spans, unit
from optidel.methods.outcome import outcome
from optidel.methods.quotas import systematic_rounding, weighted_shares
from optidel.records import Selection

# Scalings of rows and columns in turn, at most. A round number.
ITERATIONS = 200
# Share of the mass that may still be misplaced when the iteration ends.
TOLERANCE = 1e-4
# Least exponent of the kernel: below it a float32 loses digits.
LEAST_EXPONENT = np.float32(-80)
# Cosines of float32 rows are right to about 1e-6; where target and corpus are all copies the distance is not
# 0.
SMALLEST_DISTANCE = 1e-6
# Mass of a row that none reaches, in units of the limit: below every mass that counts.
UNREACHED = 1e-12


def target_transport(
    vectors: Vectors,
    count: int,
    *,
    target: Vectors,
    rng: np.random.Generator,
    regularisation: float = 0.02,
) -> Selection:
    """Move the mass of the target to corpus rows at the least cosine distance, at most 1/count to each row.

    The limit makes rows compete: target images that lie close together take their share from farther away.
    Without regularisation the optimum fills exactly ``count`` rows. With it a row is kept with the
    probability that its mass has of the limit, by systematic sampling over the target images, so that each
    has its part.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        target: float (t, d), unlabelled images of the target in the same embedding. n·t float32 are held.
        rng: the sampling.
        regularisation: of the entropy, as a share of the median distance between target and corpus, so that
            the scale of the embedding does not matter; at least 0.005. Smaller is sharper and takes longer.

    Returns:
        The selection, most mass first, at a tie the most similar. Gain: mass in units of its limit, 0 to 1.

    Raises:
        RecipeError: ``regularisation`` out of range.

    Source: Sinkhorn scaling (Cuturi 2013, arXiv 1306.0895) with a capacity for each row (Benamou et al. 2015,
        arXiv 1412.5154, section 5); as a choice of data, after Kang et al. 2024 (arXiv 2405.02774).
    """
    if not 0.005 <= regularisation < np.inf:
        raise RecipeError(f"regularisation must be at least 0.005, got {regularisation}; 0.02 is the default")
    n = len(vectors)
    cosine = _cosines(vectors, unit(np.asarray(target)))
    mass = _row_mass(cosine, 1 / count, regularisation) * count
    # Rows that no mass reaches come in where the others do not suffice.
    mass = weighted_shares(np.ones(n, dtype=np.int64), count, mass + UNREACHED)

    nearest = cosine.argmax(axis=1)
    order = random_order(vectors, rng)
    order = order[np.argsort(nearest[order], kind="stable")]
    kept = order[systematic_rounding(mass[order], count, rng) == 1]
    similarity = cosine[kept, nearest[kept]].round(6)
    picks = kept[np.lexsort((-similarity, -mass[kept].round(4)))]
    return outcome(n, picks, mass[picks], dropped="little mass of the target")


def _cosines(vectors: Vectors, targets: Float32[np.ndarray, "t d"]) -> Float32[np.ndarray, "n t"]:
    cosine = np.empty((len(vectors), len(targets)), dtype=np.float32)
    for span in spans(*vectors.shape):
        cosine[span] = unit(np.asarray(vectors[span])) @ targets.T
    return cosine


def _row_mass(
    cosine: Float32[np.ndarray, "n t"], capacity: float, regularisation: float
) -> Float64[np.ndarray, "n"]:
    """Mass that each row receives when every target image gives 1/t and no row takes more than the capacity.

    The rows are scaled down to the capacity and the columns to 1/t in turn, which alternates two projections.
    """
    t = cosine.shape[1]
    # In a narrow cone all distances are small, and so is what counts as a difference of them.
    scale = max(float(np.median(1 - cosine)), SMALLEST_DISTANCE)
    # The nearest row of every target image has the kernel 1: nothing underflows, and the scaling takes it
    # back.
    exponent = (cosine - cosine.max(axis=0)) / np.float32(regularisation * scale)
    kernel = np.exp(np.maximum(exponent, LEAST_EXPONENT))
    column_scale = np.full(t, 1 / t)
    for _ in range(ITERATIONS):
        received = kernel @ column_scale.astype(np.float32)
        row_scale = np.minimum(1.0, capacity / np.maximum(received, np.finfo(np.float32).tiny))
        given = kernel.T @ row_scale.astype(np.float32)
        column_scale = 1 / (t * given.astype(np.float64))
        mass = row_scale * (kernel @ column_scale.astype(np.float32))
        if np.maximum(mass - capacity, 0).sum() < TOLERANCE:
            break
    return np.asarray(mass, dtype=np.float64)
