"""Whole images to classes on frozen features: nearest neighbours and a logistic probe.

Several labels an image are several columns, and some may not be known; one label of several classes is one
column a class. Everything is an array function, and nothing is drawn.

Legend: N training images, M test images, D features, K columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy import optimize
from scipy.special import expit, logsumexp, softmax

from optidel.errors import InputError
from optidel.evaluation.ridge import fold_of

# Neighbours that vote; 20 as in the evaluation of DINO (arXiv 2104.14294).
NEIGHBOURS = 20

# Of the softmax over similarities, also from DINO.
TEMPERATURE = 0.07

# Penalties that the folds choose among, per image; a decade apart, the loss is flat in between.
PENALTIES = tuple(float(value) for value in np.logspace(-5, 1, 7))

# Probabilities are kept this far from 0 and 1, so that no single image has an infinite loss.
TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticProbe:
    """A linear map from standardised features to logits. ``exclusive``: one class an image (softmax)."""

    weights: Float64[np.ndarray, "d k"]
    bias: Float64[np.ndarray, "k"]
    mean: Float64[np.ndarray, "d"]
    scale: Float64[np.ndarray, "d"]
    penalty: float
    exclusive: bool

    def probabilities(self, features_MD: Float[np.ndarray, "m d"]) -> Float64[np.ndarray, "m k"]:
        """The probability of every column."""
        standard = (np.asarray(features_MD, dtype=np.float64) - self.mean) / self.scale
        logits = standard @ self.weights + self.bias
        return np.asarray(softmax(logits, axis=1) if self.exclusive else expit(logits))


def neighbour_probabilities(
    features_ND: Float[np.ndarray, "n d"],
    labels_NK: Bool[np.ndarray, "n k"],
    queries_MD: Float[np.ndarray, "m d"],
    neighbours: int = NEIGHBOURS,
    known_NK: Bool[np.ndarray, "n k"] | None = None,
) -> Float64[np.ndarray, "m k"]:
    """Probabilities by vote of the most similar training images, weighted by similarity.

    Where a label is not known, an image has no vote on it; where none of the neighbours has one, the share
    among all training images stands in.

    Args:
        features_ND: of the training images; compared by cosine.
        labels_NK: of the training images.
        queries_MD: features of the images asked about.
        neighbours: that vote.
        known_NK: which labels are known; all by default.

    Source: Wu et al. 2018, arXiv 1805.01978, the weighted vote, with DINO's numbers.
    """
    known_NK = _known(features_ND, labels_NK, known_NK)
    count = min(neighbours, len(features_ND))
    training_ND, query_MD = _unit(features_ND), _unit(queries_MD)
    similarity_MN = query_MD @ training_ND.T
    # A stable order, so that equal similarities go to the earlier image on every machine.
    order_MC = np.argsort(-similarity_MN, axis=1, kind="stable")[:, :count]
    nearest_MC = np.take_along_axis(similarity_MN, order_MC, axis=1)
    logit_MC = nearest_MC / TEMPERATURE
    weight_MC = softmax(logit_MC, axis=1)
    votes_MCK = (labels_NK & known_NK)[order_MC].astype(np.float64)
    cast_MCK = known_NK[order_MC].astype(np.float64)
    votes_MK = np.einsum("mc,mck->mk", weight_MC, votes_MCK)
    cast_MK = np.einsum("mc,mck->mk", weight_MC, cast_MCK)
    share_K = (labels_NK & known_NK).sum(axis=0) / np.maximum(known_NK.sum(axis=0), 1)
    return np.asarray(np.where(cast_MK > 0, votes_MK / np.maximum(cast_MK, TINY), share_K))


def fit_logistic(
    features_ND: Float[np.ndarray, "n d"],
    labels_NK: Bool[np.ndarray, "n k"],
    *,
    exclusive: bool,
    groups: Sequence[str | None] | None = None,
    known_NK: Bool[np.ndarray, "n k"] | None = None,
) -> LogisticProbe:
    """Logistic regression with a penalty chosen on folds of whole groups.

    Minimises the mean loss of an image plus penalty/2 · the squared weights of standardised features, by
    L-BFGS in float64 from zero: convex, so the start does not matter.

    Args:
        features_ND: of the training images.
        labels_NK: with ``exclusive`` one true column a row.
        exclusive: one class an image, else every column on its own.
        groups: what must not stand on both sides of a fold.
        known_NK: which labels are known and so have a loss; all by default, and always all with
            ``exclusive``.

    Raises:
        InputError: no image, shapes that differ, or rows without exactly one class.
    """
    known_NK = _known(features_ND, labels_NK, known_NK)
    if exclusive and not (known_NK.all() and (labels_NK.sum(axis=1) == 1).all()):
        raise InputError("every image must have exactly one class; pass exclusive=False for several labels")
    folds = fold_of(groups or [None] * len(features_ND))
    middle = len(PENALTIES) // 2
    penalty = PENALTIES[middle]  # where all images are of one group
    if folds.max() > 0:
        losses = [
            _held_out_loss(features_ND, labels_NK, known_NK, folds, penalty, exclusive)
            for penalty in PENALTIES
        ]
        penalty = PENALTIES[int(np.argmin(losses))]
    return _fit(features_ND, labels_NK, known_NK, penalty, exclusive)


def _known(
    features: Float[np.ndarray, "n d"],
    labels: Bool[np.ndarray, "n k"],
    known: Bool[np.ndarray, "n k"] | None,
) -> Bool[np.ndarray, "n k"]:
    """Which labels are known, once features and labels are sound."""
    if known is None:
        known = np.ones_like(labels, dtype=bool)
    if len(features) == 0 or len(features) != len(labels) or known.shape != labels.shape:
        raise InputError(
            f"{len(features)} features and {len(labels)} labels; pass one row of labels for each image"
        )
    if not np.isfinite(features).all():
        raise InputError("features must be finite; the encoder gave NaN or infinite values")
    return known


def _unit(features: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    values = np.asarray(features, dtype=np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    length = np.maximum(length, TINY)
    return np.asarray(values / length)


def _held_out_loss(
    features_ND: Float[np.ndarray, "n d"],
    labels_NK: Bool[np.ndarray, "n k"],
    known_NK: Bool[np.ndarray, "n k"],
    folds: Int64[np.ndarray, "n"],
    penalty: float,
    exclusive: bool,
) -> float:
    """Log loss of every image under the probe of the other folds."""
    total = 0.0
    for fold in range(int(folds.max()) + 1):
        inside = folds != fold
        probe = _fit(features_ND[inside], labels_NK[inside], known_NK[inside], penalty, exclusive)
        probability = probe.probabilities(features_ND[~inside]).clip(TINY, 1 - TINY)
        truth, is_known = labels_NK[~inside], known_NK[~inside]
        losses = np.log(probability[truth & is_known])
        total -= float(losses.sum())
        if not exclusive:
            losses = np.log(1 - probability[~truth & is_known])
            total -= float(losses.sum())
    return total


def _fit(
    features_ND: Float[np.ndarray, "n d"],
    labels_NK: Bool[np.ndarray, "n k"],
    known_NK: Bool[np.ndarray, "n k"],
    penalty: float,
    exclusive: bool,
) -> LogisticProbe:
    """The probe of one penalty."""
    values = np.asarray(features_ND, dtype=np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)  # a feature that never changes has no weight
    x_ND = (values - mean) / scale
    y_NK = labels_NK.astype(np.float64)
    weight_NK = known_NK.astype(np.float64)
    (count, width), columns = x_ND.shape, y_NK.shape[1]

    def loss(flat: Float64[np.ndarray, "p"]) -> tuple[float, Float64[np.ndarray, "p"]]:
        weights, bias = flat[columns:].reshape(width, columns), flat[:columns]
        logits = x_ND @ weights + bias
        if exclusive:
            normaliser = logsumexp(logits, axis=1, keepdims=True)
            losses = normaliser[:, 0] - (logits * y_NK).sum(axis=1)
            apart = np.exp(logits - normaliser) - y_NK
        else:
            losses = ((np.logaddexp(0, logits) - logits * y_NK) * weight_NK).sum(axis=1)
            apart = (expit(logits) - y_NK) * weight_NK
        value = losses.mean() + penalty / 2 * (weights**2).sum()
        slope = x_ND.T @ apart / count + penalty * weights
        return float(value), np.concatenate([apart.mean(axis=0), slope.ravel()])

    start = np.zeros(columns * (width + 1))
    # Far more steps than a convex problem of this size takes.
    options = {"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-8}
    flat = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return LogisticProbe(
        weights=flat[columns:].reshape(width, columns),
        bias=flat[:columns],
        mean=mean,
        scale=scale,
        penalty=penalty,
        exclusive=exclusive,
    )
