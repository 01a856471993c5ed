"""A dense probe in closed form: ridge regression from frozen tokens to the share of each class in a patch.

Nothing is drawn: the penalty and the thresholds come from folds of whole groups, so two runs of one encoder
give the same number, and what differs between encoders is the encoders.

Legend: M images of a block, G tokens along a side, D features of a token, K foreground classes, S pixels
    along a side.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from optidel.arrays import VOID
from optidel.errors import InputError
from optidel.evaluation.native import scaled

# As in the pilot; a usual number, and a fifth of 80 images still shows every class.
FOLDS = 5

# Added to a correlation matrix, so 1 shrinks as much as a feature of its own; the ends were never chosen in
# the pilot's sets.
PENALTIES = tuple(float(value) for value in np.logspace(-4, 1, 11))

# Of the share of a patch that a class covers; steps of .02 change mIoU by less than .001.
THRESHOLDS = np.linspace(0.02, 0.98, 49)

# Penalty and threshold where all images are of one group and no fold can be held out.
ALONE = (0.1, 0.5)

# Images whose tokens are in memory at once: 64 x 64 tokens x 512 features x 8 bytes are 17 MB.
BLOCK = 64

# Rows of the labelled images to their tokens' features.
Features = Callable[[Int64[np.ndarray, "m"]], Float32[np.ndarray, "m g g d"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Weighted sums over tokens, float64: all that ridge regression needs, and all that folds exchange."""

    weight: float
    x: Float64[np.ndarray, "d"]
    y: Float64[np.ndarray, "k"]
    xx: Float64[np.ndarray, "d d"]
    xy: Float64[np.ndarray, "d k"]
    yy: Float64[np.ndarray, "k"]

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of the tokens of both."""
        return self._with(other, 1.0)

    def __sub__(self, other: "Moments") -> "Moments":
        """Moments without the tokens of ``other``."""
        return self._with(other, -1.0)

    def _with(self, other: "Moments", sign: float) -> "Moments":
        return Moments(
            weight=self.weight + sign * other.weight,
            x=self.x + sign * other.x,
            y=self.y + sign * other.y,
            xx=self.xx + sign * other.xx,
            xy=self.xy + sign * other.xy,
            yy=self.yy + sign * other.yy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A linear map from features to shares, and from where on a class is predicted.

    ``penalties`` (k,) and ``thresholds`` (k,) were chosen class by class on the folds.
    """

    weights: Float64[np.ndarray, "d k"]
    bias: Float64[np.ndarray, "k"]
    penalties: Float64[np.ndarray, "k"]
    thresholds: Float64[np.ndarray, "k"]

    def shares(self, features_MGGD: Float32[np.ndarray, "m g g d"]) -> Float32[np.ndarray, "m k g g"]:
        """The predicted share of every class in every patch; about 0 to 1."""
        features = features_MGGD.astype(np.float64)
        shares = features @ self.weights
        shares += self.bias
        classes_first = np.moveaxis(shares, -1, 1)
        return np.asarray(classes_first, dtype=np.float32)

    def logits(self, features_MGGD: Float32[np.ndarray, "m g g d"]) -> Float32[np.ndarray, "m classes g g"]:
        """Background 0, and how far each class is above its threshold: the largest is the prediction."""
        shares = self.shares(features_MGGD)
        thresholds = self.thresholds.astype(np.float32)
        margins = shares - thresholds[:, None, None]
        background = np.zeros_like(margins[:, :1])
        return np.concatenate([background, margins], axis=1)


