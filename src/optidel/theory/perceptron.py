"""Data pruning, solved: how well a max-margin student generalises after pruning by an imperfect teacher.

An example has a margin v along the teacher, label folded in so that v >= 0, a coordinate s along the
direction by which the probe leaves the teacher, and a Gaussian rest g. The student has overlaps a, b and r
with the three, a² + b² + r² = 1. Replica symmetry, which is exact here because the problem is convex, leaves
a small problem in place of the saddle point:

    maximise κ over (a, b, r) subject to  α · E[(κ − a·v − b·s − r·g)₊²] <= r²

Its stationary conditions are the saddle-point equations of the paper (there R = a, and the probe overlap ρ =
a·cosθ − b·sinθ). The root of the left side is convex, so there is one optimum, and every start leads to it.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri

from optidel.errors import RecipeError, nearest

Rule = Literal["hardest", "easiest", "random"]

# Standard deviations at which the quadrature ends: the mass beyond is below 1e-18.
_FAR = 9.0
# Gauss-Legendre nodes on a panel of v, and on a strip of s for one v. Both are converged: the tests compare
# with the published closed form at keep = 1 and with simulations.
_PANEL = np.polynomial.legendre.leggauss(10)
_ACROSS = np.polynomial.legendre.leggauss(24)
# Panels of v shrink geometrically towards 0, where the kept examples of hard pruning lie.
_PANEL_EDGES = np.concatenate([[0.0], np.geomspace(_FAR / 1e5, _FAR, 21)])
# Coordinates s at which the end of the strip becomes an edge of a panel. A round number.
_EDGE_COORDINATES = np.linspace(-_FAR, _FAR, 13)
# Share of the mass below which a node is dropped: far below the precision of float64.
_NEGLIGIBLE = 1e-22
# The rest of the student stays positive, since its scale divides.
_SMALLEST_REST = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The student in the limit of many dimensions: a unit vector (teacher, tilt, rest) and its margin κ.

    Inputs have variance 1.
    """

    teacher: float
    tilt: float
    rest: float
    margin: float

    @property
    def error(self) -> float:
        """Probability that a fresh example is labelled wrongly, arccos(R) / π."""
        across = np.hypot(self.tilt, self.rest)
        return float(np.arctan2(across, self.teacher) / np.pi)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Law:
    """Quadrature of the kept examples: margins along teacher and tilt, and weights of sum 1."""

    v: Float64[np.ndarray, "q"]
    s: Float64[np.ndarray, "q"]
    weight: Float64[np.ndarray, "q"]


def perceptron_error(
    alpha_total: float | Float[np.ndarray, "..."],
    keep: float | Float[np.ndarray, "..."],
    angle: float | Float[np.ndarray, "..."] = 0.0,
    *,
    rule: Rule = "hardest",
    skip: float | Float[np.ndarray, "..."] = 0.0,
    width: float | None = None,
) -> float | Float64[np.ndarray, "..."]:
    """Generalisation error of a max-margin student trained on what pruning leaves, in the limit of many
    dimensions.

    Args:
        alpha_total: examples per dimension before pruning, positive; broadcasts.
        keep: fraction kept, in (0, 1]; broadcasts.
        angle: between the probe that judges the margins and the true teacher, degrees in [0, 90]; broadcasts.
        rule: keep the smallest ("hardest") or largest ("easiest") absolute margins along the probe, or any
            ("random").
        skip: fraction that is skipped at the rule's end before ``keep`` is kept, at most 1 − width; 0.1 with
            "hardest" leaves out the hardest tenth. "random" does not read it. Broadcasts.
        width: fraction that comes next and from which ``keep`` is drawn at random, at most 1 − skip; ``keep``
            itself where not given.

    Returns:
        Share of fresh examples labelled wrongly, in [0, 0.5]; a float for numbers, otherwise float64 of the
        broadcast shape.

    Raises:
        RecipeError: an argument out of range.

    Source: Sorscher et al., NeurIPS 2022 (arXiv 2206.14486), supplementary theory; keep = 1: Opper et al., J.
        Phys. A 23 (1990) L581. Skip and width are this project's.
    """
    cells = np.broadcast(alpha_total, keep, angle, skip)
    errors = []
    for alpha, fraction, degrees, skipped in cells:
        overlap = student_overlap(
            float(alpha), float(fraction), float(degrees), rule=rule, skip=float(skipped), width=width
        )
        errors.append(overlap.error)
    return np.array(errors).reshape(cells.shape) if cells.shape else errors[0]


