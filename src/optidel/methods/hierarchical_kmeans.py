"""Balanced sampling from a tree of k-means clusters: frequent concepts no longer crowd out rare ones."""

import itertools
from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import numpy as np
from jaxtyping import Int64

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.features.clusters import cluster, default_k
from optidel.features.rows import random_order
from optidel.methods.inputs import check_choice
from optidel.methods.outcome import outcome
from optidel.methods.quotas import water_fill, within_quota
from optidel.records import Selection

# Clusters of a level for each cluster above it: about the ratio of the paper's levels.
SHRINK = 10


def hierarchical_kmeans(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    levels: Sequence[int] | None = None,
    draw: Literal["random", "closest"] = "random",
) -> Selection:
    """Cluster rows, then the centroids, then theirs; share the count evenly at every branch, draw in the
    leaves.

    The paper's optional re-sampling of each level is not done.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clusterings and the draw.
        levels: clusters at each level from the leaves up, falling; default √n, then a tenth of the level
            below while that is at least 2.
        draw: in a leaf at random, or the rows closest to its centroid.

    Returns:
        The selection: the first of every leaf, then the second of every leaf, … Gain: how many rows of its
        leaf each stands for.

    Raises:
        RecipeError: ``levels`` not falling or out of range.

    Source: Vo et al. 2024, sections 3.2 and 3.3 (arXiv 2405.15613).
    """
    check_choice("draw", draw, ("random", "closest"))
    level_sizes = list(levels) if levels is not None else default_levels(len(vectors))
    _check_levels(level_sizes, len(vectors))

    leaves = cluster(vectors, level_sizes[0], rng=rng)
    parents, centroids = [], leaves.centroids
    for k in level_sizes[1:]:
        level = cluster(centroids, k, rng=rng)
        parents.append(level.labels)
        centroids = level.centroids
    sizes = np.bincount(leaves.labels, minlength=level_sizes[0])
    quota = leaf_quotas(sizes, parents, count)

    if draw == "random":
        order = random_order(vectors, rng)
    else:
        # To six decimals, the precision of a float32 cosine, so that copies tie.
        order = np.argsort(-leaves.similarity.round(6), kind="stable")
    picks = within_quota(order, leaves.labels, quota)
    leaf = leaves.labels[picks]
    gains = sizes[leaf] / quota[leaf]
    return outcome(len(vectors), picks, gains, dropped="quota of its leaf full")


def default_levels(n: int) -> list[int]:
    """√n leaves, then a tenth of the level below while that is at least 2."""
    levels = [default_k(n)]
    while levels[-1] // SHRINK >= 2:
        levels.append(levels[-1] // SHRINK)
    return levels


def leaf_quotas(
    sizes: Int64[np.ndarray, "k"], parents: Sequence[Int64[np.ndarray, "c"]], total: int
) -> Int64[np.ndarray, "k"]:
    """Share ``total`` from the top of the tree down, evenly between the children of each node as far as their
    rows allow.

    Args:
        sizes: int64 (k,), rows of each leaf.
        parents: for each level from the leaves up, the parent of each node.
        total: at most the sum of ``sizes``.
    """
    rows = [sizes]
    for parent in parents:
        nodes = int(parent.max()) + 1
        rows.append(np.bincount(parent, weights=rows[-1], minlength=nodes).astype(np.int64))

    quota = water_fill(rows[-1], total)
    for parent, below in zip(reversed(parents), reversed(rows[:-1]), strict=True):
        child_quota = np.zeros(len(below), dtype=np.int64)
        for node, share in enumerate(quota):
            children = np.flatnonzero(parent == node)
            if len(children):
                child_quota[children] = water_fill(below[children], int(share))
        quota = child_quota
    return quota


def _check_levels(levels: Sequence[int], n: int) -> None:
    whole = bool(levels) and all(isinstance(k, Integral) for k in levels)
    falls = whole and all(above < below for below, above in itertools.pairwise(levels))
    in_range = falls and levels[-1] >= 1 and levels[0] <= n
    if not in_range:
        raise RecipeError(
            f"levels must fall in whole numbers from at most {n} to at least 1, got {levels}; "
            "(100, 10) for example"
        )
