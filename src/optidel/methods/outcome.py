"""From chosen rows to a :class:`~optidel.records.Selection`, with the reason and the twin of everything else."""

import numpy as np
from jaxtyping import Float, Int64, Shaped

from optidel.arrays import Vectors
from optidel.features.clusters import Clusters
from optidel.features.neighbours import nearest_rows
from optidel.features.rows import unit
from optidel.records import Selection


def outcome(
    n: int,
    chosen: Int64[np.ndarray, "m"],
    gains: Float[np.ndarray, "m"],
    *,
    dropped: str | Shaped[np.ndarray, "n"],
    twins: tuple[Int64[np.ndarray, "n"], Float[np.ndarray, "n"]] | None = None,
) -> Selection:
    """Fill a selection.

    Args:
        n: rows there were.
        chosen: int64 (m,), best first.
        gains: float (m,), in the method's own unit.
        dropped: why a row went, one text for all or one per row (kept rows are overwritten).
        twins: kept row standing in for each dropped row (int64 (n,), −1 for none) and the cosine similarity;
            none where not given.
    """
    kept = np.zeros(n, dtype=bool)
    kept[chosen] = True
    assert kept.sum() == len(chosen), "a method chose a row twice"
    twin, similarity = twins or (np.full(n, -1, dtype=np.int64), np.full(n, np.nan))
    return Selection(
        indices=np.asarray(chosen, dtype=np.int64),
        gains=np.asarray(gains, dtype=np.float64),
        kept_twin=twin,
        similarity=similarity,
        reason=np.where(kept, "kept", dropped),
    )


def cluster_twins(
    vectors: Vectors, clusters: Clusters, chosen: Int64[np.ndarray, "m"]
) -> tuple[Int64[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """For every row that is not chosen, the most similar chosen row of its cluster and those it is a guest
    of, the first chosen at a tie.

    Args:
        vectors: float (n, d), memory-mapped if large.
        clusters: the partition.
        chosen: int64 (m,), best first.

    Returns:
        twin int64 (n,), −1 for chosen rows and where no such row is chosen; cosine similarity float64 (n,),
        NaN there.
    """
    n = len(vectors)
    place = np.full(n, n, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    twin, similarity = np.full(n, -1, dtype=np.int64), np.full(n, np.nan)
    for rows in clusters.neighbourhoods():
        kept = rows[place[rows] < n]
        gone = rows[place[rows] == n]
        if len(kept) and len(gone):
            kept = kept[np.argsort(place[kept])]
            best, cosine = nearest_rows(unit(np.asarray(vectors[gone])), unit(np.asarray(vectors[kept])))
            closer = ~(cosine <= similarity[gone])
            twin[gone[closer]], similarity[gone[closer]] = kept[best[closer]], cosine[closer]
    return twin, similarity
