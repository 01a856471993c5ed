"""The analytic side of data pruning: how well a max-margin student generalises after pruning by an imperfect
teacher.

An example is known by its margin v along the teacher, label folded in so that v >= 0, its coordinate s along
the direction by which the probe leaves the teacher, and a Gaussian rest g. The student has overlaps a, b and
r with the three, a² + b² + r² = 1. Replica symmetry, which is exact here because the problem is convex,
leaves a small problem in place of the saddle point:

    maximise κ over (a, b, r) subject to  α · E[(κ − a·v − b·s − r·g)₊²] <= r²

Its stationary conditions are the saddle-point equations of the paper (there R = a, and the probe overlap ρ =
a·cosθ − b·sinθ). The root of the left side is convex, so the optimum is the only one, and no start, however
far, finds a wrong root.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri

from optidel.errors import RecipeError, nearest

Rule = Literal["hardest", "easiest", "random"]
_FAR = 9.0  # standard deviations: the mass beyond is below 1e-18
_PANEL = np.polynomial.legendre.leggauss(10)
_ACROSS = np.polynomial.legendre.leggauss(24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The student in the limit of many dimensions: unit vector (teacher, tilt, rest) and its margin κ (inputs
    have variance 1).
    """

    teacher: float
    tilt: float
    rest: float
    margin: float

    @property
    def error(self) -> float:
        """Probability that a fresh example is labelled wrongly, arccos(R) / π."""
        return float(np.arctan2(np.hypot(self.tilt, self.rest), self.teacher) / np.pi)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Law:
    """Quadrature of the kept examples: margin along the teacher, coordinate along the tilt, weights that sum
    to 1.
    """

    v: Float64[np.ndarray, "q"]
    s: Float64[np.ndarray, "q"]
    weight: Float64[np.ndarray, "q"]


def perceptron_error(
    alpha_total: float | Float[np.ndarray, "..."],
    keep: float | Float[np.ndarray, "..."],
    angle: float | Float[np.ndarray, "..."] = 0.0,
    *,
    rule: Rule = "hardest",
) -> float | Float64[np.ndarray, "..."]:
    """Generalisation error of a max-margin student trained on what pruning leaves, in the limit of many
    dimensions.

    Args:
        alpha_total: examples per dimension before pruning, positive; broadcasts.
        keep: fraction kept, in (0, 1]; broadcasts.
        angle: between the probe that judges the margins and the true teacher, degrees in [0, 90]; broadcasts.
        rule: keep the smallest ("hardest") or largest ("easiest") absolute margins along the probe, or any
            ("random").

    Returns:
        Share of fresh examples labelled wrongly, in [0, 0.5]; a float for three numbers, otherwise float64 of
        the broadcast shape.

    Raises:
        RecipeError: an argument out of range.

    Source: Sorscher et al., NeurIPS 2022 (arXiv 2206.14486), supplementary theory; keep = 1: Opper et al., J.
        Phys. A 23 (1990) L581.
    """
    shapes = np.broadcast(alpha_total, keep, angle)
    errors = [student_overlap(float(a), float(f), float(t), rule=rule).error for a, f, t in shapes]
    return np.array(errors).reshape(shapes.shape) if shapes.shape else errors[0]


def student_overlap(
    alpha_total: float, keep: float, angle: float = 0.0, *, rule: Rule = "hardest"
) -> Overlap:
    """Direction and margin of the max-margin student; arguments, errors and source as in `perceptron_error`."""
    _check(alpha_total, keep, angle, rule)
    if rule == "random":
        alpha_total, keep = alpha_total * keep, 1.0
    law = _law(keep, 0.0 if keep == 1 else np.radians(angle), easiest=rule == "easiest")
    return _solve(law, alpha_total * keep)


def _check(alpha_total: float, keep: float, angle: float, rule: str) -> None:
    if not (0 < alpha_total < np.inf):
        raise RecipeError(
            f"alpha_total must be a positive number of examples per dimension, got {alpha_total}; 5 to 100 are published"
        )
    if not 0 < keep <= 1:
        raise RecipeError(f"keep must be a fraction in (0, 1], got {keep}; 0.05 keeps 5 %")
    if not 0 <= angle <= 90:
        raise RecipeError(f"angle must be in degrees, 0 to 90, got {angle}; 10 is a good probe")
    if rule not in get_args(Rule):
        raise RecipeError(
            f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}{nearest(rule, get_args(Rule))}"
        )


