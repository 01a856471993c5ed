"""The family of masked autoencoders: a Gaussian likelihood around the prediction turns errors into nats."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Shaped

from optidel.arrays import Scores
from optidel.errors import InputError

Scorer = Literal["error", "pvi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Information:
    """V-entropies of n images, image by image.

    ``null`` (n,) is −log f_∅\\[∅](y) and ``conditional`` (n,) −log f\\[x](y), both in nats per image, that
    is, for all ``values`` numbers predicted of one image together: divide by ``values`` for nats per value
    (one colour channel of one pixel). Where y is a choice between candidates, ``values`` is 1.
    """

    null: Float64[np.ndarray, "n"]
    conditional: Float64[np.ndarray, "n"]
    values: int

    @property
    def pvi(self) -> Float64[np.ndarray, "n"]:
        """Pointwise V-information (n,), nats per image: low is hard, below 0 the model does worse than
        knowing nothing.
        """
        difference = self.null - self.conditional
        return np.asarray(difference)

    @property
    def h_null(self) -> float:
        """H_V(Y|∅), nats per image."""
        return float(self.null.mean())

    @property
    def h_conditional(self) -> float:
        """H_V(Y|X), nats per image."""
        return float(self.conditional.mean())

    @property
    def information(self) -> float:
        """I_V(X→Y) = H_V(Y|∅) − H_V(Y|X), nats per image."""
        return self.h_null - self.h_conditional


def information(
    error: Scores,
    null_error: Scores,
    values: int,
    *,
    variance: float | None = None,
    null_variance: float | None = None,
    floor: float = 0.0,
) -> Information:
    """V-information of a Gaussian family from the squared errors of the model and of the null model.

    The family holds every variance, as it holds every weight; so each of the two models has its own, and on a
    linear-Gaussian pair the result is Shannon's −½·log(1 − ρ²).

    Args:
        error: float (n,), mean squared error per value of each image under the model.
        null_error: float (n,), the same under the null model, which knows nothing of the image: see
            :func:`null_errors`.
        values: how many numbers were predicted of each image.
        variance: σ² of the model, estimated on other images; by default that of each image is estimated on
            all the others.
        null_variance: σ² of the null model, likewise.
        floor: the least σ², for sets that a model predicts without any error: the variance of the rounding to
            whole grey levels, say.

    Raises:
        InputError: errors negative, not finite or of unequal lengths; a single image without a given
            variance; a variance of 0.

    Source: Xu et al., ICLR 2020, definitions 1 to 3 (arXiv 2002.10689).
    """
    if np.shape(error) != np.shape(null_error):
        raise InputError(
            f"error and null_error must have one shape, got {np.shape(error)} and {np.shape(null_error)}"
        )
    null = surprisal(null_error, values, variance=null_variance, floor=floor)
    conditional = surprisal(error, values, variance=variance, floor=floor)
    return Information(null=null, conditional=conditional, values=values)


def surprisal(
    error: Scores, values: int, *, variance: float | None = None, floor: float = 0.0
) -> Float64[np.ndarray, "n"]:
    """−log N(y; ŷ, σ²·I) of every image, nats per image: values/2 · (log 2πσ² + error/σ²). Its mean is the
    V-entropy.

    Args:
        error: float (n,), mean squared error per value.
        values: numbers predicted of one image.
        variance: σ²; by default the mean error of the *other* images, so that no image is judged by a
            variance fitted to it.
        floor: the least σ².

    Raises:
        InputError: as :func:`information`.
    """
    squared = _checked(error)
    if values < 1:
        raise InputError(
            f"values must be how many numbers were predicted of an image, at least 1, got {values}"
        )
    if variance is None:
        if len(squared) < 2:
            raise InputError(
                "the variance of one image cannot be estimated on others; "
                "pass variance=, or two images or more"
            )
        spread = (squared.sum() - squared) / (len(squared) - 1)
    else:
        spread = np.full(len(squared), float(variance))
    spread = np.maximum(spread, floor)
    if not (spread > 0).all():
        raise InputError(
            "the residual variance is 0, so the V-entropy is minus infinity; "
            "pass floor=, the variance of the rounding of y"
        )
    return np.asarray(values / 2 * (np.log(2 * np.pi * spread) + squared / spread))


def null_errors(targets: Shaped[np.ndarray, "n ..."]) -> Float64[np.ndarray, "n"]:
    """Mean squared error (n,) of the null model on each row: it predicts the mean of all *other* rows.

    Args:
        targets: numbers (n, …), y of every image.

    Raises:
        InputError: a single row.
    """
    if len(targets) < 2:
        raise InputError("the null model of one image has nothing to take a mean of; pass two images or more")
    rows = np.asarray(targets, np.float64).reshape(len(targets), -1)
    squared = np.square(rows - rows.mean(axis=0))
    # x − mean of the others = n/(n − 1) · (x − mean of all)
    return np.asarray(squared.mean(axis=1) * left_out(len(rows)))


def left_out(n: int) -> float:
    """What turns a squared distance to the mean of n rows into that to the mean of the other n − 1."""
    ratio = n / (n - 1)
    return ratio**2


def difficulty(error: Scores, null_error: Scores, scorer: Scorer) -> Float64[np.ndarray, "n"]:
    """How hard each image is, higher is harder.

    Args:
        error: float (n,), mean squared error per value under the model.
        null_error: float (n,), under the null model.
        scorer: ``error`` for the error itself, which orders as the conditional V-entropy does; ``pvi`` for
            minus the pointwise V-information, nats per value.
    """
    if scorer == "error":
        return _checked(error)
    return -information(error, null_error, values=1).pvi


def _checked(error: Scores) -> Float64[np.ndarray, "n"]:
    squared = np.asarray(error, np.float64)
    if squared.ndim != 1 or not len(squared):
        raise InputError(
            f"errors must have shape (n,), one mean squared error per image, got {squared.shape}"
        )
    wrong = ~(np.isfinite(squared) & (squared >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"the error of row {row} is {squared[row]}; a mean squared error is finite and at least 0"
        )
    return squared
