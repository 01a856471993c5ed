"""How a total is shared between clusters of unequal size."""

import numpy as np
from jaxtyping import Int64


def water_fill(sizes: Int64[np.ndarray, "k"], total: int) -> Int64[np.ndarray, "k"]:
    """Share ``total`` as evenly as the sizes allow: small clusters give all they have, the rest is shared
    evenly by the others.

    Args:
        sizes: int64 (k,), at least 0.
        total: at most the sum of the sizes.

    Returns:
        int64 (k,), at most ``sizes``, with sum ``total``; what does not divide goes to larger clusters, at a
        tie to later ones.

    Source: Vo et al. 2024 (arXiv 2405.15613, section 3.3).
    """
    quota = np.zeros(len(sizes), dtype=np.int64)
    left = total
    for place, label in enumerate(np.argsort(sizes, kind="stable")):
        quota[label] = min(int(sizes[label]), left // (len(sizes) - place))
        left -= quota[label]
    assert left == 0, "more asked for than there is"
    return quota
