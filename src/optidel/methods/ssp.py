"""Self-supervised prototypes: difficulty is the distance to the nearest k-means centroid."""

from typing import Literal

import numpy as np

from optidel.arrays import Vectors
from optidel.features.clusters import cluster
from optidel.methods.inputs import check_choice, check_k
from optidel.methods.outcome import greatest
from optidel.records import Selection


def ssp(
    vectors: Vectors,
    count: int,
    *,
    rng: np.random.Generator,
    end: Literal["hard", "easy"] = "hard",
    k: int | None = None,
) -> Selection:
    """Take the rows farthest from their prototype, or the nearest. A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        rng: the clustering.
        end: ``hard`` for the least, ``easy`` for the most prototypical rows. Hard suits large sets, easy
            small ones (the paper's figure 1).
        k: prototypes; default √n.

    Returns:
        The selection, best first; ties (to 6 decimals) in row order. Gain: the cosine distance to the
        prototype, or minus it for ``easy``.

    Raises:
        RecipeError: a parameter out of range.

    Source: Sorscher et al. 2022, section 6 (arXiv 2206.14486).
    """
    check_choice("end", end, ("hard", "easy"))
    check_k(k, len(vectors))
    clusters = cluster(vectors, k, rng=rng)
    # To six decimals, the precision of a float32 cosine, so that copies tie.
    distance = (1 - clusters.similarity).round(6)
    if end == "hard":
        return greatest(distance, count, dropped="more prototypical")
    return greatest(-distance, count, dropped="less prototypical")
