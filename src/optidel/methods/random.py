"""Uniform draw without replacement: the baseline every table shows."""

import numpy as np

from optidel.arrays import Vectors
from optidel.features.rows import random_order
from optidel.methods.outcome import outcome
from optidel.records import Selection


def random(vectors: Vectors, count: int, *, rng: np.random.Generator) -> Selection:
    """Draw ``count`` rows; every set of that size is equally likely.

    The draw depends on the rows' content, not on their order, and a smaller count keeps a prefix.

    Args:
        vectors: float (n, d).
        count: rows to keep.
        rng: the draw.

    Returns:
        The selection in order of the draw; every gain is 0.
    """
    order = random_order(vectors, rng)
    picks = order[:count]
    gains = np.zeros(count)
    return outcome(len(vectors), picks, gains, dropped="not drawn")
