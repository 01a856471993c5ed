"""Groups such as patients or videos: kept whole, or spread over, on top of any method."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Int64, Shaped

from optidel.methods.outcome import outcome
from optidel.methods.quotas import water_fill
from optidel.records import Selection

GroupRule = Literal["spread", "together"]
Run = Callable[[int], Selection]
"""The method at a count."""


def spread(run: Run, groups: Shaped[np.ndarray, "n"], count: int) -> Selection:
    """Follow the method's order, but take no more of a group than its even share of the count
    (water-filling).

    The method is asked for more and more rows until the shares can be filled.

    Args:
        run: the method.
        groups: (n,), the group of each row.
        count: rows to keep.
    """
    _, label = np.unique(groups, return_inverse=True)
    n, quota = len(label), water_fill(np.bincount(label), count)
    asked = count
    while True:
        selection = run(asked)
        ordered = label[selection.indices]
        allowed = _place_in_group(ordered) < quota[ordered]
        if allowed.sum() == count:
            break
        asked = min(n, 2 * asked)
    chosen = selection.indices[allowed]
    crowded = np.isin(np.arange(n), selection.indices)
    dropped = np.where(crowded, "group share full", selection.reason)
    return outcome(n, chosen, selection.gains[allowed], dropped=dropped, twins=_staying(selection, chosen))


def together(run: Run, groups: Shaped[np.ndarray, "n"], count: int) -> Selection:
    """Keep whole groups, those of which the method would keep the largest share first; one group at most is
    cut to meet the count.

    Args:
        run: the method.
        groups: (n,), the group of each row.
        count: rows to keep.
    """
    _, label = np.unique(groups, return_inverse=True)
    n, selection = len(label), run(count)
    rank = np.full(n, n, dtype=np.int64)
    rank[selection.indices] = np.arange(count)
    size = np.bincount(label)
    best = np.full(len(size), n, dtype=np.int64)
    np.minimum.at(best, label, rank)
    share = np.bincount(label[selection.indices], minlength=len(size)) / size
    left, whole, cut = count, [], -1
    for group in np.lexsort((best, -share)):
        if size[group] <= left:
            whole.append(group)
            left -= size[group]
        elif cut < 0:
            cut = int(group)
    rows = np.flatnonzero(np.isin(label, whole))
    # The first group that did not fit fills what is left with its own best rows; a smaller one taken
    # meanwhile leaves less to fill.
    partial = np.flatnonzero(label == cut)
    rows = np.concatenate([rows, partial[np.argsort(rank[partial], kind="stable")][:left]])
    chosen = rows[np.argsort(rank[rows], kind="stable")]
    gains = np.zeros(n)
    gains[selection.indices] = selection.gains
    note = np.where(rank < n, "kept", "kept with its group")
    result = outcome(n, chosen, gains[chosen], dropped="group not kept", twins=_staying(selection, chosen))
    reason = result.reason.astype(np.promote_types(result.reason.dtype, note.dtype))
    reason[chosen] = note[chosen]
    return Selection(
        indices=result.indices,
        gains=result.gains,
        kept_twin=result.kept_twin,
        similarity=result.similarity,
        reason=reason,
    )


def _place_in_group(ordered: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
    """How many of its group come before each row."""
    by_group = np.argsort(ordered, kind="stable")
    sizes = np.bincount(ordered)
    place = np.empty(len(ordered), dtype=np.int64)
    place[by_group] = np.arange(len(ordered)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place


def _staying(
    selection: Selection, chosen: Int64[np.ndarray, "m"]
) -> tuple[Int64[np.ndarray, "n"], Shaped[np.ndarray, "n"]]:
    """The method's twins as far as they stay, for rows that go."""
    stays = np.isin(selection.kept_twin, chosen) & ~np.isin(np.arange(len(selection.reason)), chosen)
    return np.where(stays, selection.kept_twin, -1), np.where(stays, selection.similarity, np.nan)
