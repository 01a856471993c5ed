"""How many images each kept one stands for, as weights of its loss."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from optidel.arrays import Indices, Vectors
from optidel.errors import InputError, RecipeError
from optidel.features.neighbours import nearest_rows
from optidel.features.rows import spans, unit
from optidel.records import Selection

# Greatest weight over the mean: beyond it a few rows would decide the loss, and their noise with it.
CLIP = 4.0


def represented_mass(
    vectors: Vectors, selection: Selection, *, clip: float = CLIP
) -> Float64[np.ndarray, "m"]:
    """The share of the corpus that each kept row stands for: the rows to which it is the most similar kept
    one.

    With these weights the mean loss over the selection estimates the mean loss over the corpus. They are for
    a selection that covers the corpus unevenly, as every balanced or de-duplicated one does.

    Args:
        vectors: float (n, d), memory-mapped if large, as they were selected.
        selection: of their rows; only ``indices`` are read.
        clip: greatest weight, as a multiple of the mean; at least 1. What is clipped is shared by the others
            in proportion, so the sum stays.

    Returns:
        float64 (m,), in the order of ``selection.indices``, with mean 1. A copy of an earlier kept row stands
        for no other row.

    Raises:
        InputError: the selection is of other rows.
        RecipeError: ``clip`` out of range.

    Source: the weights of a k-medoids coreset (Mirzasoleiman et al. 2020, CRAIG, arXiv 1906.01827, equation
        4); the clip is a common practice of importance sampling (Ionides 2008).
    """
    if clip < 1:
        raise RecipeError(f"clip must be at least 1, got {clip}; 4 lets a row count four times the mean")
    if len(selection.reason) != len(vectors):
        raise InputError(
            f"the selection is of {len(selection.reason)} rows, the vectors have {len(vectors)}; "
            "pass the vectors that were selected from"
        )
    return clipped(mass_of(vectors, selection.indices), clip)


def mass_of(vectors: Vectors, picks: Indices) -> Float64[np.ndarray, "m"]:
    """How many rows each pick stands for, in units of the mean, not clipped.

    Args:
        vectors: float (n, d), memory-mapped if large.
        picks: int64 (m,), the rows kept.
    """
    kept = unit(np.asarray(vectors[picks]))
    mass = np.zeros(len(kept))
    for span in spans(*vectors.shape):
        nearest, _ = nearest_rows(unit(np.asarray(vectors[span])), kept)
        mass += np.bincount(nearest, minlength=len(kept))
    return np.asarray(mass / mass.mean())


def with_weights(vectors: Vectors, selection: Selection, *, clip: float = CLIP) -> Selection:
    """The selection with :func:`represented_mass` as its ``weights``; every other field stays."""
    return replace(selection, weights=represented_mass(vectors, selection, clip=clip))


def balanced_weights(labels: Int64[np.ndarray, "m"], *, clip: float = CLIP) -> Float64[np.ndarray, "m"]:
    """Weights with which every concept counts alike, however many rows it has.

    Args:
        labels: int64 (m,), concept of each kept row.
        clip: as in :func:`represented_mass`: a concept of one row among hundreds is not shown hundreds of
            times as often as it would be.

    Returns:
        float64 (m,), with mean 1; those of a concept are equal.

    Raises:
        RecipeError: ``clip`` out of range.

    Source: class-balanced sampling; over the clusters of an embedding, Vo et al. 2024 (arXiv 2405.15613).

    >>> balanced_weights(np.array([0, 0, 0, 1])).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    if clip < 1:
        raise RecipeError(f"clip must be at least 1, got {clip}; 4 lets a row count four times the mean")
    sizes = np.bincount(labels)
    weights = 1 / sizes[labels]
    return clipped(weights / weights.mean(), clip)


def clipped(weights: Float64[np.ndarray, "m"], clip: float) -> Float64[np.ndarray, "m"]:
    """Weights of mean 1 that are at most ``clip``: the scale of the others rises until the sum is right."""
    at_limit = np.zeros(len(weights), dtype=bool)
    while True:
        left = len(weights) - clip * at_limit.sum()
        rest = weights[~at_limit].sum()
        if rest == 0:
            # Only copies are left: they share what the clipped rows may not have.
            free = max(1, (~at_limit).sum())
            return np.where(at_limit, clip, left / free)
        scaled = weights * (left / rest)
        beyond = ~at_limit & (scaled > clip)
        if not beyond.any():
            return np.where(at_limit, clip, scaled)
        at_limit |= beyond