def fit_probe(
    features: Features,
    masks: UInt8[np.ndarray, "n s s"],
    classes: int,
    groups: Sequence[str | None] | None = None,
) -> Probe:
    """Fit a probe to labelled images.

    One pass takes the moments of each fold; the penalty of each class is the one with the smallest squared
    error on held-out folds. A second pass predicts each fold from the others, and the threshold of each class
    is the one with the largest mean IoU there (at the model's size; a class neither predicted nor labelled in
    an image counts 1).

    Args:
        features: rows to the features of their tokens, asked for some rows at a time, twice.
        masks: class of every pixel, 0 background, 255 void.
        classes: the background included.
        groups: what must not stand on both sides of a fold; None for an image that is alone.

    Returns:
        The probe, fitted to all images with the penalties and thresholds of the folds.

    Raises:
        InputError: no image, or no foreground class.

    Source: Hoerl and Kennard, Technometrics 1970 (ridge); features as in the pilot of the evidence.
    """
    if len(masks) == 0 or classes < 2:
        raise InputError(
            f"a probe needs labelled images and at least one class, got {len(masks)} and {classes - 1}"
        )
    folds = fold_of(groups or [None] * len(masks))
    parts = [
        _moments_of(features, masks, np.flatnonzero(folds == fold), classes)
        for fold in range(int(folds.max()) + 1)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    foreground = classes - 1
    # One group cannot be held out of itself.
    if len(parts) == 1:
        penalty, threshold = (np.full(foreground, value) for value in ALONE)
        return _probe(total, penalty, threshold)

    errors = sum(_held_out_errors(total - part, part) for part in parts)
    penalties = np.array(PENALTIES)[np.argmin(errors, axis=0)]
    thresholds = _thresholds(features, masks, folds, [total - part for part in parts], penalties)
    return _probe(total, penalties, thresholds)


def fold_of(groups: Sequence[str | None]) -> Int64[np.ndarray, "n"]:
    """The fold of every image: whole groups, the largest first, each to the fold with the fewest images.

    >>> fold_of(["a", "a", "b", "c", None, None, None]).tolist()
    [0, 0, 1, 2, 3, 4, 1]
    """
    names = [f"\0{row}" if group is None else group for row, group in enumerate(groups)]
    members: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(name, []).append(row)
    folds = np.zeros(len(names), dtype=np.int64)
    sizes = [0] * min(FOLDS, len(members))
    largest_first = sorted(members.values(), key=len, reverse=True)
    for rows in largest_first:
        fold = sizes.index(min(sizes))
        folds[rows] = fold
        sizes[fold] += len(rows)
    return folds


def with_neighbours(tokens_MGGD: Float32[np.ndarray, "m g g d"]) -> Float32[np.ndarray, "m g g e"]:
    """Every token beside the mean of its 3 x 3 neighbourhood (at an edge, of the neighbours that are there):
    twice as many features.
    """
    height, width = tokens_MGGD.shape[1:3]
    padded = np.pad(tokens_MGGD, ((0, 0), (1, 1), (1, 1), (0, 0)))
    ones = np.pad(np.ones((height, width), dtype=np.float32), 1)
    total = np.zeros_like(tokens_MGGD)
    count = np.zeros((height, width), dtype=np.float32)
    for down in range(3):
        for across in range(3):
            total += padded[:, down : down + height, across : across + width]
            count += ones[down : down + height, across : across + width]
    return np.concatenate([tokens_MGGD, total / count[..., None]], axis=-1)


def patch_shares(
    masks: UInt8[np.ndarray, "m s s"], grid: int, classes: int
) -> tuple[Float64[np.ndarray, "m g g k"], Float64[np.ndarray, "m g g"]]:
    """The share of every foreground class in every patch, and the share of the patch that is not void."""
    images, side, _ = masks.shape
    patch = side // grid
    cells = masks.reshape(images, grid, patch, grid, patch).swapaxes(2, 3).reshape(images, grid, grid, -1)
    counted = (cells != VOID).mean(axis=-1)
    present = np.stack([(cells == kind).mean(axis=-1) for kind in range(1, classes)], axis=-1)
    return present / np.maximum(counted, 1e-9)[..., None], counted


def average_precision(
    scores: Float[np.ndarray, "..."], truth: UInt8[np.ndarray, "..."] | Float[np.ndarray, "..."]
) -> float:
    """Area under precision against recall as a step function, NaN without a positive.

    Args:
        scores: higher is likelier; equal ones share a threshold.
        truth: 1 positive, 0 negative, of the same shape.

    Source: as scikit-learn's ``average_precision_score``.
    """
    rows = np.unique(scores, return_inverse=True)[1]
    return precision_of_levels(rows, truth)


def precision_of_levels(levels: Int64[np.ndarray, "..."], truth: Float[np.ndarray, "..."]) -> float:
    """The same of scores that are small whole numbers from 0 on: counted, not sorted."""
    flat, is_positive = levels.ravel(), np.ravel(truth)
    # Counted from the highest score down: what a threshold at each level would predict, and get right.
    predicted = np.bincount(flat)[::-1].cumsum()
    positive = np.bincount(flat, weights=is_positive)[::-1].cumsum()
    total = positive[-1]
    if total == 0:
        return float("nan")
    gained = np.diff(positive, prepend=0)
    precision = positive / np.maximum(predicted, 1)
    area = (gained * precision).sum() / total
    return float(area)


def _blocks(rows: Int64[np.ndarray, "n"]) -> Iterator[Int64[np.ndarray, "m"]]:
    for start in range(0, len(rows), BLOCK):
        stop = start + BLOCK
        yield rows[start:stop]


def _moments_of(
    features: Features, masks: UInt8[np.ndarray, "n s s"], rows: Int64[np.ndarray, "m"], classes: int
) -> Moments:
    """Sums over the tokens of some images, block by block."""
    total: Moments | None = None
    for block in _blocks(rows):
        x_MGGD = features(block).astype(np.float64)
        grid, width = x_MGGD.shape[2:]
        shares, counted = patch_shares(masks[block], grid, classes)
        x_TD = x_MGGD.reshape(-1, width)
        y_TK = shares.reshape(-1, classes - 1)
        part = moments(x_TD, y_TK, counted.ravel())
        total = part if total is None else total + part
    assert total is not None  # every fold has an image
    return total


def moments(
    x_TD: Float64[np.ndarray, "t d"], y_TK: Float64[np.ndarray, "t k"], weight_T: Float64[np.ndarray, "t"]
) -> Moments:
    """Weighted sums over tokens."""
    weighted_TD = x_TD * weight_T[:, None]
    weighted_TK = y_TK * weight_T[:, None]
    squares_TK = weighted_TK * y_TK
    return Moments(
        weight=float(weight_T.sum()),
        x=weighted_TD.sum(axis=0),
        y=weighted_TK.sum(axis=0),
        xx=weighted_TD.T @ x_TD,
        xy=weighted_TD.T @ y_TK,
        yy=squares_TK.sum(axis=0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solver:
    """The correlation matrix of some tokens in its own axes, so that every penalty costs one product."""

    mean: Float64[np.ndarray, "d"]
    scale: Float64[np.ndarray, "d"]
    bias: Float64[np.ndarray, "k"]
    eigenvalues: Float64[np.ndarray, "d"]
    axes: Float64[np.ndarray, "d d"]
    projected: Float64[np.ndarray, "d k"]

    def solve(self, penalty: float) -> tuple[Float64[np.ndarray, "d k"], Float64[np.ndarray, "k"]]:
        """Weights of the features as they are, and the bias."""
        shrunken = self.eigenvalues + penalty
        solution = self.axes @ (self.projected / shrunken[:, None])
        weights = solution / self.scale[:, None]
        bias = self.bias - self.mean @ weights
        return weights, bias


def _solver(sums: Moments) -> _Solver:
    mean, bias = sums.x / sums.weight, sums.y / sums.weight
    covariance = sums.xx / sums.weight - np.outer(mean, mean)
    variance = np.maximum(np.diag(covariance), 0)
    deviation = np.sqrt(variance)
    # A feature that never changes would divide by zero; it has no weight in any case.
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    correlation = covariance / np.outer(scale, scale)
    eigenvalues, axes = np.linalg.eigh(correlation)

    shared = sums.xy / sums.weight - np.outer(mean, bias)
    shared /= scale[:, None]
    return _Solver(
        mean=mean,
        scale=scale,
        bias=bias,
        eigenvalues=np.maximum(eigenvalues, 0),
        axes=axes,
        projected=axes.T @ shared,
    )


def _held_out_errors(training: Moments, held_out: Moments) -> Float64[np.ndarray, "penalties k"]:
    """Sum of squared errors of every penalty and class on held-out tokens, from their moments alone."""
    solver = _solver(training)
    errors = []
    for penalty in PENALTIES:
        weights, bias = solver.solve(penalty)
        # The square of y - x'w - b, summed: every product is a moment.
        quadratic = np.einsum("dk,de,ek->k", weights, held_out.xx, weights, optimize=True)
        projected = (weights * held_out.xy).sum(axis=0)
        linear = projected + bias * held_out.y
        mixed = bias * (held_out.x @ weights)
        constant = held_out.yy + bias**2 * held_out.weight
        errors.append(constant - 2 * linear + quadratic + 2 * mixed)
    return np.stack(errors)


def _probe(sums: Moments, penalties: Float64[np.ndarray, "k"], thresholds: Float64[np.ndarray, "k"]) -> Probe:
    """The probe of some moments, each class with its own penalty."""
    solver = _solver(sums)
    weights, bias = np.empty_like(sums.xy), np.empty_like(sums.y)
    for kind, penalty in enumerate(penalties.tolist()):
        all_weights, all_bias = solver.solve(penalty)
        weights[:, kind] = all_weights[:, kind]
        bias[kind] = all_bias[kind]

    return Probe(weights=weights, bias=bias, penalties=penalties, thresholds=thresholds)


def _thresholds(
    features: Features,
    masks: UInt8[np.ndarray, "n s s"],
    folds: Int64[np.ndarray, "n"],
    training: Sequence[Moments],
    penalties: Float64[np.ndarray, "k"],
) -> Float64[np.ndarray, "k"]:
    """The threshold of each class with the largest mean IoU, every image predicted without its fold."""
    side = masks.shape[1]
    total = np.zeros((len(penalties), len(THRESHOLDS)))
    for fold, sums in enumerate(training):
        probe = _probe(sums, penalties, np.zeros_like(penalties))
        for block in _blocks(np.flatnonzero(folds == fold)):
            for row, shares_KGG in zip(block, probe.shares(features(block)), strict=True):
                shares_KSS = np.concatenate([part for _, part in scaled(shares_KGG, side, side)], axis=1)
                counted = masks[row] != VOID
                for kind, shares in enumerate(shares_KSS):
                    total[kind] += iou_by_threshold(shares[counted], masks[row][counted] == kind + 1)
    return np.asarray(THRESHOLDS[total.argmax(axis=1)])


def iou_by_threshold(
    shares: Float32[np.ndarray, "p"], truth: Float[np.ndarray, "p"]
) -> Float64[np.ndarray, "t"]:
    """IoU of ``shares >= threshold`` with the truth for every threshold; 1 where both are empty."""
    steps = np.searchsorted(THRESHOLDS, shares, side="right")  # how many thresholds a pixel reaches
    predicted = _reaching(steps)
    shared = _reaching(steps[truth])
    labelled = int(truth.sum())
    either = predicted + labelled - shared
    return np.where(either > 0, shared / np.maximum(either, 1), 1.0)


def _reaching(steps: Int64[np.ndarray, "p"]) -> Int64[np.ndarray, "t"]:
    """Pixels that reach each threshold, given how many thresholds each reaches."""
    counts = np.bincount(steps, minlength=len(THRESHOLDS) + 1)
    from_above = counts[::-1].cumsum()[::-1]
    return np.asarray(from_above[1:])
