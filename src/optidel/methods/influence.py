"""Influence: the rows whose training step lowers the held-out loss most, kept diverse."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float64

from optidel.arrays import Scores, Vectors
from optidel.errors import InputError
from optidel.methods.optidel_paper import optidel_paper
from optidel.records import Selection


def influence(
    vectors: Vectors,
    count: int,
    *,
    influences: Scores,
    rng: np.random.Generator,
    radius: float | None = None,
    quota_slack: float = 2.0,
    k: int | None = None,
) -> Selection:
    """Take the rows of the greatest influence such that no cluster and no neighbourhood takes too many.

    Influences are of single rows: the second copy of a useful row lowers the loss as much by its own score
    and not at all in truth. The quotas and the radius of :func:`~optidel.methods.optidel_paper.optidel_paper`
    prevent that.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        influences: float (n,), the influence of each row; higher lowers the held-out loss more:
            :func:`influence_scores` or :func:`ghost_influence`.
        rng: the clustering.
        radius: as in ``optidel-paper``.
        quota_slack: as in ``optidel-paper``.
        k: clusters; default √n, at most ``count``.

    Returns:
        The selection in the order of the picks. Gain: the influence.

    Raises:
        RecipeError: a parameter out of range.

    Source: TracIn (Pruthi et al. 2020, arXiv 2002.08484) and In-Run Data Shapley (Wang et al. 2024, arXiv
        2406.11011), first order.
    """
    selection = optidel_paper(
        vectors, count, difficulty=influences, rng=rng, radius=radius, quota_slack=quota_slack, k=k
    )
    # What that method calls hard is influential here.
    reason = np.where(selection.reason == "less hard", "less influence", selection.reason)
    return replace(selection, reason=reason)


def influence_scores(
    row_gradients: Float[np.ndarray, "c n p"],
    held_out_gradients: Float[np.ndarray, "c p"],
    rates: Float[np.ndarray, "c"],
) -> Float64[np.ndarray, "n"]:
    """By how much a training step on each row lowers the held-out loss, to first order, summed over
    checkpoints.

    Args:
        row_gradients: float (c, n, p), gradient of the loss of each row at each checkpoint, for some of the
            parameters (those of the last block are enough).
        held_out_gradients: float (c, p), gradient of the mean held-out loss.
        rates: float (c,), learning rate at each checkpoint, at least 0.

    Returns:
        float64 (n,), Σ over checkpoints of rate · ⟨row gradient, held-out gradient⟩; positive lowers the
        loss.

    Raises:
        InputError: shapes that do not fit.

    Source: TracIn (Pruthi et al. 2020, arXiv 2002.08484, section 3).
    """
    checkpoints, _, parameters = row_gradients.shape
    if held_out_gradients.shape != (checkpoints, parameters) or rates.shape != (checkpoints,):
        raise InputError(
            f"row gradients of shape {row_gradients.shape} need held-out gradients of shape "
            f"{(checkpoints, parameters)} and {checkpoints} rates, got {held_out_gradients.shape} and "
            f"{rates.shape}"
        )
    step = held_out_gradients.astype(np.float64) * rates[:, None]
    scores: Float64[np.ndarray, n] = np.einsum("cnp,cp->n", row_gradients, step)
    return scores


def ghost_influence(
    inputs: Float[np.ndarray, "n l i"],
    output_gradients: Float[np.ndarray, "n l o"],
    held_out_gradient: Float[np.ndarray, "o i"],
) -> Float64[np.ndarray, "n"]:
    """Influence through one linear layer, without the gradient of any row.

    The gradient of a row is Σ over its tokens of output gradient ⊗ input. Its product with the held-out
    gradient G is Σ over tokens of output gradientᵀ · G · input, so no (o, i) matrix of a row is ever made.

    Args:
        inputs: float (n, l, i), what the layer reads at each of l tokens.
        output_gradients: float (n, l, o), gradient of the row's loss with respect to what the layer writes.
        held_out_gradient: float (o, i), gradient of the held-out loss with respect to the weights.

    Returns:
        float64 (n,); positive lowers the held-out loss.

    Source: the ghost dot product of In-Run Data Shapley (Wang et al. 2024, arXiv 2406.11011, section 4.2).
    """
    wide = inputs.astype(np.float64)
    projection = wide @ held_out_gradient.T
    scores: Float64[np.ndarray, n] = np.einsum("nlo,nlo->n", projection, output_gradients)
    return scores
