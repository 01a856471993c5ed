"""Pointwise V-information: the images that a model predicts hardly better than one that has seen nothing."""

from typing import Literal

from optidel.arrays import Scores, Vectors
from optidel.methods.inputs import check_choice
from optidel.methods.outcome import greatest
from optidel.records import Selection


def pvi(
    vectors: Vectors, count: int, *, difficulty: Scores, end: Literal["hard", "easy"] = "hard"
) -> Selection:
    """Take the ``count`` rows of the lowest pointwise V-information, or the highest. A smaller count keeps a
    prefix.

    Unlike the error alone, PVI does not call an image hard because it is rich in contrast: the error of the
    null model is subtracted.

    Args:
        vectors: float (n, d); only their number is read.
        count: rows to keep.
        difficulty: float (n,), *minus* the pointwise V-information, so that higher is harder as for every
            method: :func:`optidel.vinformation.difficulty` with scorer ``pvi``, as a run passes it.
        end: ``hard`` for the lowest PVI, ``easy`` for the highest.

    Returns:
        The selection, best first; ties go to the lower row. Gain: minus the PVI, or the PVI for ``easy``, in
        the unit of ``difficulty``.

    Raises:
        RecipeError: ``end`` is neither.

    Source: Ethayarajh et al., ICML 2022 (arXiv 2110.08420), equation 4: low PVI is hard for the model.
    """
    check_choice("end", end, ("hard", "easy"))
    if end == "hard":
        return greatest(difficulty, count, dropped="less hard")
    return greatest(-difficulty, count, dropped="less easy")
