"""How well predicted masks match the labelled ones, and what a set of training images was worth.

Legend: n images, s pixels along a side, k classes of which 0 is background.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

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
        return np.asarray(np.nanmean(self.iou, axis=1))

    @property
    def image_dice(self) -> Float[np.ndarray, "n"]:
        """Mean Dice over the foreground classes of each image, (n,), never NaN."""
        return np.asarray(np.nanmean(self.dice, axis=1))

    @property
    def miou(self) -> float:
        """Mean over images of :attr:`image_iou`."""
        return float(self.image_iou.mean())

    @property
    def mdice(self) -> float:
        """Mean over images of :attr:`image_dice`."""
        return float(self.image_dice.mean())


def score(predictions: UInt8[np.ndarray, "n s s"], masks: UInt8[np.ndarray, "n s s"], classes: int) -> Scores:
    """Compare predicted with labelled classes, pixel by pixel.

    Args:
        predictions: predicted class of every pixel, 0 background.
        masks: labelled class of every pixel, 0 background.
        classes: k, the background included.

    Returns:
        IoU and Dice of every image and foreground class.

    Raises:
        InputError: unequal shapes, no image, or a class outside 0..k-1.
    """
    if predictions.shape != masks.shape or len(masks) == 0:
        raise InputError(
            f"predictions {predictions.shape} and masks {masks.shape} must have one shape with at least one image"
        )
    highest = int(max(predictions.max(), masks.max()))
    if not 2 <= classes <= 256 or highest >= classes:
        raise InputError(
            f"class {highest} found, but classes is {classes}; pass classes = highest class + 1, at least 2"
        )
    both, predicted, labelled = (np.zeros((len(masks), classes), dtype=np.int64) for _ in range(3))
    for row, (guess, truth) in enumerate(zip(predictions, masks, strict=True)):
        predicted[row] = np.bincount(guess.ravel(), minlength=classes)
        labelled[row] = np.bincount(truth.ravel(), minlength=classes)
        both[row] = np.bincount(truth[guess == truth], minlength=classes)
    total = (predicted + labelled)[:, 1:]
    shared = both[:, 1:]
    absent = np.where(
        total.sum(axis=1, keepdims=True) == 0, 1.0, np.nan
    )  # (n, 1): what an absent class counts as in this image
    iou = np.where(total > 0, shared / np.maximum(total - shared, 1), absent)
    dice = np.where(total > 0, 2 * shared / np.maximum(total, 1), absent)
    return Scores(iou=iou, dice=dice)


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

    Source: arXiv 2401.17542, the DEL and NormDEL equations.
    """
    if not 0 <= miou <= 1:
        raise InputError(f"miou must be in [0, 1], got {miou}; pass 0.72 for 72 points")
    if not 0 < kept <= 1:
        raise InputError(f"kept must be in (0, 1], got {kept}; pass 0.05 for 5 % of the data")
    if not (alpha >= 0 and math.isfinite(alpha)):
        raise InputError(f"alpha must be a finite number >= 0, got {alpha}; the published value is 1")
    return 1 / (1 + math.exp(-miou * math.exp(-alpha * kept)))
