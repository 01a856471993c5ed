"""Where to ask a mask generator: a regular grid, or the few places where the error map peaks."""

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image as Raster

from optidel.arrays import BoolImage

Points = Float32[np.ndarray, "p 2"]
"""x, y in pixels of the frame."""


def grid_points(height: int, width: int, side: int = 32) -> Points:
    """Cell centres of a ``side`` x ``side`` grid over the frame, row by row.

    Returns:
        f32 (side², 2), x and y in px.

    Source: Segment Anything (arXiv 2304.02643), automatic mask generation.
    """
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side
    x, y = np.meshgrid(centres * width, centres * height)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def error_points(
    error_map: Float[np.ndarray, "g g"],
    height: int,
    width: int,
    count: int = 8,
    valid: BoolImage | None = None,
) -> Points:
    """The highest cells of an error map, no two of them neighbours, highest first.

    A cell less than three quarters valid is left out, the others are weighted by their valid share: the error
    of a cell that straddles a border is the border's. A cell under half the mean is no peak: that is where
    dark surroundings lie.

    Args:
        error_map: (g, g), error of the frame stretched to a square.
        height, width: of the frame, px.
        count: at most so many points; fewer where the cells run out.
        valid: bool (height, width), True where a point may lie; everywhere by default.

    Returns:
        f32 (p, 2), x and y in px: the cell's centre, or the valid pixel nearest to it.
    """
    cells = error_map.shape[0]
    mask = np.ones((height, width), dtype=bool) if valid is None else valid
    share = np.asarray(
        Raster.fromarray(mask.astype(np.float32)).resize((cells, cells), Raster.Resampling.BOX)
    )
    left = np.where(
        (share >= 0.75) & np.isfinite(error_map), np.asarray(error_map, dtype=np.float64) * share, -np.inf
    )
    seen = np.isfinite(left)
    if seen.any():
        left[left < 0.5 * left[seen].mean()] = -np.inf
    radius = max(1, cells // 8)
    points: list[tuple[float, float]] = []
    while len(points) < count and np.isfinite(left).any():
        row, column = divmod(int(left.argmax()), cells)
        left[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1] = -np.inf
        points.append(
            _nearest_valid(mask, (column + 0.5) / cells * width, (row + 0.5) / cells * height, cells)
        )
    return np.array(points, dtype=np.float32).reshape(-1, 2)


def _nearest_valid(mask: BoolImage, x: float, y: float, cells: int) -> tuple[float, float]:
    """The valid pixel nearest to (x, y) in the cell around it, or (x, y) itself where that is valid."""
    height, width = mask.shape
    if mask[min(int(y), height - 1), min(int(x), width - 1)]:
        return x, y
    top, left = int(max(y - height / cells / 2, 0)), int(max(x - width / cells / 2, 0))
    rows, columns = np.nonzero(
        mask[top : int(y + height / cells / 2) + 1, left : int(x + width / cells / 2) + 1]
    )
    best = int(((rows + top - y) ** 2 + (columns + left - x) ** 2).argmin())
    return float(columns[best] + left), float(rows[best] + top)
