"""The simulated side of data pruning: a hard-margin student and four experiments."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float, Float64, Int64
from scipy.optimize import nnls

from optidel.errors import InputError, RecipeError, nearest
from optidel.theory.perceptron import perceptron_error

Name = Literal["angle", "redundancy", "shift", "difficulty"]
Pruning = Literal["hardest", "easiest", "random", "distinct"]
# Fractions kept, from 1 % to everything, as in the published curves.
KEEPS = tuple(float(keep) for keep in np.logspace(-2, 0, 12))
# An example counts as violated, and a residual as zero, beyond the rounding of the solver.
_MARGIN_TOLERANCE = 1e-9
_RESIDUAL_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What varies: each angle x rule is a panel, each alpha a curve over the fraction kept.

    Args:
        alphas: examples per dimension before pruning.
        angles: between probe and teacher, in degrees.
        rules: of pruning.
        copies: how often every example occurs in the pool.
        shift: the student is judged by a downstream teacher T + shift·n, where n is a random unit vector
            orthogonal to the teacher T that labelled its examples.
    """

    alphas: tuple[float, ...] = (5, 10, 20, 50, 100)
    angles: tuple[float, ...] = (0,)
    rules: tuple[Pruning, ...] = ("hardest",)
    copies: int = 1
    shift: float = 0.0


EXPERIMENTS: dict[Name, Experiment] = {
    "angle": Experiment(angles=(0, 10, 20)),
    "redundancy": Experiment(
        alphas=(20, 50, 100, 200, 500), angles=(10,), rules=("hardest", "distinct"), copies=10
    ),
    "shift": Experiment(shift=0.4),
    "difficulty": Experiment(rules=("hardest", "easiest", "random")),
}

SCHEMA = {
    "experiment": pl.String,
    "alpha_total": pl.Float64,
    "keep": pl.Float64,
    "angle": pl.Float64,
    "rule": pl.String,
    "repeats": pl.Int64,
    "error": pl.Float64,
    "standard_error": pl.Float64,
    "analytic": pl.Float64,
}


