"""A proposer without weights: graph-based segmentation at a fine and a coarse scale."""

import numpy as np
from PIL import Image as Raster
from skimage.segmentation import felzenszwalb

from optidel.arrays import Image
from optidel.models.masks import Mask, Points

MEASURE = 256  # px, longest side of the copy that is segmented
SCALES = (60.0, 250.0)  # felzenszwalb's scale: larger gives larger regions


class Regions:
    """The distinct regions that hold a point, at two scales; predicted IoU and stability are 1.0, for there
    are none.

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
        small = np.asarray(Raster.fromarray(image).resize(size, Raster.Resampling.BOX))
        least = max(4, small.shape[0] * small.shape[1] // 400)
        maps = [felzenszwalb(small, scale=scale, sigma=0.8, min_size=least) for scale in SCALES]
        columns = np.clip((points[:, 0] * size[0] / width).astype(int), 0, size[0] - 1)
        rows = np.clip((points[:, 1] * size[1] / height).astype(int), 0, size[1] - 1)
        seen = dict.fromkeys(
            (level, int(maps[level][row, column]))
            for row, column in zip(rows, columns, strict=True)
            for level in (0, 1)
        )
        return [_mask(maps[level] == label, height, width) for level, label in seen]


def _mask(region: np.ndarray, height: int, width: int) -> Mask:
    enlarged = Raster.fromarray(region.astype(np.uint8)).resize((width, height), Raster.Resampling.NEAREST)
    return Mask(mask=np.asarray(enlarged) > 0, predicted_iou=1.0, stability=1.0)
