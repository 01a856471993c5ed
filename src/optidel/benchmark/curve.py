"""A saturating curve of score against data, y = a − b·x^(−c), fitted and asked what less data would lose.

Legend: K points, E exponents.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Candidates of c: below, the curve cannot be told from a logarithm, above, from a step.
EXPONENTS = np.geomspace(0.05, 3.0, 200)

Values = Float[np.ndarray, "k"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """``ceiling`` − ``drop``·x^(−``rate``); drop is never negative, so more data never hurts."""

    ceiling: float
    drop: float
    rate: float

    def __call__(self, x: Values | float) -> Values:
        """The score expected at fractions x of the data."""
        return np.asarray(self.ceiling - self.drop * np.asarray(x, np.float64) ** -self.rate)

    def loss(self, x: Values | float) -> Values:
        """What is lost against all of the data (x = 1)."""
        whole = self(1.0)
        return np.asarray(whole - self(x))


def fit(x: Values, y: Values, weights: Values | None = None) -> Curve:
    """Weighted least squares: for each exponent of a fixed list the best a and b ≥ 0 in closed form, then the
    best exponent.

    Args:
        x: fractions of the data in (0, 1], at least 3 different ones.
        y: mean scores.
        weights: one over the variance of each; equal by default.

    Source: the power law of learning curves, Hestness et al. 2017 (arXiv 1712.00409), section 3.
    """
    share_K = np.full(len(x), 1 / len(x)) if weights is None else weights / weights.sum()
    basis_EK = -(x ** -EXPONENTS[:, None])
    centre_E, centre = basis_EK @ share_K, float(y @ share_K)
    apart_EK = basis_EK - centre_E[:, None]
    drop_E = np.maximum(0.0, apart_EK * (y - centre) @ share_K / np.maximum(apart_EK**2 @ share_K, 1e-30))
    error_E = (centre + drop_E[:, None] * apart_EK - y) ** 2 @ share_K
    best = int(error_E.argmin())
    drop = float(drop_E[best])
    return Curve(ceiling=centre - drop * float(centre_E[best]), drop=drop, rate=float(EXPONENTS[best]))


def left_out_errors(x: Values, y: Values) -> Values:
    """Error of the prediction of each inner point by a curve fitted to all others; the ends would be
    extrapolated.

    Returns:
        predicted minus measured, (k − 2,), in order of x; empty with fewer than 4 points.
    """
    order = np.argsort(x)
    inner = order[1:-1] if len(x) > 3 else order[:0]
    return np.array([float(fit(np.delete(x, row), np.delete(y, row))(x[row])) - y[row] for row in inner])
