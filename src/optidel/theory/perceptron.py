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
        # arctan2, not arccos: near R = 1, arccos loses half of the digits.
        across = np.hypot(self.tilt, self.rest)
        angle = np.arctan2(across, self.teacher)
        return float(angle / np.pi)


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

    if not cells.shape:
        return errors[0]
    return np.array(errors).reshape(cells.shape)


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
    if width is None:
        width = keep
    _check(alpha_total, keep, angle, rule, skip, width)
    if rule == "random":
        width = 1.0
        skip = 0.0
    # Where the window is everything, the probe decides nothing.
    if width == 1:
        angle = 0.0

    theta = float(np.radians(angle))
    easiest = rule == "easiest"
    low, high = _cuts(width, skip, easiest=easiest)
    law = _law(low, high, theta)
    alpha_kept = alpha_total * keep
    return _solve(law, alpha_kept)


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
    # A margin is half-normal: the mass of |z| below m is 2Φ(m) − 1, so each quantile is halved.
    if easiest:
        upper_tail = (skip + width) / 2
        low = -ndtri(upper_tail)
        high = -ndtri(skip / 2)
    else:
        lower = (1 + skip) / 2
        upper = (1 + skip + width) / 2
        low = ndtri(lower)
        # A sum of fractions may exceed 1 by its last digit.
        high = ndtri(min(1.0, upper))
    return float(low), float(high)


def _law(low: float, high: float, theta: float) -> _Law:
    """Nodes where low < |v·cosθ − s·sinθ| <= high; fine where v is small and where a strip ends."""
    cos = np.cos(theta)
    sin = np.sin(theta)
    edges = [_PANEL_EDGES]
    for cut in (low, high):
        if 0 < cut < np.inf:
            strip_ends = (cut + sin * _EDGE_COORDINATES) / cos
            edges.append(strip_ends)
    v, v_weight = _panels(np.concatenate(edges))

    # A perfect probe sees v alone, and every s is as likely as another.
    if sin == 0:
        inside = (v > low) & (v <= high)
        s = np.zeros(inside.sum())
        return _normalised(v[inside], s, v_weight[inside])

    # A margin has two signs: two strips, which are one where low is 0.
    strips = [(-high, high)]
    if low > 0:
        strips = [(-high, -low), (low, high)]
    starts = []
    stops = []
    for start, stop in strips:
        starts.append(_coordinate(v, start, cos, sin))
        stops.append(_coordinate(v, stop, cos, sin))

    nodes, node_weights = _ACROSS
    s, half = _placed(nodes, np.concatenate(starts), np.concatenate(stops))
    v_weight_of_strip = np.tile(v_weight, len(strips))[:, None]
    v_of_strip = np.tile(v, len(strips))[:, None]
    s_density = np.exp(-(s**2) / 2)
    mass = v_weight_of_strip * half * node_weights * s_density

    used = mass > mass.sum() * _NEGLIGIBLE
    v_of_node = np.broadcast_to(v_of_strip, s.shape)
    return _normalised(v_of_node[used], s[used], mass[used])


def _normalised(
    v: Float64[np.ndarray, "q"], s: Float64[np.ndarray, "q"], mass: Float64[np.ndarray, "q"]
) -> _Law:
    """The law of nodes whose masses need not sum to 1."""
    total = mass.sum()
    return _Law(v=v, s=s, weight=mass / total)


def _panels(
    edges: Float64[np.ndarray, "e"],
) -> tuple[Float64[np.ndarray, "q"], Float64[np.ndarray, "q"]]:
    """Nodes of v on the panels between the edges, and their Gaussian weights."""
    inside = np.clip(edges, 0.0, _FAR)
    ordered = np.unique(inside)
    starts = ordered[:-1]
    stops = ordered[1:]

    nodes, node_weights = _PANEL
    positions, half = _placed(nodes, starts, stops)
    v = positions.ravel()
    area = (half * node_weights).ravel()
    density = np.exp(-(v**2) / 2)
    return v, area * density


