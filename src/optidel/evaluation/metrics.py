"""How well predicted masks match the labelled ones, and what a set of training images was worth.

Legend: n images, s pixels along a side, k classes of which 0 is background.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8

from optidel.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Overlap per image and foreground class.

    ``iou`` and ``dice`` are float64 (n, k-1), in [0, 1], higher is better; column j is class j + 1. A class
    that is neither predicted nor labelled in an image is NaN there and left out of that image's mean; where
    nothing at all is predicted or labelled in an image, every class is 1, since an empty prediction is the
    right answer (the convention of the polyp and brain-tumour challenges).
    """

    iou: Float[np.ndarray, "n foreground"]
    dice: Float[np.ndarray, "n foreground"]

    @property
    def image_iou(self) -> Float[np.ndarray, "n"]:
        """Mean IoU over the foreground classes of each image, (n,), never NaN."""
        means = np.nanmean(self.iou, axis=1)
        return np.asarray(means)

    @property
    def image_dice(self) -> Float[np.ndarray, "n"]:
        """Mean Dice over the foreground classes of each image, (n,), never NaN."""
        means = np.nanmean(self.dice, axis=1)
        return np.asarray(means)

    @property
    def miou(self) -> float:
        """Mean over images of :attr:`image_iou`."""
        return float(self.image_iou.mean())

    @property
    def mdice(self) -> float:
        """Mean over images of :attr:`image_dice`."""
        return float(self.image_dice.mean())


def score(
    predictions: UInt8[np.ndarray, "n s s"],
    masks: UInt8[np.ndarray, "n s s"],
    classes: int,
    *,
    void: int | None = None,
) -> Scores:
    """Compare predicted with labelled classes, pixel by pixel.

    Args:
        predictions: predicted class of every pixel, 0 background.
        masks: labelled class of every pixel, 0 background.
        classes: k, the background included.
        void: the label of pixels that do not count.

    Returns:
        IoU and Dice of every image and foreground class.

    Raises:
        InputError: unequal shapes, no image, or a class outside 0..k-1.
    """
    if predictions.shape != masks.shape or len(masks) == 0:
        raise InputError(
            f"predictions {predictions.shape} and masks {masks.shape} must have one shape with at least one "
            "image"
        )
    return score_each(zip(predictions, masks, strict=True), classes, void=void)


def score_each(
    pairs: Iterable[tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]],
    classes: int,
    *,
    void: int | None = None,
) -> Scores:
    """As :func:`score`, for images of any sizes, one pair of prediction and mask at a time.

    Raises:
        InputError: unequal shapes, no image, or a class outside 0..k-1.
    """
    rows = [_counts(prediction, mask, classes, void) for prediction, mask in pairs]
    if not rows:
        raise InputError("there is no image to score; pass at least one")
    both, predicted, labelled = (np.stack(column) for column in zip(*rows, strict=True))
    total = (predicted + labelled)[:, 1:]
    shared = both[:, 1:]
    # (n, 1): what an absent class counts as in this image
    absent = np.where(total.sum(axis=1, keepdims=True) == 0, 1.0, np.nan)
    iou = np.where(total > 0, shared / np.maximum(total - shared, 1), absent)
    dice = np.where(total > 0, 2 * shared / np.maximum(total, 1), absent)
    return Scores(iou=iou, dice=dice)


def _counts(
    prediction: UInt8[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"], classes: int, void: int | None
) -> tuple[Int64[np.ndarray, "k"], Int64[np.ndarray, "k"], Int64[np.ndarray, "k"]]:
    """Pixels of each class that prediction and mask share, that are predicted, and that are labelled."""
    if prediction.shape != mask.shape:
        raise InputError(f"prediction {prediction.shape} and mask {mask.shape} must have one shape")
    if void is not None:
        counted = mask != void
        prediction, mask = prediction[counted], mask[counted]
    highest = max(int(values.max(initial=0)) for values in (prediction, mask))
    if not 2 <= classes <= 256 or highest >= classes:
        raise InputError(
            f"class {highest} found, but classes is {classes}; pass classes = highest class + 1, at least 2"
        )
    # Counting classes is one pass each; comparing every class apart would be k passes.
    regions = (mask[prediction == mask], prediction.ravel(), mask.ravel())
    both, predicted, labelled = (np.bincount(region, minlength=classes) for region in regions)
    return both, predicted, labelled


def normdel(miou: float, kept: float, alpha: float = 1.0) -> float:
    """Accuracy weighed against the fraction of the pre-training data it took; always show mIoU beside it.

    NormDEL = 1 / (1 + exp(-DEL)) with DEL = mIoU · exp(-alpha · kept). With alpha = 1 it spans [0.5, 0.731]
    only, and 27.9 points of mIoU on 5 % of the data tie 72.0 points on all of it.

    Args:
        miou: mean IoU in [0, 1], not in points.
        kept: fraction of the pre-training data kept, in (0, 1].
        alpha: price of data, >= 0; 0 ignores it.

    Returns:
        NormDEL in [0.5, 0.731], higher is better.

    Raises:
        InputError: a value out of its range.

    Example:
        >>> import optidel
        >>> round(optidel.normdel(0.7095, kept=0.05), 4)
        0.6626

    Source: arXiv 2401.17542, the DEL and NormDEL equations.
    """
    if not 0 <= miou <= 1:
        raise InputError(f"miou must be in [0, 1], got {miou}; pass 0.72 for 72 points")
    if not 0 < kept <= 1:
        raise InputError(f"kept must be in (0, 1], got {kept}; pass 0.05 for 5 % of the data")
    if not (alpha >= 0 and math.isfinite(alpha)):
        raise InputError(f"alpha must be a finite number >= 0, got {alpha}; the published value is 1")
    return 1 / (1 + math.exp(-miou * math.exp(-alpha * kept)))
