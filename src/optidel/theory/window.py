"""Where the best window of difficulty lies: neither the hardest nor the easiest examples, but a band between.

In the perceptron the hardest examples help only a corpus with many examples per parameter and an accurate
probe. For every other corpus a better choice skips a share of the hardest and keeps the examples that come
next.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import minimize_scalar
from scipy.special import ndtri
from scipy.stats import rankdata

from optidel.errors import InputError
from optidel.theory.perceptron import perceptron_error

# Skipped shares of the coarse search, between which the best one is refined. The error changes fast near 0,
# where a corpus with many examples per parameter has its optimum, and slowly elsewhere.
_COARSE = np.array([0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
# Skipped shares closer than this have the same error to three digits.
_TOLERANCE = 1e-3
# Fewer rows leave a rank correlation undefined.
_LEAST_ROWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A band of difficulty, as quantiles of it, and what it is worth.

    Args:
        low: share of the examples that are easier than the window.
        high: 1 minus the share of the hardest that is skipped.
        error: generalisation error of a student trained on the window.
        hardest_error: the same for as many of the hardest examples.
        random_error: the same for as many random examples.
    """

    low: float
    high: float
    error: float
    hardest_error: float
    random_error: float


@lru_cache(maxsize=256)  # one corpus is asked for again by every seed and budget
def best_window(alpha: float, angle: float, keep: float, width: float | None = None) -> Window:
    """The window of difficulty that teaches a student most, in the solvable model of pruning.

    Args:
        alpha: examples per parameter before pruning; for a corpus, its size over the width of the embedding.
        angle: between the scorer and a perfect one, in degrees; :func:`probe_angle` estimates it.
        keep: fraction kept, in (0, 1].
        width: fraction of the examples in the window, from which ``keep`` is drawn at random; ``keep`` itself
            where not given. With a probe 20° off or more, a width of 0.3 costs hardly any error, and a draw
            leaves room for balance and diversity.

    Returns:
        The window and its error beside those of the hardest and of random examples.

    Raises:
        RecipeError: an argument out of range.

    Source: the replica theory of Sorscher et al. 2022 (arXiv 2206.14486) with a skipped share and a width,
        this project's extension.

    >>> from optidel.theory import best_window
    >>> window = best_window(alpha=100, angle=10, keep=0.05)
    >>> f"skip the hardest {1 - window.high:.2f}: error {window.error:.3f}, random {window.random_error:.3f}"
    'skip the hardest 0.08: error 0.027, random 0.094'

    """
    size = keep if width is None else width

    def error_after(skip: float) -> float:
        # A sum of fractions may exceed 1 by its last digit.
        possible = min(skip, 1 - size)
        error = perceptron_error(alpha, keep, angle, skip=possible, width=size)
        return float(error)

    skips = np.unique(_COARSE * (1 - size))
    errors = [error_after(float(skip)) for skip in skips]
    best = int(np.argmin(errors))
    skip = float(skips[best])
    error = errors[best]
    # A window of everything has one skip, 0, and nothing to refine.
    if len(skips) > 1:
        last = len(skips) - 1
        before = max(0, best - 1)
        after = min(last, best + 1)
        bounds = skips[before], skips[after]
        refined = minimize_scalar(error_after, bounds=bounds, method="bounded", options={"xatol": _TOLERANCE})
        # The refinement may end in a worse minimum than the coarse search found.
        if refined.fun < error:
            skip = float(refined.x)
            error = float(refined.fun)

    hardest_error = float(perceptron_error(alpha, keep, angle))
    random_error = float(perceptron_error(alpha, keep, rule="random"))
    high = 1 - skip
    low = max(0.0, high - size)
    return Window(low=low, high=high, error=error, hardest_error=hardest_error, random_error=random_error)


def probe_angle(first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"]) -> float:
    """How far a scorer is from a perfect one, from the agreement of two that were trained independently.

    Both are assumed to leave the perfect direction by the same angle θ, in unrelated directions. The angle φ
    between them then has cos φ = cos² θ. Their difficulties are compared by rank, so any increasing scale
    serves; a rank is read as a margin, of which the hardest example has the smallest.

    Args:
        first: float (n,), difficulty by one scorer, higher is harder.
        second: float (n,), difficulty of the same items by another, for example trained on the other half of
            the corpus.

    Returns:
        θ in degrees, 0 for scorers that agree and 90 for scorers that do not agree better than chance.

    Raises:
        InputError: fewer than 3 items, different lengths, or a scorer that gives every item the same
            difficulty.

    >>> import numpy as np
    >>> from optidel.theory import probe_angle
    >>> difficulty = np.arange(100.0)
    >>> probe_angle(difficulty, difficulty)
    0.0

    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < _LEAST_ROWS:
        raise InputError(
            f"two scorers must give one difficulty for each of the same {_LEAST_ROWS} or more items, "
            f"got shapes {first.shape} and {second.shape}"
        )
    first_margin = _margins(first)
    second_margin = _margins(second)
    if first_margin.std() == 0 or second_margin.std() == 0:
        raise InputError("a scorer gives every item the same difficulty; its agreement is undefined")
    correlations = np.corrcoef(first_margin, second_margin)
    correlation = float(correlations[0, 1])

    # Cosines between the scorers; a finer grid changes the angle by less than 0.1°.
    grid = np.linspace(0, 1, 2001)
    cos_phi = np.interp(correlation, _margin_correlation(grid), grid)
    cos_theta = np.sqrt(cos_phi)
    theta = np.arccos(cos_theta)
    return float(np.degrees(theta))


def _margins(difficulty: Float[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Absolute margins (half-normal) of the same order, the hardest item nearest 0."""
    # The middle of each rank's interval, so that neither end is at a quantile of 0 or 1.
    ease = rankdata(-difficulty) - 0.5
    quantile = ease / len(difficulty)
    two_sided = (1 + quantile) / 2
    margins: Float64[np.ndarray, n] = ndtri(two_sided)
    return margins


def _margin_correlation(cosine: Float64[np.ndarray, "k"]) -> Float64[np.ndarray, "k"]:
    """Correlation of |x| and |y| for standard normal x and y with the correlation ``cosine``."""
    sine = np.sqrt(1 - cosine**2)
    scale = 2 / np.pi
    mean_product = scale * (sine + cosine * np.arcsin(cosine))
    squared_mean = scale
    covariance = mean_product - squared_mean
    variance = 1 - squared_mean
    correlation: Float64[np.ndarray, k] = covariance / variance
    return correlation
