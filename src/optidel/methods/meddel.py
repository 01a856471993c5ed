"""MedDEL: inside each cluster keep one of every group of images closer than a radius."""

from typing import Literal

import numpy as np
from jaxtyping import Float32

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.features.clusters import Clusters, cluster, default_k
from optidel.features.neighbours import earlier_similarity
from optidel.features.rows import unit
from optidel.methods.inputs import check_choice, check_k
from optidel.methods.outcome import cluster_twins, outcome
from optidel.records import Selection

DECIMALS = 6
"""Cosines of float32 rows are right to about 1e-6; rounding makes exact copies tie, so that row order decides and not the noise."""

Keep = Literal["farthest", "nearest"]


def meddel(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    k: int | None = None,
    keep: Keep = "farthest",
) -> Selection:
    """Drop near-duplicates with the radius at which exactly ``count`` rows stay.

    Every row has one threshold: its similarity to the closest row that precedes it in its cluster. At radius ε a row goes if its
    threshold exceeds 1 − ε, so sorting the thresholds finds the radius exactly; ties stay in row order. The rows kept at a smaller
    count are a prefix, given the same ``k``.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering.
        k: clusters, at most ``count`` (each keeps at least one row); default √n, at most ``count``.
        keep: which of two near-duplicates stays: the one farther from the centroid (SemDeDup's rule) or the nearer, more typical one.

    Returns:
        The selection, most novel first. Gain: 1 − threshold, the radius below which the row stays; 2 for the first of a cluster. So the
        last gain is the radius that meets the budget. Each dropped row names the most similar row that stays in its cluster.

    Raises:
        RecipeError: ``k`` or ``keep`` out of range.

    Source: MedDEL (arXiv 2401.17542, section 3), after SemDeDup (Abbas et al. 2023, arXiv 2303.09540, algorithm A7).
    """
    check_choice("keep", keep, ("farthest", "nearest"))
    if k is not None and k > count:
        raise RecipeError(f"k must be at most the {count} items the budget keeps, since each cluster keeps one, got {k}")
    check_k(k, len(vectors))
    clusters = cluster(vectors, min(count, default_k(len(vectors))) if k is None else k, rng=rng)
    novelty = novelties(vectors, clusters, keep)
    chosen = np.argsort(-novelty, kind="stable")[:count]
    twins = cluster_twins(vectors, clusters, chosen)
    return outcome(len(vectors), chosen, novelty[chosen], dropped="within radius of twin", twins=twins)


def novelties(vectors: Vectors, clusters: Clusters, keep: Keep) -> Float32[np.ndarray, "n"]:
    """1 − cosine similarity of each row to the closest row that precedes it in its cluster; 2 for the first, so that it always stays.

    Args:
        vectors: float (n, d), memory-mapped if large.
        clusters: the partition.
        keep: the row that precedes: the one farther from the centroid, or the nearer; the lower row number at a tie.

    Similarities are rounded to 6 decimals.
    """
    novelty = np.empty(len(vectors), dtype=np.float32)
    for members in clusters.members():
        typical = clusters.similarity[members].round(DECIMALS)
        ordered = members[np.argsort(typical if keep == "farthest" else -typical, kind="stable")]
        radius = 1 - earlier_similarity(unit(np.asarray(vectors[ordered])))
        # A row opposite to all before it would tie with the first one, which must come before.
        novelty[ordered] = np.minimum(radius.round(DECIMALS), np.nextafter(np.float32(2), np.float32(0)))
        novelty[ordered[:1]] = 2.0
    return novelty
