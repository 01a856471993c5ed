"""Squares anywhere, of the sizes that SAM's key patches have: the control that shows what the position of a
key patch is worth.
"""

import hashlib

import numpy as np

from optidel.arrays import Image
from optidel.models.masks import Mask, Points

SIDES = (0.222, 0.333, 0.431, 0.509, 0.546, 0.599, 0.599, 0.601, 0.601, 0.602, 0.602)
"""Deciles of the sides of 258 key patches that the SAM pair gave on 89 polyp frames (of polypgen and
kvasir-seg), as fractions of the frame's short side; on slices of a head they lie within 0.1 of these."""

MARGIN = 1.3
"""A key patch is this many times as long as its mask: `features.patches` adds the rest as context."""


class RandomSquares:
    """One square for each point, but not at it: position and size are drawn at random. Predicted IoU and
    stability are always 1.0.

    The draw follows from the pixels of the image, so it does not depend on the order of the frames or on
    where the points are.
    """

    name = "random"
    weights = "none"

    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """As many squares as there are points in an image u8 (h, w, 3)."""
        height, width = image.shape[:2]
        seed = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
        rng = np.random.default_rng(int.from_bytes(seed, "little"))
        masks = []
        for quantile, down, right in rng.random((len(points), 3)):
            relative = float(np.interp(quantile, np.linspace(0, 1, len(SIDES)), SIDES))
            side = relative * min(height, width)
            inner = max(1, round(side / MARGIN))
            margin = (side - inner) / 2

            top = round(down * (height - side) + margin)
            left = round(right * (width - side) + margin)
            mask = np.zeros((height, width), dtype=bool)
            mask[top : top + inner, left : left + inner] = True
            masks.append(Mask(mask=mask, predicted_iou=1.0, stability=1.0))
        return masks
