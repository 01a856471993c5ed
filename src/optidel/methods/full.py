"""Everything: the reference a small budget is compared with."""

import numpy as np

from optidel.arrays import Vectors
from optidel.errors import BudgetError
from optidel.methods.outcome import outcome
from optidel.records import Selection


def full(vectors: Vectors, count: int) -> Selection:
    """Keep every row, in their order.

    Args:
        vectors: float (n, d).
        count: must be n.

    Returns:
        The selection; every gain is 0.

    Raises:
        BudgetError: a smaller count.
    """
    n = len(vectors)
    if count != n:
        raise BudgetError(
            f"method 'full' keeps all {n} items, the budget asks for {count}; "
            "pass a budget of 1.0, or method 'random'"
        )
    return outcome(n, np.arange(n), np.zeros(n), dropped="")
