"""Which key patches share a new image: never two of a frame, and as many clusters as possible."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Shaped

from optidel.errors import BudgetError, RecipeError
from optidel.records import Composite, KeyPatch

# Patches of a square grid, up to 4 × 4: a patch of a 5 × 5 grid at 64 px would be 12 px wide.
GRIDS = (1, 4, 9, 16)
# Composites matched at once: the matching is cubic in it, so large corpora are cut into windows.
WINDOW = 256
# Cost of meeting one's own frame. More than any number of clusters met twice: at most 15 of them.
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
    composites. Under that condition, patches of one cluster meet as rarely as layer-by-layer matching
    achieves. The cell inside the grid is drawn.

    Args:
        patches: the selection, best first; a multiple of ``grid``.
        grid: patches in a composite, 1, 4, 9 or 16.
        side: side of the square composite in px.
        rng: the cells of the grid.
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

    frames = [patch.frame for patch in patches]
    if labels is None:
        labels = np.zeros(len(patches), dtype=np.int64)
    table = _deal(frames, labels, grid)
    best_patch = table.min(axis=1)
    table = table[np.argsort(best_patch)]

    composites = []
    for number, row in enumerate(rng.permuted(table, axis=1), start=1):
        members = [patches[position] for position in row]
        composite = Composite(
            id=f"composite-{number:05d}",
            sources=tuple(patch.frame for patch in members),
            boxes=tuple(patch.box for patch in members),
            side=side,
        )
        composites.append(composite)
    return composites


def originals(patches: Sequence[KeyPatch], count: int) -> Int64[np.ndarray, "o"]:
    """Which patches stand for their whole frame: the best of each of the first ``count`` frames.

    Args:
        patches: the selection, best first.
        count: number of whole frames.

    Returns:
        int64 (count,), positions in ``patches``, ascending.

    Raises:
        BudgetError: the patches come from fewer frames.
    """
    frames = [patch.frame for patch in patches]
    _, first = np.unique(frames, return_index=True)
    if count > len(first):
        raise BudgetError(
            f"{count} whole frames are wanted, the chosen key patches come from {len(first)}; "
            "lower optidel.originals"
        )
    return np.sort(first)[:count]


def _deal(frames: Sequence[str], labels: Shaped[np.ndarray, "m"], grid: int) -> Int64[np.ndarray, "c grid"]:
    """Patch numbers of each composite.

    Patches are sorted by frame, largest frame first, and dealt like cards, one layer over all composites at a
    time. Consecutive patches of a frame then fall in different composites, so within each window of a layer
    there is a matching without two of a frame. The cheapest matching is used.
    """
    size = Counter(frames)
    first = {frame: position for position, frame in reversed(list(enumerate(frames)))}

    from scipy.optimize import linear_sum_assignment  # half a second to import, where patches are composed

    def turn(position: int) -> tuple[int, int, int]:
        frame = frames[position]
        return -size[frame], first[frame], position

    order = sorted(range(len(frames)), key=turn)
    layers = np.array(order, dtype=np.int64).reshape(grid, -1)
    table = np.empty((layers.shape[1], grid), dtype=np.int64)
    table[:, 0] = layers[0]

    for depth in range(1, grid):
        for start in range(0, layers.shape[1], WINDOW):
            window = slice(start, start + WINDOW)
            new = layers[depth, window]
            cost = _cost(new, table[window, :depth], frames, labels)
            _, columns = linear_sum_assignment(cost)
            table[window, depth] = new[columns]
    return table


def _cost(
    new: Int64[np.ndarray, "w"],
    old: Int64[np.ndarray, "w depth"],
    frames: Sequence[str],
    labels: Shaped[np.ndarray, "m"],
) -> Int64[np.ndarray, "w w"]:
    """Cost of each new patch (columns) in each composite begun (rows)."""
    by_frame: dict[str, list[int]] = defaultdict(list)
    for column, position in enumerate(new):
        frame = frames[position]
        by_frame[frame].append(column)

    same_cluster = labels[old][:, :, None] == labels[new]
    cost: Int64[np.ndarray, "w w"] = same_cluster.sum(axis=1)
    for row, members in enumerate(old):
        for position in members:
            frame = frames[position]
            cost[row, by_frame.get(frame, [])] += SAME_FRAME
    return cost