def student_overlap(
    alpha_total: float,
    keep: float,
    angle: float = 0.0,
    *,
    rule: Rule = "hardest",
    skip: float = 0.0,
    width: float | None = None,
) -> Overlap:
    """Direction and margin of the max-margin student; arguments and source as in `perceptron_error`."""
    width = keep if width is None else width
    _check(alpha_total, keep, angle, rule, skip, width)
    if rule == "random":
        width, skip = 1.0, 0.0
    # Where the window is everything, the probe decides nothing.
    radians = 0.0 if width == 1 else float(np.radians(angle))
    low, high = _cuts(width, skip, easiest=rule == "easiest")
    return _solve(_law(low, high, radians), alpha_total * keep)


def _check(alpha_total: float, keep: float, angle: float, rule: str, skip: float, width: float) -> None:
    if not (0 < alpha_total < np.inf):
        raise RecipeError(
            f"alpha_total must be a positive number of examples per dimension, got {alpha_total}; "
            "5 to 100 are published"
        )
    if not 0 < keep <= 1:
        raise RecipeError(f"keep must be a fraction in (0, 1], got {keep}; 0.05 keeps 5 %")
    if not keep <= width <= 1:
        raise RecipeError(f"width must be a fraction in [keep, 1], at least {keep:g}, got {width}")
    # A sum such as 0.95 + 0.05 may exceed 1 by its last digit.
    if not 0 <= skip <= 1 - width + 1e-12:
        raise RecipeError(
            f"skip must be a fraction in [0, 1 − width], at most {1 - width:g}, got {skip}; 0 skips nothing"
        )
    if not 0 <= angle <= 90:
        raise RecipeError(f"angle must be in degrees, 0 to 90, got {angle}; 10 is a good probe")
    rules = get_args(Rule)
    if rule not in rules:
        raise RecipeError(f"rule must be one of {', '.join(rules)}, got {rule!r}{nearest(rule, rules)}")


def _cuts(width: float, skip: float, *, easiest: bool) -> tuple[float, float]:
    """The absolute margins along the probe between which an example may be kept."""
    if easiest:
        low = -ndtri((skip + width) / 2)
        high = -ndtri(skip / 2)
    else:
        low = ndtri((1 + skip) / 2)
        high = ndtri(min(1.0, (1 + skip + width) / 2))
    return float(low), float(high)


def _law(low: float, high: float, angle: float) -> _Law:
    """Nodes where low < |v·cosθ − s·sinθ| <= high; fine where v is small and where a strip ends."""
    cos, sin = np.cos(angle), np.sin(angle)
    cuts = [cut for cut in (low, high) if 0 < cut < np.inf]
    ends = [(cut + sin * _EDGE_COORDINATES) / cos for cut in cuts]
    v, weight = _panels(np.concatenate([_PANEL_EDGES, *ends]))
    if sin == 0:
        inside = (v > low) & (v <= high)
        kept = weight[inside]
        return _Law(v=v[inside], s=np.zeros(len(kept)), weight=kept / kept.sum())

    strips = [(-high, -low), (low, high)] if low > 0 else [(-high, high)]
    starts = np.concatenate([_coordinate(v, start, cos, sin) for start, _ in strips])
    stops = np.concatenate([_coordinate(v, stop, cos, sin) for _, stop in strips])
    nodes, node_weights = _ACROSS
    s, half = _placed(nodes, starts, stops)
    v_weight = np.tile(weight, len(strips))[:, None]
    density = v_weight * half * node_weights * np.exp(-(s**2) / 2)
    v_of_node = np.broadcast_to(np.tile(v, len(strips))[:, None], s.shape)

    used = density > density.sum() * _NEGLIGIBLE
    kept = density[used]
    return _Law(v=v_of_node[used], s=s[used], weight=kept / kept.sum())


