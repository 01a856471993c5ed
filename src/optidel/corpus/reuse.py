"""Rows that an earlier artifact already holds: what did not change is copied, not computed again."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

Rows = Int64[np.ndarray, "n"]


def known_rows(old: Sequence[str], new: Sequence[str]) -> Rows:
    """For each frame, the row of an earlier table that holds the same pixels, or -1.

    Args:
        old: sha256 of the earlier frames, by row.
        new: sha256 of the frames now. Equal hashes are equal pixels, whatever the file is called.
    """
    row_of = {value: row for row, value in reversed(list(enumerate(old)))}
    return np.array([row_of.get(value, -1) for value in new], np.int64)
