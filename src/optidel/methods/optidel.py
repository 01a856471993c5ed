"""OptiDEL as this project runs it: balanced over concepts, at the right difficulty, without near-copies."""

from collections.abc import Sequence

import numpy as np

from optidel.arrays import Scores, Vectors
from optidel.errors import RecipeError
from optidel.methods.concepts import concepts
from optidel.records import Selection
from optidel.theory import best_window

# Width of the window that theory places: for a scorer 20° off or more it costs at most a tenth more error
# than the narrowest, and it leaves each concept enough rows to draw from.
WIDTH = 0.3
# Degrees between a scorer and a perfect one where nothing is known of it. Sorscher et al. show 0, 10 and 20;
# a larger angle skips more of the hardest, so the largest of these is the careful choice.
ANGLE = 20.0
# Cosine distance within which two rows are near-copies: far below what two images of one concept are apart,
# about 0.5 in a whitened embedding, and above what compression or a neighbouring video frame changes.
RADIUS = 0.05
# Share of the easiest rows of a concept that the window of theory leaves out. Theory's easy examples are
# typical of their class; the images of the least reconstruction error are flat. A round number.
FLAT = 0.1


def optidel(
    vectors: Vectors,
    count: int,
    *,
    difficulty: Scores,
    rng: np.random.Generator,
    k: int | None = None,
    gamma: float = 0.5,
    window: Sequence[float] | None = None,
    angle: float = ANGLE,
    radius: float = RADIUS,
) -> Selection:
    """Share the count over concepts by the root of their size, and draw each share from a window of
    difficulty.

    Three parts, each of which can be taken out: balance (``gamma=1`` shares in proportion to the size), the
    window (``window=(0, 1)`` draws from all) and diversity (``radius=0`` compares nothing). :func:`concepts`
    does the work; this function decides the window.

    The window is a dial. By default theory sets it: with α = n/d rows for each dimension of the embedding, it
    skips the share of the hardest that :func:`optidel.theory.best_window` gives and draws from the next 0.3.
    A large corpus then uses its hardest rows, a small one its typical rows without the flattest tenth. Where
    another window lowers the held-out loss, set that one.

    Args:
        vectors: float (n, d), memory-mapped if large; centred and whitened, as a run passes them.
        count: rows to keep.
        difficulty: float (n,), higher is harder; compared inside a concept, by rank.
        rng: the clustering, the rounding of the shares and the draws.
        k: concepts; default √n, at most ``count``.
        gamma: exponent of the size of a concept in its share, in [0, 1].
        window: (low, high), quantiles of the difficulty inside each concept. None lets theory decide.
        angle: between the scorer of the difficulty and a perfect one, in degrees from 0 to 90; read where
            theory decides. :func:`optidel.theory.probe_angle` estimates it from two scorers.
        radius: cosine distance in [0, 2) within which one of two rows of a concept is passed over.

    Returns:
        The selection: the first draw of every concept, then the second, … Gain: how many rows of its concept
        each stands for. Each dropped row names the most similar kept row of its concept.

    Raises:
        RecipeError: a parameter out of range.

    Source: this project, after OptiDEL (arXiv 2408.07107); balance and window as in :func:`concepts`.
    """
    if not 0 <= angle <= 90:
        raise RecipeError(f"angle must be in degrees, 0 to 90, got {angle}; {ANGLE:g} is the default")
    if window is None:
        window = theory_window(len(vectors), vectors.shape[1], count, angle)
    return concepts(
        vectors,
        count,
        rng=rng,
        difficulty=difficulty,
        k=k,
        gamma=gamma,
        window=window,
        radius=radius,
    )


def theory_window(n: int, width: int, count: int, angle: float = ANGLE) -> tuple[float, float]:
    """The window of difficulty that theory gives a corpus.

    Args:
        n: rows.
        width: of the embedding, for the number of parameters.
        count: rows to keep.
        angle: as in :func:`optidel`.
    """
    keep = count / n
    if keep == 1:
        return 0.0, 1.0
    size = max(WIDTH, keep)
    best = best_window(n / width, angle, keep, size)
    low = max(best.low, min(FLAT, 1 - size))
    # To three decimals: finer differences are below the precision of the search.
    return round(low, 3), round(low + size, 3)