def _law(keep: float, angle: float, *, easiest: bool) -> _Law:
    """Nodes on the kept strip |v·cosθ − s·sinθ| < cut, or outside it; fine where v is small and where the
    strip ends.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    cut = -ndtri(keep / 2) if easiest else ndtri((1 + keep) / 2)
    end_of_strip = (cut + sin * np.linspace(-_FAR, _FAR, 13)) / cos
    edges = np.unique(
        np.clip(np.concatenate([[0.0], np.geomspace(_FAR / 1e5, _FAR, 21), end_of_strip]), 0.0, _FAR)
    )
    half = np.diff(edges)[:, None] / 2
    v = (edges[:-1, None] + half * (1 + _PANEL[0])).ravel()
    weight = (half * _PANEL[1]).ravel() * np.exp(-(v**2) / 2)
    if sin == 0:
        inside = (v > cut) == easiest
        return _Law(v=v[inside], s=np.zeros(inside.sum()), weight=weight[inside] / weight[inside].sum())
    low, high = (np.clip((v * cos + side * cut) / sin, -_FAR, _FAR) for side in (-1, 1))
    far = np.full_like(v, _FAR)
    strips = [(-far, low), (high, far)] if easiest else [(low, high)]
    half_s = np.concatenate([(end - start) / 2 for start, end in strips])[:, None]
    s = np.concatenate([start for start, _ in strips])[:, None] + half_s * (1 + _ACROSS[0])
    density = np.tile(weight, len(strips))[:, None] * half_s * _ACROSS[1] * np.exp(-(s**2) / 2)
    used = density > density.sum() * 1e-22
    v_all = np.broadcast_to(np.tile(v, len(strips))[:, None], s.shape)
    return _Law(v=v_all[used], s=s[used], weight=density[used] / density[used].sum())


def _shortfall(law: _Law, x: Float64[np.ndarray, "4"]) -> tuple[float, Float64[np.ndarray, "4"]]:
    """E[(κ − a·v − b·s − r·g)₊²] at x = (κ, a, b, r), r > 0, and its gradient; the Gaussian g is integrated
    in closed form.
    """
    margin, a, b, rest = x
    gap = margin - a * law.v - b * law.s
    below, density = ndtr(gap / rest), np.exp(-((gap / rest) ** 2) / 2) * rest / np.sqrt(2 * np.pi)
    slope = 2 * law.weight * (gap * below + density)
    value = law.weight @ ((gap**2 + rest**2) * below + gap * density)
    return float(value), np.array(
        [slope.sum(), -slope @ law.v, -slope @ law.s, 2 * rest * (law.weight @ below)]
    )


def _solve(law: _Law, alpha: float) -> Overlap:
    """The widest margin over the student's three overlaps: a convex problem of four numbers."""

    def slack(x: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "2"]:
        return np.array([x[3] - np.sqrt(alpha * _shortfall(law, x)[0]), 1 - x[1:] @ x[1:]])

    def slack_gradient(x: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "2 4"]:
        value, gradient = _shortfall(law, x)
        return np.stack(
            [
                np.array([0, 0, 0, 1.0]) - np.sqrt(alpha / value) / 2 * gradient,
                np.concatenate([[0.0], -2 * x[1:]]),
            ]
        )

    start = np.array([0.0, 1.0, 0.0, 1.0]) / np.sqrt(2)
    found = minimize(
        lambda x: -x[0],
        start,
        jac=lambda x: np.array([-1.0, 0, 0, 0]),
        constraints={"type": "ineq", "fun": slack, "jac": slack_gradient},
        bounds=[(None, None), (0, 1), (-1, 1), (1e-9, 1)],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    margin, a, b, rest = found.x
    return Overlap(teacher=float(a), tilt=float(b), rest=float(rest), margin=float(margin))
