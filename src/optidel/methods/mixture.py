"""Choosing a mixture of concepts by trials: train short proxies on random mixtures, regress, take the
optimum.

The way has three steps. :func:`propose_mixtures` draws shares of the concepts, one set of shares for each
proxy. :func:`draw_mixture` draws the images of a mixture, a proxy is trained on them, and its held-out loss H
is measured. :func:`fit_mixture` regresses H on the shares and returns the shares of the lowest prediction.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from optidel.arrays import Vectors
from optidel.errors import BudgetError, InputError, RecipeError
from optidel.features.rows import random_order
from optidel.methods.outcome import outcome
from optidel.methods.quotas import systematic_rounding, weighted_shares, within_quota
from optidel.records import Selection

# Pseudo-images of a proposal: shares scatter by about a third around those of the corpus for a concept with a
# tenth of it, which covers the neighbourhood without wasting proxies on a single concept.
CONCENTRATION = 10.0
# Mixtures among which the optimum is sought, and how many of the best are averaged: one alone would follow
# the error of the regression.
CANDIDATES = 20_000
BEST = 100
# Strengths of the ridge that cross-validation chooses from, in units of the features' variance: four decades
# around equal weight of data and prior.
RIDGES = np.geomspace(1e-2, 1e3, 26)
# Fewer proxies than this leave nothing to cross-validate.
LEAST_PROXIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The best mixture, and how far its prediction can be trusted.

    Args:
        shares: float64 (k,), share of each concept, with sum 1.
        predicted: H that the regression expects of it.
        predicted_natural: H that it expects of the shares of the corpus.
        error: root mean square of the leave-one-out errors of the regression, in the unit of H.
        spread: standard deviation of H over the proxies. An error that is not below it means that the shares
            explain nothing.
    """

    shares: Float64[np.ndarray, "k"]
    predicted: float
    predicted_natural: float
    error: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptShares:
    """What the method ``mixture`` draws by.

    Args:
        concepts: int64 (n,), concept of each row, 0 to k − 1.
        shares: float64 (k,), share of each concept, at least 0 and not all 0: :attr:`Mixture.shares`.
    """

    concepts: Int64[np.ndarray, "n"]
    shares: Float64[np.ndarray, "k"]


def mixture(vectors: Vectors, count: int, *, mixture: ConceptShares, rng: np.random.Generator) -> Selection:
    """Draw rows in the shares of the concepts at which the held-out loss is expected to be least.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        mixture: the concepts and their shares, as :func:`fit_mixture` found them.
        rng: the rounding of the shares and the draw.

    Returns:
        The selection of :func:`draw_mixture`.

    Raises:
        InputError: concepts that are not those of the rows, or shares that are negative or all zero.
        BudgetError: the concepts with a share hold fewer rows than ``count``.

    Source: RegMix (Liu et al. 2025, arXiv 2407.01492).
    """
    concepts, shares = np.asarray(mixture.concepts), mixture.shares
    fits = concepts.shape == (len(vectors),) and np.issubdtype(concepts.dtype, np.integer)
    if not fits or concepts.min() < 0 or concepts.max() >= len(shares):
        raise InputError(
            f"a mixture of {len(shares)} shares needs a concept from 0 to {len(shares) - 1} for each of "
            f"{len(vectors)} rows; pass the labels of the clustering that the shares were fitted to"
        )
    return draw_mixture(vectors, concepts, shares, count, rng=rng)


def propose_mixtures(
    labels: Int64[np.ndarray, "n"],
    proxies: int,
    rng: np.random.Generator,
    *,
    concentration: float = CONCENTRATION,
) -> Float64[np.ndarray, "p k"]:
    """Random mixtures around the shares that the concepts have in the corpus.

    Args:
        labels: int64 (n,), concept of each row, 0 to k − 1, every concept with at least one row.
        proxies: mixtures to propose; 20 to 40 for up to ten concepts.
        rng: the draw.
        concentration: of the Dirichlet distribution; larger stays closer to the corpus.

    Returns:
        float64 (p, k), shares with sum 1. The first mixture is the corpus itself.

    Raises:
        RecipeError: a parameter out of range.

    Source: RegMix (Liu et al. 2025, arXiv 2407.01492).
    """
    if proxies < LEAST_PROXIES:
        raise RecipeError(f"proxies must be at least {LEAST_PROXIES}, got {proxies}; 20 to 40 are usual")
    if not concentration > 0:
        raise RecipeError(f"concentration must be positive, got {concentration}; {CONCENTRATION:g} is usual")
    natural = _natural(labels)
    others = rng.dirichlet(concentration * natural, proxies - 1)
    return np.vstack([natural, others])