def _placed(
    nodes: Float64[np.ndarray, "g"], starts: Float64[np.ndarray, "k"], stops: Float64[np.ndarray, "k"]
) -> tuple[Float64[np.ndarray, "k g"], Float64[np.ndarray, "k 1"]]:
    """The nodes of a rule for [−1, 1] on each of several intervals, and half the length of each."""
    lengths = stops - starts
    half = lengths[:, None] / 2
    offsets = half * (1 + nodes)
    return starts[:, None] + offsets, half


def _coordinate(v: Float64[np.ndarray, "q"], cut: float, cos: float, sin: float) -> Float64[np.ndarray, "q"]:
    """The coordinate s at which the margin along the probe is ``−cut``, as far as the quadrature goes."""
    along_teacher = v * cos
    coordinate: Float64[np.ndarray, q] = (along_teacher + cut) / sin
    return coordinate.clip(-_FAR, _FAR)


def _shortfall(law: _Law, x: Float64[np.ndarray, "4"]) -> tuple[float, Float64[np.ndarray, "4"]]:
    """E[(κ − a·v − b·s − r·g)₊²] at x = (κ, a, b, r), r > 0, and its gradient; g is integrated in closed
    form.
    """
    kappa, a, b, r = x
    gap = kappa - a * law.v - b * law.s
    z = gap / r
    below = ndtr(z)
    bell = np.exp(-(z**2) / 2)
    density = bell * r / np.sqrt(2 * np.pi)

    # With g normal, E[(gap − r·g)₊²] = (gap² + r²)·Φ(z) + gap·r·φ(z), and E[(gap − r·g)₊] follows from it.
    mean_square = gap**2 + r**2
    squares = mean_square * below + gap * density
    value = law.weight @ squares

    mean = gap * below + density
    slope = 2 * law.weight * mean
    kappa_slope = slope.sum()
    a_slope = -slope @ law.v
    b_slope = -slope @ law.s
    r_slope = 2 * r * (law.weight @ below)
    return float(value), np.array([kappa_slope, a_slope, b_slope, r_slope])


def _solve(law: _Law, alpha: float) -> Overlap:
    """The widest margin over the student's three overlaps: a convex problem of four numbers."""

    def slack(x: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "2"]:
        value, _ = _shortfall(law, x)
        overlaps = x[1:]
        r = x[3]
        # The root of the condition, not its square: it is convex, and its slope does not vanish at 0.
        margin_slack = r - np.sqrt(alpha * value)
        length_slack = 1 - overlaps @ overlaps
        return np.array([margin_slack, length_slack])

    def slack_gradient(x: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "2 4"]:
        value, gradient = _shortfall(law, x)
        overlaps = x[1:]
        root_slope = np.sqrt(alpha / value) / 2
        root_gradient = root_slope * gradient
        margin_row = np.array([0, 0, 0, 1.0]) - root_gradient
        length_row = np.concatenate([[0.0], -2 * overlaps])
        return np.stack([margin_row, length_row])

    # A student half way between the teacher and the rest; the problem is convex, so any start would do.
    start = np.array([0.0, 1.0, 0.0, 1.0]) / np.sqrt(2)
    # SLSQP minimises, so the objective is −κ.
    ascent = np.array([-1.0, 0, 0, 0])
    conditions = {"type": "ineq", "fun": slack, "jac": slack_gradient}
    bounds = [(None, None), (0, 1), (-1, 1), (_SMALLEST_REST, 1)]
    solution = minimize(
        lambda x: -x[0],
        start,
        jac=lambda x: ascent,
        constraints=conditions,
        bounds=bounds,
        method="SLSQP",
        # To the last digit: the error is arccos of an overlap close to 1, which magnifies.
        options={"ftol": 1e-15, "maxiter": 500},
    )
    kappa, a, b, r = solution.x
    return Overlap(teacher=float(a), tilt=float(b), rest=float(r), margin=float(kappa))
