"""The settings of a bench: what is held fixed while methods are compared, and every score in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from optidel.benchmark.tables import Tables
from optidel.errors import InputError
from optidel.outcomes import PRECISION, Outcomes, outcomes_in

SETTING = ("task", "protocol", "objective", "compute")

Vector = Float[np.ndarray, "n"]
Matrix = Float[np.ndarray, "s n"]
# A method and its budget.
Choice = tuple[str, float]

# Choice to seed to the scores (n,) of the test images, in one order of images.
Scores = dict[Choice, dict[int, Vector]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is held fixed while methods are compared, and the scores of every method and budget in it.

    ``outcomes`` are what its labelled set is scored by: ``scores`` are of the first, by which methods are
    compared, ``second`` of the other.
    """

    task: str
    protocol: str
    objective: str
    compute: str
    outcomes: Outcomes
    scores: Scores
    second: Scores

    @property
    def name(self) -> str:
        """``polyps, probe``, with objective and rule of compute."""
        return f"{self.task}, {self.protocol}, {self.objective}, equal {self.compute}{self.ranked_by}"

    @property
    def ranked_by(self) -> str:
        """``, by average precision``; nothing where methods are compared by what is usual for the set."""
        return f", by {self.label}" if self.outcomes == PRECISION else ""

    @property
    def budgets(self) -> list[float]:
        """Budgets of choices, rising; without scratch and full."""
        return sorted({budget for _, budget in self.scores if 0 < budget < 1})

    @property
    def images(self) -> int:
        """How many test images every score is over."""
        seeds = next(iter(self.scores.values()))
        scores = next(iter(seeds.values()))
        return scores.size

    def methods(self, budget: float) -> list[str]:
        """Methods that ran at a budget, in the order of the plan."""
        methods = []
        for method, other in self.scores:
            if other == budget:
                methods.append(method)
        return methods

    @property
    def label(self) -> str:
        """What methods are compared by, as people read it."""
        return self.outcomes[0].label

    def matrix(self, choice: Choice) -> Matrix:
        """What methods are compared by (s, n), a row for each seed, rising."""
        return _matrix(self.scores[choice])

    def matrices(self, choice: Choice) -> tuple[Matrix, Matrix]:
        """Both outcomes (s, n), a row for each seed, rising."""
        return self.matrix(choice), _matrix(self.second[choice])

    def difference(self, choice: Choice, reference: Choice) -> Matrix | None:
        """Choice minus reference, paired by seed and image; None without a common seed."""
        scores = self.scores.get(choice, {})
        reference_scores = self.scores.get(reference, {})
        common = scores.keys() & reference_scores.keys()
        if not common:
            return None
        rows = [scores[seed] - reference_scores[seed] for seed in sorted(common)]
        return np.stack(rows)

    def rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table that belong to this setting."""
        for name in SETTING:
            value = getattr(self, name)
            table = table.filter(pl.col(name) == value)
        return table


def settings(tables: Tables) -> list[Setting]:
    """Every combination of task, protocol, objective and rule of compute that has a finished trial.

    Raises:
        InputError: trials of one setting were tested on different images, before and after its labelled set
            changed.
    """
    result = []
    for names, rows in tables.scores.group_by(SETTING, maintain_order=True):
        fixed = dict(zip(SETTING, map(str, names), strict=True))
        outcomes = outcomes_in([name for name in rows.columns if rows[name].null_count() < len(rows)])
        result.append(_setting(rows, fixed, outcomes))
    return result


def precision_settings(tables: Tables) -> list[Setting]:
    """The settings whose protocol has average precision, ranked by it over the test images that have it: an
    image without any foreground has none.

    Raises:
        InputError: as :func:`settings`.
    """
    column = PRECISION[0].column
    result = []
    for names, rows in tables.scores.group_by(SETTING, maintain_order=True):
        fixed = dict(zip(SETTING, map(str, names), strict=True))
        has_all = rows.group_by("method", "budget", "seed").agg(pl.col(column).count() > 0)[column].all()
        # A record of an earlier version names no average precision: a mean of some trials compares nothing.
        if has_all:
            result.append(_setting(rows.drop_nulls(column), fixed, PRECISION))
    return result


def _setting(rows: pl.DataFrame, fixed: dict[str, str], outcomes: Outcomes) -> Setting:
    first, second = (_scores(rows, outcome.column, fixed) for outcome in outcomes)
    return Setting(**fixed, outcomes=outcomes, scores=first, second=second)


def _matrix(seeds: Mapping[int, Vector]) -> Matrix:
    return np.stack([seeds[seed] for seed in sorted(seeds)])


def _scores(rows: pl.DataFrame, column: str, fixed: dict[str, str]) -> Scores:
    scores: Scores = {}
    images: pl.Series | None = None
    for (method, budget, seed), part in rows.group_by("method", "budget", "seed", maintain_order=True):
        images = part["id"] if images is None else images
        if not images.equals(part["id"]):
            name = ", ".join(fixed.values())
            raise InputError(
                f"{name}: {method}, seed {seed}, was tested on other images than the "
                "cells before it, so they cannot be compared; run `optidel bench` again, "
                "which makes anew what is of an earlier state of the labelled set"
            )
        choice = str(method), float(str(budget))
        seeds = scores.setdefault(choice, {})
        seeds[int(str(seed))] = part[column].to_numpy().astype(np.float64)
    return scores
