"""Groups such as patients or videos: kept whole, or spread over, on top of any method."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Int64, Shaped

from optidel.methods.outcome import outcome
from optidel.methods.quotas import rank_in_group, water_fill
from optidel.records import Selection

GroupRule = Literal["spread", "together"]
# The method at a count.
Run = Callable[[int], Selection]


def spread(run: Run, groups: Shaped[np.ndarray, "n"], count: int) -> Selection:
    """Follow the method's order, but take no more of a group than its even share of the count
    (water-filling).

    The method is run for more and more rows until the shares can be filled.

    Args:
        run: the method.
        groups: (n,), the group of each row.
        count: rows to keep.
    """
    _, label = np.unique(groups, return_inverse=True)
    n = len(label)
    quota = water_fill(np.bincount(label), count)

    size = count
    while True:
        selection = run(size)
        labels = label[selection.indices]
        allowed = rank_in_group(labels) < quota[labels]
        if allowed.sum() == count:
            break
        # Doubling reaches n, where every share can be filled, in a few runs.
        size = min(n, 2 * size)

    picks = selection.indices[allowed]
    crowded = np.isin(np.arange(n), selection.indices)
    dropped = np.where(crowded, "group share full", selection.reason)
    return outcome(n, picks, selection.gains[allowed], dropped=dropped, twins=_staying(selection, picks))


def together(run: Run, groups: Shaped[np.ndarray, "n"], count: int) -> Selection:
    """Keep whole groups, first those of which the method would keep the largest share.

    One group at most is cut to meet the count.

    Args:
        run: the method.
        groups: (n,), the group of each row.
        count: rows to keep.
    """
    _, label = np.unique(groups, return_inverse=True)
    n = len(label)
    selection = run(count)
    rank = np.full(n, n, dtype=np.int64)
    rank[selection.indices] = np.arange(count)

    rows = _whole_groups(label, rank, selection.indices, count)
    order = np.argsort(rank[rows], kind="stable")
    picks = rows[order]

    gains = np.zeros(n)
    gains[selection.indices] = selection.gains
    twins = _staying(selection, picks)
    kept = np.where(rank < n, "kept", "kept with its group")
    return outcome(n, picks, gains[picks], dropped="group not kept", kept=kept, twins=twins)


def _whole_groups(
    label: Int64[np.ndarray, "n"],
    rank: Int64[np.ndarray, "n"],
    picks: Int64[np.ndarray, "m"],
    count: int,
) -> Int64[np.ndarray, "m"]:
    """The ``count`` rows of whole groups, and of one cut group at most.

    Args:
        label: the group of each row.
        rank: the method's rank of each row, n where it does not keep the row.
        picks: the rows the method keeps.
        count: rows to keep.
    """
    size = np.bincount(label)
    best = np.full(len(size), len(label), dtype=np.int64)
    np.minimum.at(best, label, rank)
    share = np.bincount(label[picks], minlength=len(size)) / size

    left, whole, cut = count, [], -1
    for group in np.lexsort((best, -share)):
        if size[group] <= left:
            whole.append(group)
            left -= size[group]
        elif cut < 0:
            cut = int(group)

    rows = np.flatnonzero(np.isin(label, whole))
    # The first group that did not fit fills what is left with its own best rows. A smaller group kept in the
    # meantime leaves less to fill.
    partial = np.flatnonzero(label == cut)
    filler = partial[np.argsort(rank[partial], kind="stable")][:left]
    return np.concatenate([rows, filler])


def _staying(
    selection: Selection, picks: Int64[np.ndarray, "m"]
) -> tuple[Int64[np.ndarray, "n"], Shaped[np.ndarray, "n"]]:
    """The method's twins of the rows that go, as far as the twins stay."""
    rows = np.arange(len(selection.reason))
    gone = ~np.isin(rows, picks)
    stays = np.isin(selection.kept_twin, picks) & gone
    twin = np.where(stays, selection.kept_twin, -1)
    similarity = np.where(stays, selection.similarity, np.nan)
    return twin, similarity
