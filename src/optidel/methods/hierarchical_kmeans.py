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
from optidel.methods.quotas import water_fill
from optidel.records import Selection


def hierarchical_kmeans(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    levels: Sequence[int] | None = None,
    draw: Literal["random", "closest"] = "random",
) -> Selection:
    """Cluster rows, then the centroids, then theirs; share the count evenly at every branch from the top, and
    draw in the leaves.

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
    sizes_of_levels = list(levels) if levels is not None else default_levels(len(vectors))
    whole = all(isinstance(k, Integral) for k in sizes_of_levels)
    falls = whole and all(above < below for below, above in itertools.pairwise(sizes_of_levels))
    if not sizes_of_levels or not falls or sizes_of_levels[-1] < 1 or sizes_of_levels[0] > len(vectors):
        raise RecipeError(
            f"levels must fall in whole numbers from at most {len(vectors)} to at least 1, got {sizes_of_levels}; (100, 10) for example"
        )
    leaves = cluster(vectors, sizes_of_levels[0], rng=rng)
    tree, centroids = [leaves.labels], leaves.centroids
    for k in sizes_of_levels[1:]:
        level = cluster(centroids, k, rng=rng)
        tree.append(level.labels)
        centroids = level.centroids
    quota = leaf_quotas(np.bincount(leaves.labels, minlength=sizes_of_levels[0]), tree[1:], count)
    order = (
        random_order(vectors, rng)
        if draw == "random"
        else np.argsort(-leaves.similarity.round(6), kind="stable")
    )
    turn = np.empty(len(vectors), dtype=np.int64)
    by_leaf = order[np.argsort(leaves.labels[order], kind="stable")]
    sizes = np.bincount(leaves.labels, minlength=sizes_of_levels[0])
    turn[by_leaf] = np.arange(len(by_leaf)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = np.flatnonzero(turn < quota[leaves.labels])
    chosen = wanted[np.lexsort((leaves.labels[wanted], turn[wanted]))]
    gains = sizes[leaves.labels[chosen]] / quota[leaves.labels[chosen]]
    return outcome(len(vectors), chosen, gains, dropped="quota of its leaf full")


def default_levels(n: int) -> list[int]:
    """√n leaves, then a tenth of the level below while that is at least 2."""
    levels = [default_k(n)]
    while levels[-1] // 10 >= 2:
        levels.append(levels[-1] // 10)
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
        rows.append(np.bincount(parent, weights=rows[-1], minlength=int(parent.max()) + 1).astype(np.int64))
    quota = water_fill(rows[-1], total)
    for parent, below in zip(reversed(parents), reversed(rows[:-1]), strict=True):
        spread = np.zeros(len(below), dtype=np.int64)
        for node, share in enumerate(quota):
            children = np.flatnonzero(parent == node)
            if len(children):
                spread[children] = water_fill(below[children], int(share))
        quota = spread
    return quota
