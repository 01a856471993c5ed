"""Which key patches share a new image: no frame twice, and as many clusters as possible, in every composite."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Shaped
from scipy.optimize import linear_sum_assignment

from optidel.errors import BudgetError, RecipeError
from optidel.records import Composite, KeyPatch

GRIDS = (1, 4, 9, 16)
WINDOW = 256
"""Composites matched at once: the matching is cubic in it, so large corpora are cut into windows."""
SAME_FRAME = 1_000


def compose_plan(
    patches: Sequence[KeyPatch],
    *,
    grid: int = 4,
    side: int,
    rng: np.random.Generator,
    labels: Int64[np.ndarray, "m"] | None = None,
) -> list[Composite]:
    """Deal patches into composites of ``grid`` each.

    Patches of one frame never meet in a composite as long as the frame has no more patches than there are
    composites; under that, patches of one cluster meet as rarely as layer-by-layer matching finds. The place
    inside the grid is drawn.

    Args:
        patches: chosen, best first; a multiple of ``grid``.
        grid: patches in a composite, 1, 4, 9 or 16.
        side: side of the square composite in px.
        rng: the places in the grid.
        labels: int64 (m,), cluster of each patch; without them only frames are kept apart.

    Returns:
        Composites ``composite-00001``, …, ordered by their best patch.

    Raises:
        RecipeError: another grid, or a side too small for it.
        BudgetError: not a multiple of ``grid``.

    Source: OptiDEL (arXiv 2408.07107, figure 2 of its repository); which patches meet is this project's
        choice.
    """
    if grid not in GRIDS:
        raise RecipeError(f"grid must be 1, 4, 9 or 16 patches, got {grid}")
    if side < math.isqrt(grid):
        raise RecipeError(f"side must be at least {math.isqrt(grid)} px for {grid} patches, got {side}")
    if not patches or len(patches) % grid:
        raise BudgetError(f"composites of {grid} need a multiple of {grid} patches, got {len(patches)}")
    table = _deal(
        [patch.frame for patch in patches],
        np.zeros(len(patches), dtype=np.int64) if labels is None else labels,
        grid,
    )
    table = table[np.argsort(table.min(axis=1))]
    composites = []
    for number, row in enumerate(rng.permuted(table, axis=1), start=1):
        members = [patches[place] for place in row]
        sources, boxes = tuple(patch.frame for patch in members), tuple(patch.box for patch in members)
        composites.append(Composite(id=f"composite-{number:05d}", sources=sources, boxes=boxes, side=side))
    return composites


def originals(patches: Sequence[KeyPatch], count: int) -> Int64[np.ndarray, "o"]:
    """Which patches stand for their whole frame: the best of each of the first ``count`` frames.

    Args:
        patches: chosen, best first.
        count: whole frames wanted.

    Returns:
        int64 (count,), places in ``patches``, ascending.

    Raises:
        BudgetError: the patches come from fewer frames.
    """
    first = np.sort(np.unique([patch.frame for patch in patches], return_index=True)[1])
    if count > len(first):
        raise BudgetError(
            f"{count} whole frames are wanted, the chosen key patches come from {len(first)}; lower optidel.originals"
        )
    return first[:count]


def _deal(frames: Sequence[str], labels: Shaped[np.ndarray, "m"], grid: int) -> Int64[np.ndarray, "c grid"]:
    """Patch numbers of each composite.

    Patches are sorted by frame, largest frame first, and dealt like cards, one layer over all composites at a
    time. Consecutive patches of a frame then fall in different composites, so within each window of a layer
    there is a matching without two of a frame; the cheapest is taken, a frame met twice costing more than any
    number of clusters met twice.
    """
    size = Counter(frames)
    first = {frame: place for place, frame in reversed(list(enumerate(frames)))}
    order = sorted(range(len(frames)), key=lambda place: (-size[frames[place]], first[frames[place]], place))
    layers = np.array(order, dtype=np.int64).reshape(grid, -1)
    table = np.empty((layers.shape[1], grid), dtype=np.int64)
    table[:, 0] = layers[0]
    for depth in range(1, grid):
        for start in range(0, layers.shape[1], WINDOW):
            window = slice(start, start + WINDOW)
            new, old = layers[depth, window], table[window, :depth]
            table[window, depth] = new[linear_sum_assignment(_cost(new, old, frames, labels))[1]]
    return table


def _cost(
    new: Int64[np.ndarray, "w"],
    old: Int64[np.ndarray, "w depth"],
    frames: Sequence[str],
    labels: Shaped[np.ndarray, "m"],
) -> Int64[np.ndarray, "w w"]:
    """Cost of each new patch (columns) in each composite begun (rows)."""
    by_frame: dict[str, list[int]] = defaultdict(list)
    for column, place in enumerate(new):
        by_frame[frames[place]].append(column)
    cost: Int64[np.ndarray, "w w"] = (labels[old][:, :, None] == labels[new]).sum(axis=1)
    for row, places in enumerate(old):
        for place in places:
            cost[row, by_frame.get(frames[place], [])] += SAME_FRAME
    return cost
