"""The student against an independent solver, the experiments against the theory."""

import re

import numpy as np
import polars as pl
import pytest

from optidel.errors import InputError, RecipeError
from optidel.theory import EXPERIMENTS, figure, max_margin, perceptron_error, run_experiment
from optidel.theory.simulation import KEEPS


def pool(count: int, size: int, seed: int) -> np.ndarray:
    """Gaussian examples times their label, the teacher being the first axis."""
    inputs = np.random.default_rng(seed).standard_normal((count, size))
    return inputs * np.where(inputs[:, :1] < 0, -1.0, 1.0)


@pytest.mark.parametrize(("count", "size"), [(1, 5), (12, 30), (60, 30), (600, 20)])
def test_student_agrees_with_libsvm(count: int, size: int) -> None:
    svm = pytest.importorskip("sklearn.svm")
    examples = pool(count, size, count)
    student = max_margin(examples)
    mirrored = np.concatenate(
        [examples, -examples]
    )  # the mirror image of every example forces the bias to zero
    reference = svm.SVC(C=1e9, kernel="linear", tol=1e-8).fit(mirrored, np.repeat([1, -1], count)).coef_[0]
    np.testing.assert_allclose(student, reference, rtol=1e-4, atol=1e-4 * np.abs(reference).max())


def test_student_is_a_positive_sum_of_examples_on_its_margin() -> None:
    """The optimality conditions of the convex problem, which suffice."""
    examples = pool(3000, 30, 0)
    student = max_margin(examples)
    margins = examples @ student
    assert margins.min() == pytest.approx(1, abs=1e-7)
    support = examples[margins < 1 + 1e-6]
    multipliers = np.linalg.lstsq(support.T, student, rcond=None)[0]
    assert (multipliers > 0).all()
    np.testing.assert_allclose(support.T @ multipliers, student, rtol=1e-6)


def test_student_of_tiny_margins() -> None:
    examples = pool(20_000, 20, 1)
    hardest = examples[np.argsort(examples[:, 0])[:1000]]
    margins = hardest @ max_margin(hardest)
    assert margins.min() == pytest.approx(1, abs=1e-6)


def test_repeated_and_shuffled_examples_change_nothing() -> None:
    examples = pool(200, 10, 2)
    twice = np.random.default_rng(0).permutation(np.concatenate([examples, examples]))
    np.testing.assert_allclose(max_margin(twice), max_margin(examples), rtol=1e-8)


def test_student_refuses_what_it_cannot_learn() -> None:
    with pytest.raises(InputError, match="no hyperplane"):
        max_margin(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    with pytest.raises(InputError, match="at least one example"):
        max_margin(np.empty((0, 3)))


@pytest.mark.parametrize(("keep", "angle"), [(1.0, 0), (0.35, 20), (0.2, 20), (0.2, 10)])
def test_simulation_meets_the_theory(keep: float, angle: float) -> None:
    alpha, size, errors = 50, 60, []
    probe = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    for seed in range(16):
        examples = pool(alpha * size, size, seed)
        order = np.argsort(np.abs(examples[:, :2] @ np.array(probe)))
        student = max_margin(examples[order[: round(keep * len(order))]])
        errors.append(np.arccos(student[0] / np.linalg.norm(student)) / np.pi)
    standard_error = np.std(errors, ddof=1) / 4
    assert standard_error < 0.1 * np.mean(errors)
    assert abs(np.mean(errors) - perceptron_error(alpha, keep, angle)) < 3 * standard_error


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return {name: run_experiment(name, size=14, repeats=2) for name in EXPERIMENTS}


def test_tables_are_complete(tables: dict[str, pl.DataFrame]) -> None:
    for name, table in tables.items():
        experiment = EXPERIMENTS[name]  # type: ignore[index]
        assert len(table) == len(experiment.angles) * len(experiment.rules) * len(experiment.alphas) * 12
        assert table["experiment"].unique().to_list() == [name]
        assert table["repeats"].unique().to_list() == [2]
        assert table.null_count().sum_horizontal().item() == 0
        assert table["keep"].min() == pytest.approx(0.01)
        assert table["keep"].max() == 1
        assert table["error"].is_between(0, 1).all()
        assert (table["error"] - table["analytic"]).abs().mean() < 0.06  # type: ignore[operator]


def test_same_seed_same_table(tables: dict[str, pl.DataFrame]) -> None:
    assert run_experiment("shift", size=14, repeats=2).equals(tables["shift"])
    assert not run_experiment("shift", size=14, repeats=2, seed=1).equals(tables["shift"])


def test_without_pruning_rules_and_angles_agree(tables: dict[str, pl.DataFrame]) -> None:
    for table in tables.values():
        whole = (
            table.filter(pl.col("keep") == 1)
            .group_by("alpha_total")
            .agg(pl.col("error").max() - pl.col("error").min())
        )
        assert whole["error"].max() == pytest.approx(0, abs=1e-7)


def test_shift_leaves_a_floor(tables: dict[str, pl.DataFrame]) -> None:
    floor = np.arctan(0.4) / np.pi
    best = tables["shift"].sort("analytic").row(0, named=True)
    assert best["analytic"] == pytest.approx(floor, abs=1e-3)
    assert best["error"] == pytest.approx(floor, abs=0.01)


def test_copies_cost_their_share_and_removing_them_gives_it_back(tables: dict[str, pl.DataFrame]) -> None:
    """Ten copies of everything are a pool of a tenth; without them the same budget holds ten
    times as much.
    """
    row = tables["redundancy"].filter(
        (pl.col("alpha_total") == 200) & (pl.col("keep") == 1) & (pl.col("rule") == "hardest")
    )
    assert row["analytic"].item() == pytest.approx(perceptron_error(20, 1.0), rel=1e-9)
    small = tables["redundancy"].filter((pl.col("alpha_total") == 200) & pl.col("keep").is_between(0.05, 0.2))
    copied, distinct = (
        small.filter(pl.col("rule") == rule)["error"].mean() for rule in ("hardest", "distinct")
    )
    assert distinct < copied  # type: ignore[operator]


def test_figure_has_a_panel_per_angle_and_rule(tables: dict[str, pl.DataFrame]) -> None:
    page = figure(tables["difficulty"])
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "hardest, probe at 0°",
        "easiest, probe at 0°",
        "random, probe at 0°",
    ]
    assert page.count("<polyline") == 3 * 5
    assert page.count('class="dot"') == 3 * 5 * (len(KEEPS) + 1)  # one more in the legend


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("angel", {}, "did you mean 'angle'"),
        ("angle", {"size": 2}, "size must be at least 3"),
        ("angle", {"repeats": 1}, "repeats must be at least 2"),
    ],
)
def test_refuses_what_has_no_meaning(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run_experiment(name, **options)
