"""How good predicted probabilities of classes are, and what every test image adds to that.

AUROC, balanced accuracy and calibration error compare images with one another, so they are no mean over
images. Here each is written as one: an image's value is the score plus what the image moves it by (its
influence, times the number of images). The mean of the values is exactly the score, and the variance of that
mean is DeLong's; so intervals over images and seeds, differences paired by image and corrections for several
methods are those of every other score.

Legend: M test images, K columns, P positives, N negatives. A value of a column that lacks either is NaN.

Source: DeLong, DeLong and Clarke-Pearson 1988 (placements); Hampel 1974 (influence).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from optidel.errors import InputError

# Bins of confidence for the calibration error, the usual number (Guo et al. 2017).
BINS = 15

Columns = Bool[np.ndarray, "m k"]
ByImage = Float64[np.ndarray, "m"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassValues:
    """What every test image adds, float64 (m,) each; their means are the scores of :class:`ClassScores`.

    A value of one image may lie outside [0, 1]; the mean of all never does.
    """

    auroc: ByImage
    balanced: ByImage
    ece: ByImage
    brier: ByImage

    @property
    def scores(self) -> "ClassScores":
        """The means over images."""
        return ClassScores(
            auroc=float(self.auroc.mean()),
            balanced=float(self.balanced.mean()),
            ece=float(self.ece.mean()),
            brier=float(self.brier.mean()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """How good predicted probabilities are; all but ``auroc`` and ``balanced`` are better when low.

    ``auroc`` and ``balanced`` accuracy are means over columns that have both kinds of test images, in [0, 1].
    ``ece`` is the expected calibration error and ``brier`` the mean squared error of the probabilities.
    """

    auroc: float
    balanced: float
    ece: float
    brier: float


def score_classes(
    probabilities_MK: Float[np.ndarray, "m k"],
    labels_MK: Columns,
    *,
    exclusive: bool,
    known_MK: Columns | None = None,
) -> ClassScores:
    """Judge predicted probabilities; arguments and errors as of :func:`class_values`."""
    return class_values(probabilities_MK, labels_MK, exclusive=exclusive, known_MK=known_MK).scores


def class_values(
    probabilities_MK: Float[np.ndarray, "m k"],
    labels_MK: Columns,
    *,
    exclusive: bool,
    known_MK: Columns | None = None,
) -> ClassValues:
    """What every test image adds to each score.

    >>> chances, labels = np.array([[0.1], [0.4], [0.8]]), np.array([[False], [True], [True]])
    >>> scores = class_values(chances, labels, exclusive=False).scores
    >>> scores.auroc, scores.balanced
    (1.0, 0.75)

    Args:
        probabilities_MK: in [0, 1].
        labels_MK: the truth.
        exclusive: one class an image: the most probable is predicted, and calibration is of that prediction.
            Else every column is judged at one half.
        known_MK: which labels are known; all by default, and always all where classes are exclusive.

    Raises:
        InputError: shapes that differ, or no column with both kinds of images.
    """
    known_MK = np.ones_like(labels_MK) if known_MK is None else known_MK
    if not (probabilities_MK.shape == labels_MK.shape == known_MK.shape and labels_MK.size):
        raise InputError(
            f"probabilities {probabilities_MK.shape} and labels {labels_MK.shape} must have one shape, "
            "not empty"
        )
    columns = list(zip(probabilities_MK.T, labels_MK.T, known_MK.T, strict=True))
    areas = [_auroc_values(*column) for column in columns]
    if np.isnan(areas).all():
        raise InputError("no class has test images with and without it, so nothing can be ranked")
    if exclusive:
        balanced, ece, brier = _exclusive_values(probabilities_MK, labels_MK)
    else:
        balanced = [_balanced_values(*column) for column in columns]
        ece, brier = _column_values(probabilities_MK, labels_MK, known_MK)
    return ClassValues(
        auroc=np.nanmean(areas, axis=0), balanced=np.nanmean(balanced, axis=0), ece=ece, brier=brier
    )


def auroc(scores: Float[np.ndarray, "m"], truth: Bool[np.ndarray, "m"]) -> float:
    """The probability that a positive scores above a negative, ties counting half; NaN without both.

    Source: Mann and Whitney 1947.
    """
    return float(_auroc_values(scores, truth, np.ones_like(truth)).mean())


def calibration_error(confidence: Float[np.ndarray, "m"], is_right: Bool[np.ndarray, "m"]) -> float:
    """Expected calibration error: how far confidence is from the share that is right, by bins of confidence.

    Source: Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    return float(_calibration_values(confidence, is_right).mean())


