"""Pointwise V-information: the images that a model predicts hardly better than one that has seen nothing."""

from typing import Literal

import numpy as np

from optidel.arrays import Scores, Vectors
from optidel.methods.inputs import check_choice
from optidel.methods.outcome import outcome
from optidel.records import Selection


def pvi(
    vectors: Vectors, count: int, *, difficulty: Scores, end: Literal["hard", "easy"] = "hard"
) -> Selection:
    """Take the ``count`` rows of the lowest pointwise V-information, or the highest. A smaller count keeps a
    prefix.

    Unlike the error alone, PVI does not call an image hard because it is rich in contrast: what the null
    model gets wrong too is taken off.

    Args:
        vectors: float (n, d); only their number is read.
        count: rows to keep.
        difficulty: float (n,), *minus* the pointwise V-information, so that higher is harder as for every
            method: see :func:`optidel.vinformation.difficulty` with scorer ``pvi``, which also is what a run
            hands in.
        end: ``hard`` for the lowest PVI, ``easy`` for the highest.

    Returns:
        The selection, best first; ties go to the lower row. Gain: minus the PVI, or the PVI for ``easy``, in
        the unit given.

    Raises:
        RecipeError: ``end`` is neither.

    Source: Ethayarajh et al., ICML 2022 (arXiv 2110.08420), equation 4: low PVI is hard for the model.
    """
    check_choice("end", end, ("hard", "easy"))
    gain = difficulty if end == "hard" else -difficulty
    chosen = np.argsort(-gain, kind="stable")[:count]
    return outcome(len(vectors), chosen, gain[chosen], dropped="less hard" if end == "hard" else "less easy")
