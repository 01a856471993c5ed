"""Where to ask a mask generator: a regular grid, or the few places where the error map peaks."""

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image as PillowImage

from optidel.arrays import BoolImage

# Share of a cell that must be valid: the error of a cell that straddles a border is the border's.
VALID_SHARE = 0.75
# Share of the mean error below which a cell is no peak.
PEAK_SHARE = 0.5
# Two points are more than an eighth of the map apart. A round number.
CELLS_APART = 8

Points = Float32[np.ndarray, "p 2"]
"""x, y in pixels of the frame."""


def grid_points(height: int, width: int, side: int = 32) -> Points:
    """Cell centres of a ``side`` x ``side`` grid over the frame, row by row.

    Returns:
        f32 (side², 2), x and y in px.

    Source: Segment Anything (arXiv 2304.02643), automatic mask generation.
    """
    cells = np.arange(side, dtype=np.float32)
    centres = (cells + 0.5) / side
    x, y = np.meshgrid(centres * width, centres * height)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return points.astype(np.float32)


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
    # A box filter averages, so a cell of the shrunk mask is the share of it that is valid.
    shrunk = PillowImage.fromarray(mask.astype(np.float32)).resize((cells, cells), PillowImage.Resampling.BOX)
    share = np.asarray(shrunk)

    weighted = np.asarray(error_map, dtype=np.float64) * share
    eligible = (share >= VALID_SHARE) & np.isfinite(error_map)
    # Cells that a point may still be put in keep their error; all others are minus infinity.
    peaks = np.where(eligible, weighted, -np.inf)
    finite = np.isfinite(peaks)
    if finite.any():
        least = PEAK_SHARE * peaks[finite].mean()
        peaks[peaks < least] = -np.inf

    radius = max(1, cells // CELLS_APART)
    points: list[tuple[float, float]] = []
    while len(points) < count and np.isfinite(peaks).any():
        row, column = divmod(int(peaks.argmax()), cells)
        rows = slice(max(row - radius, 0), row + radius + 1)
        columns = slice(max(column - radius, 0), column + radius + 1)
        peaks[rows, columns] = -np.inf
        x = (column + 0.5) / cells * width
        y = (row + 0.5) / cells * height
        points.append(_nearest_valid(mask, x, y, cells))
    return np.array(points, dtype=np.float32).reshape(-1, 2)


def _nearest_valid(mask: BoolImage, x: float, y: float, cells: int) -> tuple[float, float]:
    """The valid pixel nearest to (x, y) in the cell around it, or (x, y) itself where that is valid."""
    height, width = mask.shape
    row = min(int(y), height - 1)
    column = min(int(x), width - 1)
    if mask[row, column]:
        return x, y

    half_height = height / cells / 2
    half_width = width / cells / 2
    top = int(max(y - half_height, 0))
    left = int(max(x - half_width, 0))
    foot = int(y + half_height) + 1
    right = int(x + half_width) + 1
    inner_rows, inner_columns = np.nonzero(mask[top:foot, left:right])
    rows = inner_rows + top
    columns = inner_columns + left
    squares = (rows - y) ** 2 + (columns - x) ** 2
    best = int(squares.argmin())
    return float(columns[best]), float(rows[best])
