"""The hardest rows, nothing else: what OptiDEL is without diversity."""

from optidel.arrays import Scores, Vectors
from optidel.methods.outcome import greatest
from optidel.records import Selection


def hardest(vectors: Vectors, count: int, *, difficulty: Scores) -> Selection:
    """Take the ``count`` rows of the greatest difficulty; ties go to the lower row.

    A smaller count keeps a prefix.

    Args:
        vectors: float (n, d); only their number is read.
        count: rows to keep.
        difficulty: float (n,), higher is harder, for example reconstruction error.

    Returns:
        The selection, hardest first. Gain: the difficulty.
    """
    return greatest(difficulty, count, dropped="less hard")
