"""Draws that depend on the content of the rows and not on their order."""

import numpy as np
from jaxtyping import Float64, Int64

from optidel.arrays import Vectors
from optidel.features.rows import content_keys


def weighted_order(
    vectors: Vectors, weight: Float64[np.ndarray, "n"], rng: np.random.Generator
) -> Int64[np.ndarray, "n"]:
    """All rows in the order of a draw without replacement, each step in proportion to the weights that are
    left.

    Args:
        vectors: float (n, d).
        weight: float64 (n,), positive.
        rng: the draw.

    Source: Efraimidis and Spirakis 2006: the rows whose exponential clocks ring first are drawn.
    """
    # The upper 53 of 64 bits are a float64 in [0, 1).
    keys = content_keys(vectors, rng) >> np.uint64(11)
    uniform = keys.astype(np.float64) / 2**53
    clock = np.log1p(-uniform) / -weight
    return np.argsort(clock, kind="stable")
