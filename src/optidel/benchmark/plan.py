"""The bench file, a recipe plus lists, and the cells it spells out, in the order in which they run."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optidel.errors import RecipeError, nearest
from optidel.methods import METHODS
from optidel.models.segmenter import Protocol
from optidel.pipeline.parameters import check_methods
from optidel.recipe import OBJECTIVE_NAMES, Recipe, make_recipe
from optidel.runs.baselines import FULL, RANDOM, SCRATCH
from optidel.store import canonical, digest
from optidel.training.segmentation import SCHEDULES

Compute = Literal["steps", "epochs"]
LISTED = {"budget": "budgets", "labelled": "tasks"}
"""Recipe keys that are lists in a bench file."""

HELD_OUT = "held_out"
"""Option of a task: no grid runs it but those of ``also`` that name it, so that a test split is looked at
once, at the end.
"""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lists(_Section):
    """The axes of a grid; every combination is a cell."""

    methods: tuple[str, ...] = ("full", "random", "meddel", "optidel")
    budgets: tuple[float, ...] = (0.05, 0.01, 0.1, 0.25)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    objectives: tuple[str, ...] = ("mae",)
    compute: tuple[Compute, ...] = ("steps",)
    protocols: tuple[Protocol, ...] = ("fine-tune", "probe")


class Also(_Section):
    """A further grid: the lists it names replace those of the file."""

    methods: tuple[str, ...] | None = None
    budgets: tuple[float, ...] | None = None
    seeds: tuple[int, ...] | None = None
    objectives: tuple[str, ...] | None = None
    compute: tuple[Compute, ...] | None = None
    protocols: tuple[Protocol, ...] | None = None
    tasks: tuple[str, ...] | None = None


class Stop(_Section):
    """Further seeds of a comparison to ``random`` are left out once its interval excludes zero; checked from
    ``seeds`` seeds on.
    """

    seeds: int = Field(3, ge=2)


class Bench(Lists):
    """A bench file.

    ``tasks``: name to the evaluation options that differ for it, ``labelled`` among them, and whether it is
    ``held_out``; its ``protocols`` are the only ones it is run with; ``variants``: name to a method, or to a
    table of the method's parameters, and the recipe sections that differ for it; ``also``: further grids, run after the main one; ``recipe``:
    everything else of the recipe.
    """

    images: str
    tasks: dict[str, dict[str, Any]]
    variants: dict[str, dict[str, Any]] = {}
    also: tuple[Also, ...] = ()
    stop: Stop | None = None
    recipe: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number of the bench: ``method`` (or variant, or scratch) at a budget and seed, pre-trained and
    evaluated in one way.
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
        """What an encoder is trained for: cells that share it share the encoder."""
        return self.method, self.budget, self.seed, self.objective, self.compute


def load_bench(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Bench:
    """A bench file in TOML; ``overrides`` (``images``, ``labelled``, ``seeds`` …) win.

    Raises:
        RecipeError: not found, no TOML, or not valid.
    """
    try:
        values = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise RecipeError(f"cannot read the bench file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error
    return make_bench({**values, **(overrides or {})})


def make_bench(values: Mapping[str, Any]) -> Bench:
    """Validate everything a cell will need, before the first one runs.

    Args:
        values: the keys of a bench file. ``labelled``, a folder, a list of folders or a table name to folder,
            is short for ``tasks``.

    Raises:
        RecipeError: unknown key or name (with the nearest known), a value out of range, or a list that is
            empty or repeats itself.
    """
    named = {name: value for name, value in values.items() if name != "labelled"}
    own = set(Bench.model_fields)
    passed = {name: value for name, value in named.items() if name not in own}
    for name in passed:
        if name in LISTED or name not in Recipe.model_fields or name == "out":
            known = (own | set(Recipe.model_fields) | {"labelled"}) - {"recipe", "out", "budget"}
            hint = f"; it is the list {LISTED[name]!r} here" if name in LISTED else nearest(name, known)
            raise RecipeError(f"bench file: unknown key {name!r}{hint}")
    given = {name: value for name, value in named.items() if name in own}
    given["recipe"] = {**given.get("recipe", {}), **passed}
    given["tasks"] = _tasks(given.get("tasks", {}), values.get("labelled"))
    given.setdefault("images", "")
    try:
        bench = Bench.model_validate(given)
    except ValidationError as error:
        raise RecipeError(_sentence(error, given)) from error
    _check(bench)
    return bench


def cells(bench: Bench) -> list[Cell]:
    """Every cell once, in an order of which each prefix is a fair answer.

    Seed by seed; within a seed from scratch and full, then budget by budget as listed, ``random`` before the
    other methods. Grids of ``also`` follow the main one.
    """
    found: dict[Cell, None] = {}
    for lists in (bench, *bench.also):
        methods, budgets, seeds, objectives, compute, protocols = (
            getattr(lists, name) or getattr(bench, name) for name in Lists.model_fields
        )
        tasks = (lists.tasks if isinstance(lists, Also) else None) or [
            name for name in bench.tasks if not bench.tasks[name].get(HELD_OUT)
        ]
        for seed, objective, rule in product(seeds, objectives, compute):
            for method, budget in _choices(methods, budgets):
                for task in tasks:
                    for protocol in _protocols(bench, task, protocols):
                        found.setdefault(
                            Cell(
                                method=method,
                                budget=budget,
                                seed=seed,
                                objective=objective,
                                compute=rule,
                                task=task,
                                protocol=protocol,
                            )
                        )
    return list(found)


def _protocols(bench: Bench, task: str, protocols: Sequence[Protocol]) -> list[Protocol]:
    """Those of a grid, but only the ones that the task has where it names its own."""
    return [protocol for protocol in protocols if protocol in bench.tasks[task].get("protocols", protocols)]


def _choices(methods: Sequence[str], budgets: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Method and budget: scratch at 0, full at 1, the others at each budget."""
    yield SCRATCH, 0.0
    if FULL in methods:
        yield FULL, 1.0
    others = [method for method in methods if method not in (FULL, SCRATCH)]
    for budget in budgets:
        for method in sorted(others, key=lambda method: method != RANDOM):
            yield method, budget


