"""The trials that a bench file spells out, in the order in which they run, and the recipe of each."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from optidel.benchmark.bench import HELD_OUT, Bench, Compute, Lists, method_of
from optidel.recipe import EXECUTION, Protocol, Recipe, make_recipe
from optidel.runs.baselines import FULL, PIXELS, RANDOM, SCRATCH, UNTRAINED
from optidel.store import canonical, digest

# A recipe needs a run folder, also where it is made to be looked at only.
NOWHERE = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One number of the bench.

    ``method`` (or variant, or scratch) at a budget and seed, pre-trained and evaluated in one way.
    """

    method: str
    budget: float
    seed: int
    objective: str
    compute: Compute
    task: str
    protocol: Protocol

    @property
    def training(self) -> tuple[Any, ...]:
        """What an encoder is trained for: trials that share it share the encoder."""
        return self.method, self.budget, self.seed, self.objective, self.compute

    @property
    def untrained(self) -> bool:
        """Whether it tests an encoder that no image has trained."""
        return self.method in UNTRAINED


def trials(bench: Bench) -> list[Trial]:
    """Every trial once, in an order of which each prefix is a fair answer.

    Seed by seed; within a seed from scratch and full, then budget by budget as listed, ``random`` before the
    other methods. Grids of ``also`` follow the main one.
    """
    task_lists = [bench.open_tasks, *(also.tasks or bench.open_tasks for also in bench.also)]
    planned: dict[Trial, None] = {}
    for lists, tasks in zip(bench.grids, task_lists, strict=True):
        for trial in _grid(bench, lists, tasks):
            planned.setdefault(trial)
    return list(planned)


def _grid(bench: Bench, lists: Lists, tasks: tuple[str, ...]) -> Iterator[Trial]:
    """The trials of one grid."""
    trainings = product(lists.seeds, lists.objectives, lists.compute, _choices(lists))
    for seed, objective, compute, (method, budget) in trainings:
        for task in tasks:
            # A task that names protocols is run with no other.
            task_protocols = bench.tasks[task].get("protocols", lists.protocols)
            for protocol in lists.protocols:
                if protocol in task_protocols:
                    yield Trial(
                        method=method,
                        budget=budget,
                        seed=seed,
                        objective=objective,
                        compute=compute,
                        task=task,
                        protocol=protocol,
                    )


def _choices(lists: Lists) -> list[tuple[str, float]]:
    """Method and budget: scratch and pixels at 0, full at 1, the others at each budget."""
    choices = [(SCRATCH, 0.0)]
    if PIXELS in lists.methods:
        choices.append((PIXELS, 0.0))
    if FULL in lists.methods:
        choices.append((FULL, 1.0))
    others = [method for method in lists.methods if method not in (FULL, *UNTRAINED)]
    # What the others are compared to comes first.
    others.sort(key=lambda method: method != RANDOM)
    return choices + [(method, budget) for budget in lists.budgets for method in others]


def recipe_of(bench: Bench, trial: Trial, out: str = NOWHERE) -> Recipe:
    """The recipe of one trial: ``optidel run`` with it gives the same number."""
    method = FULL if trial.untrained else method_of(bench, trial.method)
    values = merged(bench.recipe, _variant(bench, trial.method))
    # Parameters of other methods are no part of the trial.
    parameters = values.get("method", {})
    values["method"] = {name: table for name, table in parameters.items() if name == method}

    task = dict(bench.tasks[trial.task])
    labelled = task.pop("labelled", "")
    task.pop(HELD_OUT, None)
    trial_values = {
        "images": bench.images,
        "labelled": labelled,
        "out": out,
        "methods": [method],
        "seeds": [trial.seed],
        "budget": trial.budget or 1.0,  # scratch has none, and a recipe needs one
        "pretrain": {"objective": trial.objective, "compute": trial.compute},
        "evaluate": {**task, "protocols": [trial.protocol]},
    }
    return make_recipe(merged(values, trial_values))


def _variant(bench: Bench, name: str) -> dict[str, Any]:
    """The sections of the recipe that a variant changes."""
    sections = {}
    for section, values in bench.variants.get(name, {}).items():
        # A method without parameters stands there by its name alone.
        if isinstance(values, Mapping):
            sections[section] = dict(values)
    return sections


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with the changes on top, table by table.

    >>> merged({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    result = dict(values)
    for name, change in changes.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(change, Mapping):
            change = merged(before, change)
        result[name] = change
    return result


# Where things lie, and who does them, is no part of what a trial is.
PATHS: Any = {
    "images": True,
    "labelled": True,
    "out": True,
    "work": True,
    "pretrain": set(EXECUTION),
    "evaluate": {"test_on"},
    "selection": {"target"},
}


def key_of(bench: Bench, trial: Trial) -> str:
    """A file name of the trial: readable, and another one where any option of its recipe is another.

    Paths do not enter it. Only options that differ from their default count, so that trials stay known when a
    later version adds an option.
    """
    recipe = recipe_of(bench, trial)
    options = recipe.model_dump(mode="json", exclude=PATHS, exclude_defaults=True)
    words = [
        f"seed{trial.seed}",
        trial.method,
        f"{trial.budget:g}",
        trial.objective,
        trial.compute,
        trial.task,
        trial.protocol,
    ]
    readable = re.sub(r"[^\w.+-]", "_", "-".join(words))
    trial_bytes, option_bytes = canonical(asdict(trial)), canonical(options)
    mark = digest(trial_bytes, option_bytes)
    return f"{readable}-{mark[:8]}"