def _panels(
    edges: Float64[np.ndarray, "e"],
) -> tuple[Float64[np.ndarray, "q"], Float64[np.ndarray, "q"]]:
    """Nodes of v on the panels between the edges, and their Gaussian weights."""
    inside = np.clip(edges, 0.0, _FAR)
    ordered = np.unique(inside)
    nodes, node_weights = _PANEL
    positions, half = _placed(nodes, ordered[:-1], ordered[1:])
    v = positions.ravel()
    area = (half * node_weights).ravel()
    return v, area * np.exp(-(v**2) / 2)


def _placed(
    nodes: Float64[np.ndarray, "g"], starts: Float64[np.ndarray, "k"], stops: Float64[np.ndarray, "k"]
) -> tuple[Float64[np.ndarray, "k g"], Float64[np.ndarray, "k 1"]]:
    """The nodes of a rule for [−1, 1] on each of several intervals, and half the length of each."""
    half = (stops - starts)[:, None] / 2
    return starts[:, None] + half * (1 + nodes), half


def _coordinate(v: Float64[np.ndarray, "q"], cut: float, cos: float, sin: float) -> Float64[np.ndarray, "q"]:
    """The coordinate s at which the margin along the probe is ``−cut``, as far as the quadrature goes."""
    coordinate: Float64[np.ndarray, q] = (v * cos + cut) / sin
    return coordinate.clip(-_FAR, _FAR)


def _shortfall(law: _Law, x: Float64[np.ndarray, "4"]) -> tuple[float, Float64[np.ndarray, "4"]]:
    """E[(κ − a·v − b·s − r·g)₊²] at x = (κ, a, b, r), r > 0, and its gradient; g is integrated in closed
    form.
    """
    margin, a, b, rest = x
    gap = margin - a * law.v - b * law.s
    standardised = gap / rest
    below = ndtr(standardised)
    density = np.exp(-(standardised**2) / 2) * rest / np.sqrt(2 * np.pi)
    mean_square = gap**2 + rest**2
    squares = mean_square * below + gap * density
    value = law.weight @ squares

    slope = 2 * law.weight * (gap * below + density)
    rest_slope = 2 * rest * (law.weight @ below)
    gradient = np.array([slope.sum(), -slope @ law.v, -slope @ law.s, rest_slope])
    return float(value), gradient


def _solve(law: _Law, alpha: float) -> Overlap:
    """The widest margin over the student's three overlaps: a convex problem of four numbers."""

    def slack(x: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "2"]:
        value, _ = _shortfall(law, x)
        overlaps, rest = x[1:], x[3]
        margin_slack = rest - np.sqrt(alpha * value)
        length_slack = 1 - overlaps @ overlaps
        return np.array([margin_slack, length_slack])

    def slack_gradient(x: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "2 4"]:
        value, gradient = _shortfall(law, x)
        root_gradient = np.sqrt(alpha / value) / 2 * gradient
        margin_row = np.array([0, 0, 0, 1.0]) - root_gradient
        length_row = np.concatenate([[0.0], -2 * x[1:]])
        return np.stack([margin_row, length_row])

    start = np.array([0.0, 1.0, 0.0, 1.0]) / np.sqrt(2)
    bounds = [(None, None), (0, 1), (-1, 1), (_SMALLEST_REST, 1)]
    solution = minimize(
        lambda x: -x[0],
        start,
        jac=lambda x: np.array([-1.0, 0, 0, 0]),
        constraints={"type": "ineq", "fun": slack, "jac": slack_gradient},
        bounds=bounds,
        method="SLSQP",
        # To the last digit: the error is arccos of an overlap close to 1, which magnifies.
        options={"ftol": 1e-15, "maxiter": 500},
    )
    margin, a, b, rest = solution.x
    return Overlap(teacher=float(a), tilt=float(b), rest=float(rest), margin=float(margin))