def method_of(bench: Bench, name: str) -> str:
    """The method behind a name of the bench: itself, or what a variant varies."""
    if name not in bench.variants:
        return name
    method = bench.variants[name]["method"]
    # A table ``[variants.NAME.method.METHOD]`` holds the method's parameters.
    return next(iter(method)) if isinstance(method, Mapping) else str(method)


def recipe_of(bench: Bench, cell: Cell, out: str) -> Recipe:
    """The recipe of one cell: ``optidel run`` with it gives the same number."""
    values = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in bench.recipe.items()
    }
    for section, changes in bench.variants.get(cell.method, {}).items():
        if isinstance(changes, Mapping):
            values[section] = _merged(values.get(section, {}), changes)
    task = dict(bench.tasks[cell.task])
    values["pretrain"] = {**values.get("pretrain", {}), "objective": cell.objective, "compute": cell.compute}
    labelled = task.pop("labelled", "")
    task.pop(HELD_OUT, None)
    values["evaluate"] = {**values.get("evaluate", {}), **task, "protocols": [cell.protocol]}
    method = FULL if cell.method == SCRATCH else method_of(bench, cell.method)
    tables = values.get("method", {})
    # Parameters of other methods are no part of the cell.
    values["method"] = {method: tables[method]} if method in tables else {}
    own = {
        "images": bench.images,
        "labelled": labelled,
        "out": out,
        "methods": [method],
        "seeds": [cell.seed],
    }
    return make_recipe({**values, **own, "budget": cell.budget or 1.0})


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with the changes on top, table by table."""
    merged = dict(values)
    for name, change in changes.items():
        nested = isinstance(change, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], change) if nested else change
    return merged


def key_of(bench: Bench, cell: Cell) -> str:
    """A file name of the cell: readable, and another one where any option of its recipe is another; paths do
    not enter it.

    Only options that differ from their default count, so that cells stay known when a later version adds an
    option.
    """
    recipe = recipe_of(bench, cell, "").model_dump(
        mode="json", exclude={"images", "labelled", "out"}, exclude_defaults=True
    )
    words = [
        f"seed{cell.seed}",
        cell.method,
        f"{cell.budget:g}",
        cell.objective,
        cell.compute,
        cell.task,
        cell.protocol,
    ]
    return (
        re.sub(r"[^\w.+-]", "_", "-".join(words))
        + "-"
        + digest(canonical(asdict(cell)), canonical(recipe))[:8]
    )


def _tasks(tasks: Any, labelled: Any) -> Any:
    """``labelled`` as tasks named after their folders, or as the folder of the one task that has none; a
    table gives folders by name.
    """
    if labelled is None or not isinstance(tasks, dict):
        return tasks
    if isinstance(labelled, str):
        labelled = [labelled]
    if isinstance(labelled, Mapping):
        return tasks | {
            name: {**tasks.get(name, {}), "labelled": folder} for name, folder in labelled.items()
        }
    bare = [name for name, options in tasks.items() if not options.get("labelled")]
    if len(bare) == len(labelled) == 1:
        name, options = bare[0], tasks[bare[0]]
        return tasks | {name: {**options, "labelled": labelled[0]}}
    return tasks | {Path(folder).resolve().name: {"labelled": folder} for folder in labelled}


def _sentence(error: ValidationError, values: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        names = {"also": Also.model_fields, "stop": Stop.model_fields}.get(str(first["loc"][0]), {})
        return f"bench file: unknown key {where!r}{nearest(str(first['loc'][-1]), names)}"
    return f"bench file: {where}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _check(bench: Bench) -> None:
    """Names, ranges and repetitions; then the recipe of every cell, so that nothing is refused after hours."""
    if not bench.images:
        raise RecipeError('bench file: images is missing; write images = "DIR" or pass --images DIR')
    if not bench.tasks or not all(task.get("labelled") for task in bench.tasks.values()):
        raise RecipeError(
            'bench file: a labelled set is missing; write labelled = "DIR", or pass --labelled DIR (NAME=DIR for several)'
        )
    for name, task in bench.tasks.items():
        for protocol in task.get("protocols", ()):
            if protocol not in SCHEDULES:
                raise RecipeError(
                    f"bench file: tasks.{name}.protocols: unknown protocol {protocol!r}{nearest(str(protocol), SCHEDULES)}"
                )
        if not isinstance(task.get(HELD_OUT, False), bool):
            raise RecipeError(f"bench file: tasks.{name}.{HELD_OUT} is true or false, got {task[HELD_OUT]!r}")
    for variant, changes in bench.variants.items():
        if variant in METHODS or variant == SCRATCH:
            raise RecipeError(f"bench file: the variant {variant!r} has the name of a method; choose another")
        method = changes.get("method")
        if isinstance(method, Mapping) and len(method) != 1:
            raise RecipeError(
                f"bench file: variants.{variant}.method holds {len(method)} methods; name the one that it varies"
            )
        varied = next(iter(method)) if isinstance(method, Mapping) else method
        if varied not in METHODS:
            raise RecipeError(
                f"bench file: variants.{variant}: unknown method {varied!r}{nearest(str(varied), METHODS)}; write method = …"
            )
    for place, lists in [("", bench), *((f"also.{number}.", also) for number, also in enumerate(bench.also))]:
        for name in (*Lists.model_fields, "tasks"):
            items = getattr(lists, name)
            if items is not None and not items:
                raise RecipeError(f"bench file: {place}{name} is empty; name at least one")
            if items is not None and len(set(items)) != len(items):
                raise RecipeError(
                    f"bench file: {place}{name} holds an entry twice: {', '.join(map(str, items))}"
                )
        known = {
            "methods": {*METHODS, *bench.variants, SCRATCH},
            "objectives": set(OBJECTIVE_NAMES),
            "tasks": set(bench.tasks),
        }
        for name, names in known.items():
            for number, item in enumerate(getattr(lists, name) or ()):
                if item not in names:
                    raise RecipeError(
                        f"bench file: {place}{name}.{number}: unknown {name[:-1]} {item!r}{nearest(item, names)}"
                    )
    planned = cells(bench)
    if not planned:
        raise RecipeError(
            "bench file: there is nothing to run: every task is held out, or has none of the grid's protocols"
        )
    for cell in planned:
        check_methods(recipe_of(bench, cell, ""))
