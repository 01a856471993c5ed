"""Whole frames as pieces: the control that shows what cutting pieces out of frames is worth."""

import numpy as np

from optidel.arrays import Image
from optidel.models.masks import Mask, Points


class WholeFrames:
    """One mask of everything, whatever the points. Predicted IoU and stability are always 1.0."""

    name = "frames"
    weights = "none"

    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """The mask of an image u8 (h, w, 3) that is True everywhere."""
        everywhere = np.ones(image.shape[:2], dtype=bool)
        return [Mask(mask=everywhere, predicted_iou=1.0, stability=1.0)]