def max_margin(examples: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "d"]:
    """Hard-margin student through the origin: the shortest w with w·x >= 1 for every example.

    Args:
        examples: (n, d) inputs times their label, ±1.

    Returns:
        w (d,); 1/|w| is the margin.

    Raises:
        InputError: no example, or no such w.

    Source: least-distance programming, Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    if not len(examples):
        raise InputError("max_margin needs at least one example, got 0")
    count, dimension = examples.shape
    target = np.zeros(dimension + 1)
    target[-1] = 1
    active = np.zeros(count, dtype=bool)
    weights = np.zeros(dimension)
    while True:
        margins = examples @ weights
        too_close = margins < 1 - _MARGIN_TOLERANCE
        violated = np.flatnonzero(~active & too_close)
        if not len(violated) and active.any():
            return weights

        # Only violated examples join, so the costly part sees a hundred columns of thousands. |w| grows each
        # time, so this ends.
        worst_first = violated[np.argsort(margins[violated], kind="stable")]
        joining = worst_first[: 2 * dimension]
        active[joining] = True

        ones = np.ones(active.sum())
        system = np.vstack([examples[active].T, ones])
        solution, _ = nnls(system, target)
        residual = system @ solution - target
        if residual[-1] > -_RESIDUAL_TOLERANCE:
            raise InputError(
                f"no hyperplane through the origin separates the {count} examples; label them by one teacher"
            )
        weights = -residual[:-1] / residual[-1]


def run_experiment(name: str, *, size: int = 30, repeats: int = 50, seed: int = 0) -> pl.DataFrame:
    """Simulate one of the published experiments beside its analytic curve.

    Args:
        name: a key of `EXPERIMENTS`.
        size: N, dimensions of an example, at least 3.
        repeats: independent pools, at least 2; the curves of one repeat share theirs, so their differences
            carry less noise than they do.
        seed: of the pools.

    Returns:
        A row per angle, rule, alpha_total and keep, columns as in `SCHEMA`: ``error`` is the mean share of
        fresh examples labelled wrongly, ``standard_error`` that of this mean, ``analytic`` the value for
        infinite N.

    Raises:
        RecipeError: unknown name, size or repeats too small.

    Source: Sorscher et al., NeurIPS 2022 (arXiv 2206.14486), the perceptron model; size, copies and shift as
        in the benchmark's notebook.
    """
    experiments = {str(key): value for key, value in EXPERIMENTS.items()}
    if name not in experiments:
        raise RecipeError(
            f"experiment must be one of {', '.join(experiments)}, got {name!r}{nearest(name, experiments)}"
        )
    if size < 3:
        raise RecipeError(f"size must be at least 3 dimensions, got {size}; 30 is published")
    if repeats < 2:
        raise RecipeError(f"repeats must be at least 2 for a standard error, got {repeats}; 50 is published")

    experiment = experiments[name]
    # A generator a pool: the pools stay the same when more of them are simulated.
    generators = np.random.default_rng(seed).spawn(repeats)
    runs = np.stack([_simulate(experiment, size, rng) for rng in generators])
    means = runs.mean(axis=0)
    deviations = runs.std(axis=0, ddof=1)
    standard_errors = deviations / np.sqrt(repeats)

    rows = []
    cells = _cells(experiment)
    for cell, mean, standard_error in zip(cells, means, standard_errors, strict=True):
        angle, rule, alpha, keep = cell
        analytic = _analytic(experiment, alpha, keep, angle, rule)
        rows.append((name, alpha, keep, angle, rule, repeats, mean, standard_error, analytic))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _cells(experiment: Experiment) -> list[tuple[float, Pruning, float, float]]:
    axes = experiment.angles, experiment.rules, experiment.alphas, KEEPS
    return list(product(*axes))


def _simulate(experiment: Experiment, size: int, rng: np.random.Generator) -> Float64[np.ndarray, "cells"]:
    """Error of the student in every cell, on one pool.

    The teacher is the first axis; the probe leaves it towards the second.
    """
    largest = _distinct(experiment, max(experiment.alphas), size)
    pool = rng.standard_normal((largest, size))
    teacher = np.eye(size)[0]
    # Orthogonal to the teacher, so that the shift is the tangent of the judge's angle.
    drift = np.concatenate([[0.0], rng.standard_normal(size - 1)])
    judge = teacher + experiment.shift * drift / np.linalg.norm(drift)
    judge_length = np.linalg.norm(judge)
    order_keys = rng.random(len(pool))

    errors = []
    for angle, rule, alpha, keep in _cells(experiment):
        count = _distinct(experiment, alpha, size)
        inputs = pool[:count]
        theta = np.radians(angle)
        along_teacher = inputs[:, 0] * np.cos(theta)
        across = inputs[:, 1] * np.sin(theta)
        hardness = np.abs(along_teacher + across)

        rows = _kept(hardness, order_keys[:count], keep, rule, experiment.copies)
        kept = inputs[rows]
        labels = np.where(kept[:, :1] < 0, -1.0, 1.0)
        student = max_margin(kept * labels)

        student_length = np.linalg.norm(student)
        cosine = student @ judge / student_length / judge_length
        # Rounding may carry a cosine beyond 1, where arccos is undefined.
        error_angle = np.arccos(np.clip(cosine, -1, 1))
        errors.append(error_angle / np.pi)
    return np.array(errors)


def _distinct(experiment: Experiment, alpha: float, size: int) -> int:
    examples = alpha * size
    return max(1, round(examples / experiment.copies))


def _kept(
    hardness: Float64[np.ndarray, "n"],
    order_keys: Float64[np.ndarray, "n"],
    keep: float,
    rule: Pruning,
    copies: int,
) -> Int64[np.ndarray, "m"]:
    """Distinct rows kept.

    Copies tie, so pruning by margin takes all copies of a row before the next; "distinct" first removes the
    copies.
    """
    distinct = len(hardness)
    budget = max(1, round(keep * distinct * copies))
    # Rounded up: the last row may bring only some of its copies, and a copy teaches nothing new.
    count = -(-budget // copies)
    if rule == "distinct":
        count = min(distinct, budget)

    keys = {"hardest": hardness, "distinct": hardness, "easiest": -hardness, "random": order_keys}
    order = np.argsort(keys[rule], kind="stable")
    return order[:count]


def _analytic(experiment: Experiment, alpha: float, keep: float, angle: float, rule: Pruning) -> float:
    """The error at infinite N.

    Copies teach a max-margin student nothing, and a shifted judge only scales its overlap.
    """
    alpha /= experiment.copies
    if rule == "distinct":
        rule = "hardest"
        keep = min(1.0, keep * experiment.copies)
    error = perceptron_error(alpha, keep, angle, rule=rule)
    overlap = np.cos(np.pi * error) / np.hypot(1, experiment.shift)
    return float(np.arccos(overlap) / np.pi)
