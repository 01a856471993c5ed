"""A proposer without weights: graph-based segmentation at a fine and a coarse scale."""

import numpy as np
from PIL import Image as PillowImage
from skimage.segmentation import felzenszwalb

from optidel.arrays import Image
from optidel.models.masks import Mask, Points

# Pixels, longest side of the copy that is segmented; a scale then takes some 0.1 s.
MEASURE = 256

# felzenszwalb's scale: larger gives larger regions. A fine and a coarse one, a factor of four apart.
SCALES = (60.0, 250.0)

# Deviation of the blur before segmentation, in pixels of the copy: the authors' own value.
SIGMA = 0.8

# A region is at least 1 / 400 of the image, a square of a twentieth of its side; smaller ones merge.
LEAST_SHARE = 400

# And at least this many pixels, where the image is tiny; a round number.
LEAST_PIXELS = 4


class Regions:
    """The distinct regions that hold a point, at two scales. Predicted IoU and stability are always 1.0.

    Source: Felzenszwalb & Huttenlocher, Efficient Graph-Based Image Segmentation, IJCV 2004.
    """

    name = "regions"
    weights = "none"

    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """Regions of an image u8 (h, w, 3) under the points f32 (p, 2) in px, in the order of the points,
        each region once.
        """
        if not len(points):
            return []
        height, width = image.shape[:2]
        ratio = min(1.0, MEASURE / max(height, width))
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        small = np.asarray(PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BOX))

        least = max(LEAST_PIXELS, small.shape[0] * small.shape[1] // LEAST_SHARE)
        maps = [felzenszwalb(small, scale=scale, sigma=SIGMA, min_size=least) for scale in SCALES]

        columns = np.clip((points[:, 0] * size[0] / width).astype(int), 0, size[0] - 1)
        rows = np.clip((points[:, 1] * size[1] / height).astype(int), 0, size[1] - 1)
        labels: dict[tuple[int, int], None] = {}  # each region once, in the order of the points
        for row, column in zip(rows, columns, strict=True):
            for level, regions in enumerate(maps):
                labels[level, int(regions[row, column])] = None
        return [_mask(maps[level] == label, height, width) for level, label in labels]


def _mask(region: np.ndarray, height: int, width: int) -> Mask:
    small = PillowImage.fromarray(region.astype(np.uint8))
    enlarged = small.resize((width, height), PillowImage.Resampling.NEAREST)
    return Mask(mask=np.asarray(enlarged) > 0, predicted_iou=1.0, stability=1.0)