def draw_mixture(
    vectors: Vectors,
    labels: Int64[np.ndarray, "n"],
    shares: Float[np.ndarray, "k"],
    count: int,
    *,
    rng: np.random.Generator,
) -> Selection:
    """Draw ``count`` rows in the shares of a mixture, at random inside each concept.

    A concept that has fewer rows than its share gives all; the others share the rest in proportion.

    Args:
        vectors: float (n, d), memory-mapped if large.
        labels: int64 (n,), concept of each row.
        shares: float (k,), at least 0 and not all 0.
        count: rows to keep.
        rng: the rounding of the shares and the draw.

    Returns:
        The selection: the first of every concept, then the second, … Gain: how many rows of its concept each
        stands for.

    Raises:
        InputError: shares that are negative or all zero.
        BudgetError: the concepts with a share hold fewer rows than ``count``.
    """
    shares = np.asarray(shares, dtype=np.float64)
    if not (shares >= 0).all() or not shares.any():
        raise InputError("the shares of a mixture must be at least 0 and not all 0; normalise them to sum 1")
    sizes = np.bincount(labels, minlength=len(shares))
    available = int(sizes[shares > 0].sum())
    if count > available:
        raise BudgetError(
            f"the mixture asks for {count} rows of concepts that hold {available}; lower the budget, or give "
            "every concept a share"
        )
    real_quota = weighted_shares(sizes, count, shares)
    quota = systematic_rounding(real_quota, count, rng)
    order = random_order(vectors, rng)
    picks = within_quota(order, labels, quota)
    concept = labels[picks]
    gains = sizes[concept] / quota[concept]
    return outcome(len(labels), picks, gains, dropped="not drawn in its concept")


def fit_mixture(
    mixtures: Float[np.ndarray, "p k"],
    loss: Float[np.ndarray, "p"],
    rng: np.random.Generator,
    *,
    concentration: float = CONCENTRATION,
) -> Mixture:
    """Regress the held-out loss on the shares, and average the mixtures of the lowest prediction.

    The features are the shares and their square roots, for the loss falls steeply when a concept first
    appears. The strength of the ridge is chosen by leave-one-out, in closed form.

    Args:
        mixtures: float (p, k), as :func:`propose_mixtures` made them; the first is the corpus itself.
        loss: float (p,), H of the proxy trained on each, lower is better.
        rng: draws the candidates.
        concentration: of the candidates, as it was of the proposals, so that nothing is extrapolated.

    Returns:
        The mixture.

    Raises:
        InputError: fewer than 4 proxies, different lengths, or a loss that is not finite.

    Source: RegMix (Liu et al. 2025, arXiv 2407.01492, sections 3.2 and 3.3), with ridge regression.
    """
    mixtures = np.asarray(mixtures, dtype=np.float64)
    loss = np.asarray(loss, dtype=np.float64)
    if len(mixtures) < LEAST_PROXIES or loss.shape != (len(mixtures),):
        raise InputError(
            f"there must be one loss for each of at least {LEAST_PROXIES} mixtures, got {loss.shape} for "
            f"{len(mixtures)}"
        )
    if not np.isfinite(loss).all():
        raise InputError(
            f"the loss of proxy {int((~np.isfinite(loss)).argmax())} is not finite; train it again"
        )

    fit = _ridge(_features(mixtures), loss)
    natural = mixtures[0]
    candidates = rng.dirichlet(concentration * np.maximum(natural, 1e-12), CANDIDATES)
    predictions = fit.predict(_features(candidates))
    order = np.argsort(predictions, kind="stable")
    best = candidates[order[:BEST]]
    shares = best.mean(axis=0)
    predicted, predicted_natural = fit.predict(_features(np.stack([shares, natural])))
    return Mixture(
        shares=shares,
        predicted=float(predicted),
        predicted_natural=float(predicted_natural),
        error=fit.error,
        spread=float(loss.std(ddof=1)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ridge:
    """A ridge regression on centred features, and its leave-one-out error."""

    mean: Float64[np.ndarray, "f"]
    offset: float
    slope: Float64[np.ndarray, "f"]
    error: float

    def predict(self, features: Float64[np.ndarray, "p f"]) -> Float64[np.ndarray, "p"]:
        predictions: Float64[np.ndarray, p] = self.offset + (features - self.mean) @ self.slope
        return predictions


def _ridge(features: Float64[np.ndarray, "p f"], values: Float64[np.ndarray, "p"]) -> _Ridge:
    """The ridge whose leave-one-out error is least; the mean is refitted without the point left out."""
    mean, offset = features.mean(axis=0), float(values.mean())
    centred = values - offset
    left, singular, right = np.linalg.svd(features - mean, full_matrices=False)
    square = singular**2
    scale = square.mean() or 1.0
    projection = left.T @ centred

    best: _Ridge | None = None
    for strength in RIDGES * scale:
        shrink = square / (square + strength)
        residual = centred - left @ (shrink * projection)
        leverage = 1 / len(values) + left**2 @ shrink
        left_out = residual / (1 - leverage)
        error = float(np.sqrt(np.mean(left_out**2)))
        if best is None or error < best.error:
            coefficients = projection * singular / (square + strength)
            slope = right.T @ coefficients
            best = _Ridge(mean=mean, offset=offset, slope=slope, error=error)
    assert best is not None
    return best


def _features(mixtures: Float64[np.ndarray, "p k"]) -> Float64[np.ndarray, "p f"]:
    roots = np.sqrt(mixtures)
    return np.hstack([mixtures, roots])


def _natural(labels: Int64[np.ndarray, "n"]) -> Float64[np.ndarray, "k"]:
    """The shares of the corpus."""
    sizes = np.bincount(labels)
    if (sizes == 0).any():
        raise InputError(f"concept {int((sizes == 0).argmax())} has no row; number the concepts without gaps")
    return np.asarray(sizes / sizes.sum(), dtype=np.float64)
