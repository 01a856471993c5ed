"""MedDEL: inside each cluster, and across its borders, keep one of every group of images closer than a
radius.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.features.clusters import Clusters, cluster, default_k
from optidel.features.neighbours import earlier_similarity
from optidel.features.rows import unit
from optidel.methods.inputs import check_choice, check_k
from optidel.methods.outcome import cluster_twins, outcome
from optidel.records import Selection

# Cosines of float32 rows are right to about 1e-6; rounding makes exact copies tie, so that row order decides
# and not the noise.
DECIMALS = 6

# A row whose distances to two centroids differ by no more than this share lies at their border. A round
# number: in the test of copies across borders it leaves less than a third of them.
BORDER = 0.1

Keep = Literal["farthest", "nearest"]


def meddel(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    k: int | None = None,
    keep: Keep = "farthest",
    border: float = BORDER,
    epsilon: float | None = None,
) -> Selection:
    """Drop near-duplicates with the radius at which exactly ``count`` rows stay.

    Every row has one threshold: its similarity to the closest row that precedes it in its cluster, or in a
    cluster at whose border it lies. Without the border, copies on either side of it would both stay, and each
    would cost another row. At radius ε a row goes if its threshold exceeds 1 − ε, so sorting the thresholds
    finds the radius exactly; ties stay in row order. The rows kept at a smaller count are a prefix for the
    same ``k``.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering.
        k: clusters, at most ``count`` (each keeps at least one row); default √n, at most ``count``.
        keep: which of two near-duplicates stays: the one farther from the centroid (SemDeDup's rule) or the
            nearer, more typical one.
        border: a row is compared in the cluster of its second centroid too, if that is farther than its own
            by at most this share; 0: the papers' rule, every row in its own cluster alone.
        epsilon: cosine distance in (0, 2]; a row farther than this from its centroid is disruptive or invalid
            and goes first, whatever ``keep`` says. MedDEL publishes 0.9. None, the default, deletes nothing:
            how far a row is from its centroid depends on the embedding, and in a whitened one ordinary images
            are at 0.5 to 0.9. If fewer than ``count`` rows are within ε, the nearest of the others fill up.

    Returns:
        The selection, most novel first. Gain: 1 − threshold, the radius below which the row stays; 2 for one
        of each cluster. So the last gain is the radius that meets the budget. Each dropped row names the most
        similar row that stays of those it is compared with.

    Raises:
        RecipeError: ``k``, ``keep``, ``border`` or ``epsilon`` out of range.

    Source: MedDEL (arXiv 2401.17542v3, section 3 and algorithm 1), after SemDeDup (Abbas et al. 2023, arXiv
        2303.09540, algorithm A7); borders are ours. The paper fixes the radius, 1 − η with η = 0.9, 0.85,
        0.8, 0.75 and 0.7 for 50, 33, 20, 10 and 5 %; here the budget decides it.
    """
    check_choice("keep", keep, ("farthest", "nearest"))
    if not 0 <= border < np.inf:
        raise RecipeError(f"border must be a share, 0 or more, got {border}; the default is {BORDER}")
    if epsilon is not None and not 0 < epsilon <= 2:
        raise RecipeError(f"epsilon must be a cosine distance in (0, 2], got {epsilon}; 0.9 is MedDEL's")
    if k is None:
        k = min(count, default_k(len(vectors)))
    elif k > count:
        raise RecipeError(
            f"k must be at most the {count} items the budget keeps, since each cluster keeps one, got {k}"
        )
    check_k(k, len(vectors))
    clusters = cluster(vectors, k, rng=rng, border=border)
    disruptive = _disruptive(clusters, count, epsilon)
    novelty = novelties(vectors, clusters, keep, disruptive)
    picks = np.argsort(-novelty, kind="stable")[:count]

    dropped = np.where(disruptive, "beyond epsilon of its centroid", "within radius of twin")
    twins = cluster_twins(vectors, clusters, picks)
    return outcome(len(vectors), picks, novelty[picks], dropped=dropped, twins=twins)


def _disruptive(clusters: Clusters, count: int, epsilon: float | None) -> Bool[np.ndarray, "n"]:
    """Which rows are farther than ε from their centroid; at least ``count`` rows are not."""
    distance = (1 - clusters.similarity).round(DECIMALS)
    beyond = distance > (np.inf if epsilon is None else epsilon)
    if (~beyond).sum() < count:
        beyond[np.argsort(distance, kind="stable")[:count]] = False
    return beyond


def novelties(
    vectors: Vectors, clusters: Clusters, keep: Keep, disruptive: Bool[np.ndarray, "n"] | None = None
) -> Float32[np.ndarray, "n"]:
    """1 − cosine similarity of each row to the closest row that precedes it in its cluster or in one that it
    is a guest of.

    The most novel row of each cluster has 2, so that it always stays. It is the first row, unless a row
    precedes that one across a border.

    Args:
        vectors: float (n, d), memory-mapped if large.
        clusters: the partition.
        keep: the row that precedes: the one farther from its centroid, or the nearer; the lower row number at
            a tie.
        disruptive: bool (n,), rows that no row is compared with; theirs is −1, below all others.

    Similarities are rounded to 6 decimals.
    """
    direction = 1 if keep == "farthest" else -1
    typical = clusters.similarity.round(DECIMALS) * direction
    novelty = np.full(len(vectors), 2.0, dtype=np.float32)
    if disruptive is None:
        disruptive = np.zeros(len(vectors), dtype=bool)
    for rows in clusters.neighbourhoods():
        rows = rows[~disruptive[rows]]
        ordered = rows[np.argsort(typical[rows], kind="stable")]
        rows_in_order = unit(np.asarray(vectors[ordered]))
        radius = 1 - earlier_similarity(rows_in_order)
        novelty[ordered] = np.minimum(novelty[ordered], radius.round(DECIMALS))
    novelty[disruptive] = -1
    # A row opposite to all before it ties with the first one, which must come before.
    by_cluster = np.lexsort((typical, -novelty, clusters.labels))
    _, starts = np.unique(clusters.labels[by_cluster], return_index=True)
    below_two = np.nextafter(np.float32(2), np.float32(0))
    novelty = np.minimum(novelty, below_two)
    first = by_cluster[starts]
    novelty[first[~disruptive[first]]] = 2.0
    return novelty
