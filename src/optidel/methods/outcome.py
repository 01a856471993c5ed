"""From the picked rows to a :class:`~optidel.records.Selection`, with the reason and the twin of every other
row.
"""

import numpy as np
from jaxtyping import Float, Int64, Shaped

from optidel.arrays import Vectors
from optidel.features.clusters import Clusters
from optidel.features.neighbours import nearest_rows
from optidel.features.rows import unit
from optidel.records import Selection


def outcome(
    n: int,
    picks: Int64[np.ndarray, "m"],
    gains: Float[np.ndarray, "m"],
    *,
    dropped: str | Shaped[np.ndarray, "n"],
    kept: str | Shaped[np.ndarray, "n"] = "kept",
    twins: tuple[Int64[np.ndarray, "n"], Float[np.ndarray, "n"]] | None = None,
) -> Selection:
    """Fill a selection.

    Args:
        n: number of rows.
        picks: int64 (m,), the rows kept, best first.
        gains: float (m,), in the method's own unit.
        dropped: why a row went, one text for all or one per row (that of a kept row is not read).
        kept: why a row stayed, likewise; begins with ``kept``.
        twins: the kept row that stands in for each dropped row (int64 (n,), −1 for none) and the cosine
            similarity; without it no row has one.
    """
    is_pick = np.zeros(n, dtype=bool)
    is_pick[picks] = True
    assert is_pick.sum() == len(picks), "a method picked a row twice"
    if twins is None:
        twins = np.full(n, -1, dtype=np.int64), np.full(n, np.nan)
    twin, similarity = twins
    return Selection(
        indices=np.asarray(picks, dtype=np.int64),
        gains=np.asarray(gains, dtype=np.float64),
        kept_twin=twin,
        similarity=similarity,
        reason=np.where(is_pick, kept, dropped),
    )


def greatest(gain: Float[np.ndarray, "n"], count: int, *, dropped: str) -> Selection:
    """Keep the ``count`` rows of the greatest gain; ties go to the lower row.

    Args:
        gain: float (n,).
        count: rows to keep.
        dropped: why the others went.
    """
    order = np.argsort(-gain, kind="stable")
    picks = order[:count]
    return outcome(len(gain), picks, gain[picks], dropped=dropped)


def cluster_twins(
    vectors: Vectors, clusters: Clusters, picks: Int64[np.ndarray, "m"]
) -> tuple[Int64[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """For every row not picked, the most similar pick of its cluster and of the clusters that it is a guest
    of.

    Args:
        vectors: float (n, d), memory-mapped if large.
        clusters: the partition.
        picks: int64 (m,), best first; the first wins at a tie.

    Returns:
        twin int64 (n,), −1 for picks and where the cluster has none; cosine similarity float64 (n,), NaN
        there.
    """
    n = len(vectors)
    rank = np.full(n, n, dtype=np.int64)
    rank[picks] = np.arange(len(picks))
    twin = np.full(n, -1, dtype=np.int64)
    similarity = np.full(n, np.nan)

    for rows in clusters.neighbourhoods():
        is_pick = rank[rows] < n
        kept, gone = rows[is_pick], rows[~is_pick]
        if len(kept) and len(gone):
            kept = kept[np.argsort(rank[kept])]
            gone_vectors = unit(np.asarray(vectors[gone]))
            kept_vectors = unit(np.asarray(vectors[kept]))
            best, cosine = nearest_rows(gone_vectors, kept_vectors)
            # Written as a negation, so that it also holds against NaN, a row without a twin so far.
            closer = ~(cosine <= similarity[gone])
            twin[gone[closer]] = kept[best[closer]]
            similarity[gone[closer]] = cosine[closer]
    return twin, similarity