def _auroc_values(
    scores: Float[np.ndarray, "m"], truth: Bool[np.ndarray, "m"], known: Bool[np.ndarray, "m"]
) -> ByImage:
    """AUROC of one column, moved by each image's placement: the share of the other kind that it is beyond."""
    positive, negative = truth & known, ~truth & known
    if not (positive.any() and negative.any()):
        return np.full(len(scores), np.nan)
    high_P, low_N = scores[positive], scores[negative]
    above_P = _share_below(high_P, low_N)
    above_N = 1 - _share_below(low_N, high_P)
    area = above_P.mean()
    values = np.full(len(scores), area)
    values[positive] += (above_P - area) * (len(scores) / len(high_P))
    values[negative] += (above_N - area) * (len(scores) / len(low_N))
    return values


def _share_below(values: Float[np.ndarray, "m"], others: Float[np.ndarray, "n"]) -> ByImage:
    """For each value the share of the others that lie below it, equal ones counting half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    return np.asarray((below + not_above) / (2 * len(others)))


def _recall_values(is_right: Bool[np.ndarray, "m"], members: Bool[np.ndarray, "m"]) -> ByImage:
    """The share of the members that is right, moved by each member."""
    count = int(members.sum())
    if not count:
        return np.full(len(is_right), np.nan)
    recall = is_right[members].mean()
    values = np.full(len(is_right), recall)
    values[members] += (is_right[members] - recall) * (len(is_right) / count)
    return values


def _balanced_values(
    probabilities: Float[np.ndarray, "m"], truth: Bool[np.ndarray, "m"], known: Bool[np.ndarray, "m"]
) -> ByImage:
    """Balanced accuracy of one column at one half: the mean of the recalls of both kinds."""
    predicted = probabilities >= 0.5
    of_positives = _recall_values(predicted, truth & known)
    of_negatives = _recall_values(~predicted, ~truth & known)
    return np.asarray((of_positives + of_negatives) / 2)


def _exclusive_values(
    probabilities_MK: Float[np.ndarray, "m k"], labels_MK: Columns
) -> tuple[list[ByImage], ByImage, ByImage]:
    """Balanced accuracy by class, calibration and squared errors, where an image has one class."""
    predicted = probabilities_MK.argmax(axis=1)
    is_right = labels_MK[np.arange(len(labels_MK)), predicted]
    balanced = [_recall_values(is_right, members) for members in labels_MK.T]
    ece = _calibration_values(probabilities_MK.max(axis=1), is_right)
    squares_MK = (probabilities_MK - labels_MK) ** 2
    return balanced, ece, squares_MK.sum(axis=1)


def _column_values(
    probabilities_MK: Float[np.ndarray, "m k"], labels_MK: Columns, known_MK: Columns
) -> tuple[ByImage, ByImage]:
    """Calibration and squared errors over all known labels, gathered by image."""
    images = len(labels_MK)
    rows = np.nonzero(known_MK)[0]
    # A label counts alike, whichever image it is of.
    weight = images / len(rows)
    ece = _calibration_values(probabilities_MK[known_MK], labels_MK[known_MK]) * weight
    squares = (probabilities_MK[known_MK] - labels_MK[known_MK]) ** 2 * weight
    return (
        np.bincount(rows, weights=ece, minlength=images),
        np.bincount(rows, weights=squares, minlength=images),
    )


def _calibration_values(confidence: Float[np.ndarray, "m"], is_right: Bool[np.ndarray, "m"]) -> ByImage:
    """How far each confidence is from being right, towards the side on which its bin errs."""
    bins: Int64[np.ndarray, m] = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    excess = confidence - is_right
    by_bin = np.bincount(bins, weights=excess, minlength=BINS)
    return np.asarray(np.sign(by_bin)[bins] * excess)
