"""Trained on one labelled set and tested on another: every pair, a table and a figure (MedDEL's figure 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from optidel.benchmark.bench import Bench
from optidel.benchmark.settings import Choice, Setting
from optidel.charts.grids import Panel, grids
from optidel.report.text import percent
from optidel.runs.baselines import UNTRAINED

# The labelled set that is trained on, and the one that is tested on.
Pair = tuple[str, str]

# Panels of the figure: more are a wall; the table has all.
PANELS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """All pairs under one protocol, objective and rule of compute.

    ``values``: choice to pair to the mean of ``label`` over seeds and test images.
    """

    name: str
    label: str
    pairs: tuple[Pair, ...]
    values: Mapping[Choice, Mapping[Pair, float]]

    @property
    def sentence(self) -> str:
        """What the table shows."""
        return (
            f"Mean {self.label} where the labelled images of one set are trained on and those of another are "
            "tested on. The last column is the mean over the pairs of two sets."
        )

    @property
    def heads(self) -> tuple[str, ...]:
        """Of the table."""
        return "method", "budget", *(f"{trained} → {tested}" for trained, tested in self.pairs), "across"

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The rows of the table."""
        rows = []
        for (method, budget), values in self.values.items():
            cells = [_text(values.get(pair)) for pair in self.pairs]
            rows.append((method, percent(budget) if budget else "–", *cells, _text(_mean_across(values))))
        return rows

    @property
    def figure(self) -> str:
        """A panel a method and budget, training sets down, test sets across, as SVG."""
        trained = tuple(dict.fromkeys(one for one, _ in self.pairs))
        tested = tuple(dict.fromkeys(other for _, other in self.pairs))
        panels = [
            Panel(name=method if method in UNTRAINED else f"{method} {percent(budget)}", values=values)
            for (method, budget), values in list(self.values.items())[:PANELS]
        ]
        return grids(panels, trained, tested, f"{self.label}, trained on (down) and tested on (across)")


def across_sets(bench: Bench, settings: Sequence[Setting]) -> list[Across]:
    """The matrices of a bench; none where every task is tested on its own set.

    Of several tasks with one pair of sets the first counts.
    """
    matrices = []
    for (protocol, objective, compute, label), group in groupby(sorted(settings, key=_rest), key=_rest):
        members: dict[Pair, Setting] = {}
        for setting in group:
            members.setdefault(pair_of(bench.tasks[setting.task]), setting)
        if all(trained == tested for trained, tested in members):
            continue
        choices = dict.fromkeys(choice for setting in members.values() for choice in setting.scores)
        values = {
            choice: {
                pair: float(setting.matrix(choice).mean())
                for pair, setting in members.items()
                if choice in setting.scores
            }
            for choice in choices
        }
        [ranked_by] = {setting.ranked_by for setting in members.values()}
        matrix = Across(
            name=f"{protocol}, {objective}, equal {compute}{ranked_by}",
            label=label,
            pairs=tuple(members),
            values=values,
        )
        matrices.append(matrix)
    return matrices


def pair_of(task: Mapping[str, Any]) -> Pair:
    """The names of the folders that a task is trained and tested on.

    >>> pair_of({"labelled": "data/kvasir", "test_on": "data/polypgen"})
    ('kvasir', 'polypgen')
    """
    trained = Path(str(task["labelled"])).name
    tested = task.get("test_on")
    return trained, Path(str(tested)).name if tested else trained


def _rest(setting: Setting) -> tuple[str, str, str, str]:
    return setting.protocol, setting.objective, setting.compute, setting.label


def _mean_across(values: Mapping[Pair, float]) -> float | None:
    """Over the pairs of two sets."""
    scores = [value for (trained, tested), value in values.items() if trained != tested]
    return sum(scores) / len(scores) if scores else None


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
