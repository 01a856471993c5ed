"""Squares anywhere, of the sizes that SAM's key patches have: what the place of a key patch is worth is
measured against them.
"""

import hashlib

import numpy as np

from optidel.arrays import Image
from optidel.models.masks import Mask, Points

SIDES = (0.222, 0.333, 0.431, 0.509, 0.546, 0.599, 0.599, 0.601, 0.601, 0.602, 0.602)
"""Deciles of the sides of 258 key patches that the SAM pair gave on 89 polyp frames (of polypgen and
kvasir-seg), as fractions of the frame's short side; on slices of a head they lie within 0.1 of these."""

MARGIN = 1.3
"""A key patch is so many times as long as its mask."""


class RandomSquares:
    """One square for each point, but not at it: place and size are drawn; predicted IoU and stability are
    1.0, for there are none.

    The draw follows from the pixels of the image, so it repeats itself whatever the order of the frames and
    the place of the points.
    """

    name = "random"
    weights = "none"

    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """As many squares as there are points in an image u8 (h, w, 3)."""
        height, width = image.shape[:2]
        seed = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
        rng = np.random.default_rng(int.from_bytes(seed, "little"))
        masks = []
        for share, down, right in rng.random((len(points), 3)):
            side = float(np.interp(share, np.linspace(0, 1, len(SIDES)), SIDES)) * min(height, width)
            inner = max(1, round(side / MARGIN))
            top, left = (
                round(place * (full - side) + (side - inner) / 2)
                for place, full in ((down, height), (right, width))
            )
            mask = np.zeros((height, width), dtype=bool)
            mask[top : top + inner, left : left + inner] = True
            masks.append(Mask(mask=mask, predicted_iou=1.0, stability=1.0))
        return masks
