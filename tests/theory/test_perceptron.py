"""The analytic curve against the classical equations, published constants, closed limits and its own
symmetries.
"""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import root
from scipy.special import ndtr, ndtri
from scipy.stats.qmc import Sobol

from optidel.errors import RecipeError
from optidel.theory import perceptron_error, student_overlap

GRID = np.logspace(-2, 0, 12)
ALPHAS = np.array([5.0, 10, 20, 50, 100])[:, None]


def normal(x: float) -> float:
    return float(np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


def classical_error(alpha: float) -> float:
    """Optimal stability without pruning, as Opper et al. (1990) pose it: two integrals over the student's
    margin, solved for R and κ.
    """

    def equations(x: np.ndarray) -> list[float]:
        overlap, margin = np.cos(x[0]), x[1]
        slope = overlap / np.sin(x[0])
        missed = quad(lambda t: 2 * normal(t) * ndtr(slope * t) * (margin - t) ** 2, -12, margin)[0]
        pull = quad(lambda t: 2 * normal(t) * normal(slope * t) * t * (margin - t) ** 2, -12, margin)[0]
        return [alpha * missed - np.sin(x[0]) ** 2, alpha * pull / np.sin(x[0]) ** 3 + 2 * overlap]

    found = root(equations, [np.pi * 0.5 / (1 + alpha), 1 / alpha], tol=1e-12)
    assert found.success
    return float(found.x[0] / np.pi)


@pytest.mark.parametrize("alpha", [1.0, 5.0, 20.0])
def test_without_pruning_it_is_the_classical_learning_curve(alpha: float) -> None:
    assert perceptron_error(alpha, 1.0) == pytest.approx(classical_error(alpha), rel=1e-6)


def test_many_examples_meet_the_published_constant() -> None:
    """Opper et al.: the error of optimal stability falls as 0.5005 / alpha."""
    assert perceptron_error(1e4, 1.0) * 1e4 == pytest.approx(0.5005, abs=1e-4)


def test_few_examples_meet_hebb() -> None:
    """Almost orthogonal examples all support the margin, the student is their sum: R = sqrt(2 alpha / pi)."""
    assert student_overlap(1e-4, 1.0).teacher == pytest.approx(np.sqrt(2e-4 / np.pi), rel=1e-3)


def test_published_grid_is_solved_and_ordered() -> None:
    errors = {angle: perceptron_error(ALPHAS, GRID, angle) for angle in (0, 10, 20)}
    for values in errors.values():
        assert isinstance(values, np.ndarray)
        assert values.shape == (5, 12)
        assert ((values > 0) & (values < 0.5)).all()
        assert (np.diff(values, axis=0) < 0).all()  # more examples help
        assert (np.diff(values, axis=1) < 1e-7).all()  # so does keeping more of them
        np.testing.assert_allclose(
            values[:, -1], errors[0][:, -1], rtol=1e-9
        )  # nothing pruned: the probe does not matter


@pytest.mark.parametrize(
    ("alpha", "keep", "angle"),
    [(5, 0.01, 0), (100, 0.01, 20), (100, 0.05, 10), (20, 0.3, 20), (100, 0.03, 0)],
)
@pytest.mark.parametrize("rule", ["hardest", "easiest"])
def test_no_student_nearby_has_a_wider_margin(alpha: float, keep: float, angle: float, rule: str) -> None:
    """Reference: spread points over the kept part of the probe's normal law, fix a direction, find its widest
    margin by bisection.
    """
    share, along = Sobol(2, rng=0).random(2**14).T
    probe = np.where(rule == "hardest", ndtri((1 + keep * share) / 2), -ndtri(keep * share / 2))
    across, cos, sin = ndtri(along), np.cos(np.radians(angle)), np.sin(np.radians(angle))
    v, s = probe * cos + across * sin, across * cos - probe * sin
    v, s = v * np.sign(v), s * np.sign(v)

    def widest(direction: np.ndarray) -> float:
        a, b, rest = direction / np.linalg.norm(direction)
        low, high = -2.0, 6.0
        for _ in range(30):
            middle = (low + high) / 2
            gap = middle - a * v - b * s
            density = np.exp(-((gap / rest) ** 2) / 2) / np.sqrt(2 * np.pi)
            short = np.mean((gap**2 + rest**2) * ndtr(gap / rest) + gap * rest * density)
            low, high = (middle, high) if alpha * keep * short <= rest**2 else (low, middle)
        return low

    found = student_overlap(alpha, keep, angle, rule=rule)  # type: ignore[arg-type]
    best = np.array([found.teacher, found.tilt, found.rest])
    assert np.linalg.norm(best) == pytest.approx(1, abs=1e-6)
    top = widest(best)
    assert found.margin == pytest.approx(
        top, rel=1e-2
    )  # points in the tails are few; the gap closes with their number
    for turn in 0.3 * np.random.default_rng(3).standard_normal((4, 3)):
        assert widest(np.abs(best + turn) * np.array([1, np.sign(found.tilt), 1])) < top


@pytest.mark.parametrize("angle", [0, 10, 20])
def test_error_is_continuous_in_keep(angle: float) -> None:
    """Halving the step halves the largest jump, also in the steep fall of a perfect probe."""
    for centre in (0.0275, 0.2, 0.98):
        coarse = np.abs(
            np.diff(perceptron_error(100, centre * (1 + np.linspace(-0.005, 0.005, 9)), angle))
        ).max()
        fine = np.abs(
            np.diff(perceptron_error(100, centre * (1 + np.linspace(-0.005, 0.005, 17)), angle))
        ).max()
        assert fine <= 0.6 * coarse + 1e-8


def test_small_angles_tend_to_the_perfect_probe() -> None:
    for rule in ("hardest", "easiest"):
        assert perceptron_error(20, 0.2, 0.01, rule=rule) == pytest.approx(
            perceptron_error(20, 0.2, rule=rule), rel=1e-4
        )  # type: ignore[arg-type]


def test_rules_order_as_known() -> None:
    """With many examples the hardest are best; with few the easiest are (Sorscher et al., figure 1)."""
    many = [perceptron_error(50, 0.3, rule=rule) for rule in ("hardest", "easiest", "random")]
    assert many == sorted(many)
    few = [perceptron_error(2, 0.3, rule=rule) for rule in ("easiest", "random", "hardest")]
    assert few == sorted(few)
    assert perceptron_error(50, 0.3, rule="random") == pytest.approx(perceptron_error(15, 1.0), rel=1e-9)


def test_a_useless_probe_still_works() -> None:
    """At 90 degrees pruning flattens one direction the teacher does not use: no worse than random, one
    dimension aside.
    """
    assert perceptron_error(20, 0.5, 90) == pytest.approx(perceptron_error(20, 0.5, rule="random"), rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.5, 0), "alpha_total must be a positive"),
        ((5, 0, 0), "keep must be a fraction"),
        ((5, 1.5, 0), "keep must be a fraction"),
        ((5, 0.5, 120), "angle must be in degrees"),
    ],
)
def test_refuses_what_has_no_meaning(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        perceptron_error(*arguments)


def test_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'easiest'"):
        perceptron_error(5, 0.5, rule="easyest")  # type: ignore[arg-type]
