"""Pages that are reduced copies of another page of their file, whether or not they are marked as such."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Shaped

SMALLER = 1.5
"""Times that a page is larger than its reduced copy at least; pyramids halve."""

ROUNDING = 1.5
"""Pixels by which the sides of a reduced copy may miss the page's proportions: one of rounding, half of
ours.
"""

GRID = 16
"""Cells a side in which two pages are compared, at least 2 px each: enough to tell two pictures apart,
and coarse enough that pixels that were left out do not matter.
"""

ALIKE = 0.95
"""Correlation of the cells from which the smaller page is a copy: averaging, JPEG and decimation change
the mean of a cell hardly, and two pictures of one kind share less.
"""

Page = TypeVar("Page")


def without_levels(
    pages: Sequence[Page],
    sizes: Sequence[tuple[int, int]],
    values: Callable[[Page], Shaped[np.ndarray, "h w c"]],
) -> list[Page]:
    """The pages without those that show the same as a larger one.

    Args:
        pages: of one file.
        sizes: their widths and heights.
        values: decodes a page; only pages that have the proportions of another are.
    """
    # Most files are stacks of one size, which cost nothing here.
    if len(set(sizes)) == 1:
        return list(pages)
    measured: dict[tuple[int, int], Float64[np.ndarray, n] | None] = {}

    def cells(page: int, grid: int) -> Float64[np.ndarray, "n"] | None:
        if (page, grid) not in measured:
            measured[page, grid] = _cells(pages[page], grid, values)
        return measured[page, grid]

    def is_copy(small: int, large: int) -> bool:
        if not _is_reduced(sizes[small], sizes[large]):
            return False
        grid = min(GRID, min(sizes[small]) // 2)
        return _are_alike(cells(small, grid), cells(large, grid))

    numbers = range(len(pages))
    return [page for i, page in enumerate(pages) if not any(is_copy(i, other) for other in numbers)]


def _is_reduced(small: tuple[int, int], large: tuple[int, int]) -> bool:
    ratio = large[0] / small[0]
    return ratio >= SMALLER and abs(large[1] / ratio - small[1]) <= ROUNDING


def _cells(
    page: Page, grid: int, values: Callable[[Page], Shaped[np.ndarray, "h w c"]]
) -> Float64[np.ndarray, "n"] | None:
    """Means of grid x grid cells; None for a page that cannot be decoded, which is told when it is read."""
    try:
        grey = np.nan_to_num(values(page).astype(np.float32)).mean(axis=2, dtype=np.float64)
    except Exception:
        return None
    height, width = grey.shape
    rows = np.linspace(0, height, grid, endpoint=False).astype(int)
    columns = np.linspace(0, width, grid, endpoint=False).astype(int)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    return np.asarray((sums / areas).ravel())


def _are_alike(first: Float64[np.ndarray, "n"] | None, second: Float64[np.ndarray, "n"] | None) -> bool:
    if first is None or second is None:
        return False
    # Correlation says nothing about constants.
    if first.std() == 0 or second.std() == 0:
        return bool(np.allclose(first, second, rtol=0.02))
    return bool(np.corrcoef(first, second)[0, 1] >= ALIKE)
