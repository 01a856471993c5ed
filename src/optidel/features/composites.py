"""Draw a composite from its provenance, byte for byte the same each time."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image as PillowImage

from optidel.arrays import Image
from optidel.errors import InputError
from optidel.records import Box, Composite


def render(composite: Composite, load: Callable[[str], Image]) -> Image:
    """Crop every box from its frame and place it in its cell of the grid.

    Cells are as equal as whole pixels allow. Crops are resized with Pillow's Lanczos filter from the box
    alone: no pixel outside leaks in.

    Args:
        composite: sources and boxes in row-major order.
        load: frame id to u8 (h, w, 3); called once per frame.

    Returns:
        u8 (side, side, 3).

    Raises:
        InputError: a box that is empty or reaches outside its frame.
    """
    canvas = np.empty((composite.side, composite.side, 3), dtype=np.uint8)
    for source in dict.fromkeys(composite.sources):
        paste(canvas, composite, source, load(source))
    return canvas


def paste(canvas: Image, composite: Composite, source: str, frame: Image) -> None:
    """Fill the cells of ``canvas`` u8 (side, side, 3) that come from one frame u8 (h, w, 3); see
    :func:`render`.
    """
    cells = cell_boxes(composite)
    height, width = frame.shape[:2]
    numbers = [number for number, name in enumerate(composite.sources) if name == source]
    for number in numbers:
        box = composite.boxes[number]
        x0, y0, x1, y1 = box
        inside_across = 0 <= x0 < x1 <= width
        inside_down = 0 <= y0 < y1 <= height
        if not (inside_across and inside_down):
            raise InputError(
                f"{composite.id}: box {box} lies outside frame {source!r} of {width}×{height} px; "
                "was the corpus changed?"
            )

        left, top, right, foot = cells[number]
        # Cut before it is resized: the filter must not see a pixel beyond the box.
        cut = np.ascontiguousarray(frame[y0:y1, x0:x1])
        size = (right - left, foot - top)
        crop = PillowImage.fromarray(cut).resize(size, PillowImage.Resampling.LANCZOS)
        canvas[top:foot, left:right] = np.asarray(crop)


def cell_boxes(composite: Composite) -> list[Box]:
    """Where each key patch lies in the new image: (x0, y0, x1, y1) px, ends exclusive, in row-major order.

    >>> cell_boxes(Composite(id="c", sources=("a",) * 4, boxes=((0, 0, 8, 8),) * 4, side=5))
    [(0, 0, 2, 2), (2, 0, 5, 2), (0, 2, 2, 5), (2, 2, 5, 5)]
    """
    count = len(composite.sources)
    across = math.isqrt(count)
    assert across**2 == count == len(composite.boxes), "a composite is a square grid"
    edges = [round(cell * composite.side / across) for cell in range(across + 1)]

    boxes = []
    for number in range(count):
        row, column = divmod(number, across)
        boxes.append((edges[column], edges[row], edges[column + 1], edges[row + 1]))
    return boxes
