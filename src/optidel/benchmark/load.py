"""Reading a bench file, and refusing what cannot run before the first trial does."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optidel.benchmark.bench import HELD_OUT, Also, Bench, Lists, Stop
from optidel.benchmark.plan import recipe_of, trials
from optidel.errors import RecipeError, nearest
from optidel.methods import ALL_METHODS
from optidel.pipeline.parameters import check_methods
from optidel.recipe import OBJECTIVE_NAMES, PROTOCOL_NAMES, Recipe, put_value, read_setting
from optidel.runs.baselines import UNTRAINED

LISTED = {"budget": "budgets", "labelled": "tasks"}  # recipe keys that are lists in a bench file


def load_bench(
    path: str | Path, overrides: Mapping[str, Any] | None = None, settings: Sequence[str] = ()
) -> Bench:
    """A bench file in TOML.

    Args:
        path: the file.
        overrides: ``images``, ``labelled``, ``seeds`` …, which win over the file.
        settings: texts such as ``pretrain.steps=2000`` or ``tasks.polyps.train=100``: any key of a bench
            file; the last word.

    Raises:
        RecipeError: not found, no TOML, or not valid.
    """
    try:
        text = Path(path).read_text()
        values = tomllib.loads(text)
    except OSError as error:
        raise RecipeError(f"cannot read the bench file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error
    values |= overrides or {}
    for setting in settings:
        names, value = read_setting(setting)
        put_value(values, names, value)
    return make_bench(values)


def make_bench(values: Mapping[str, Any]) -> Bench:
    """Validate everything a trial will need, before the first one runs.

    Args:
        values: the keys of a bench file. ``labelled``, a folder, a list of folders or a table name to folder,
            is short for ``tasks``.

    Raises:
        RecipeError: unknown key or name (with the nearest one), a value out of range, or a list that is
            empty or repeats itself.
    """
    bench_keys = set(Bench.model_fields)
    bench_values: dict[str, Any] = {"images": ""}
    recipe_values: dict[str, Any] = {}
    for name, value in values.items():
        if name in bench_keys:
            bench_values[name] = value
        elif name != "labelled":
            _check_recipe_key(name)
            recipe_values[name] = value

    bench_values["recipe"] = {**bench_values.get("recipe", {}), **recipe_values}
    bench_values["tasks"] = _each_pair(_tasks(bench_values.get("tasks", {}), values.get("labelled")))
    try:
        bench = Bench.model_validate(bench_values)
    except ValidationError as error:
        raise RecipeError(_sentence(error)) from error
    _check(bench)
    return bench


def _check_recipe_key(name: str) -> None:
    """Refuse a key that neither a bench file nor a recipe has, or that is a list in a bench file."""
    if name in LISTED:
        raise RecipeError(f"bench file: unknown key {name!r}; it is the list {LISTED[name]!r} here")
    if name not in Recipe.model_fields or name == "out":
        keys = {*Bench.model_fields, *Recipe.model_fields, "labelled"}
        keys -= {"recipe", "out", "budget"}
        hint = nearest(name, keys)
        raise RecipeError(f"bench file: unknown key {name!r}{hint}")


def _tasks(tasks: Any, labelled: Any) -> Any:
    """The tasks with their folders.

    ``labelled`` gives folders by name, or folders alone: of the one task that has none, or of tasks that are
    called after them.
    """
    if labelled is None or not isinstance(tasks, dict):
        return tasks
    if isinstance(labelled, Mapping):
        folder_of = dict(labelled)
    else:
        folders = [labelled] if isinstance(labelled, str) else labelled
        bare = [name for name, options in tasks.items() if not options.get("labelled")]
        if len(bare) == len(folders) == 1:
            folder_of = {bare[0]: folders[0]}
        else:
            folder_of = {Path(folder).resolve().name: folder for folder in folders}

    complete = dict(tasks)
    for name, folder in folder_of.items():
        complete[name] = {**tasks.get(name, {}), "labelled": folder}
    return complete


def _each_pair(tasks: Any) -> Any:
    """The tasks, one for each set of a list ``test_on``, beside the one that is tested on its own images.

    >>> list(_each_pair({"a": {"labelled": "A", "test_on": ["data/B", "data/C"]}}))
    ['a', 'a → B', 'a → C']
    """
    if not isinstance(tasks, dict):
        return tasks
    pairs: dict[str, Any] = {}
    for name, task in tasks.items():
        others = task.get("test_on") if isinstance(task, dict) else None
        if not isinstance(others, list):
            pairs[name] = task
            continue
        own = {key: value for key, value in task.items() if key != "test_on"}
        pairs[name] = own
        for other in others:
            pairs[f"{name} → {Path(str(other)).name}"] = {**own, "test_on": other}
    return pairs


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        sections = {"also": Also.model_fields, "stop": Stop.model_fields}
        hint = nearest(path[-1], sections.get(path[0], {}))
        return f"bench file: unknown key {key!r}{hint}"
    text, value = first["msg"], first["input"]
    message = text[0].lower() + text[1:]
    return f"bench file: {key}: {message}, got {value!r}"


def _check(bench: Bench) -> None:
    """Names, ranges, repetitions; then the recipe of every trial, so that nothing is refused after hours."""
    if not bench.images:
        raise RecipeError('bench file: images is missing; write images = "DIR" or pass --images DIR')
    _check_tasks(bench)
    for variant, changes in bench.variants.items():
        _check_variant(variant, changes.get("method"))
    for prefix, lists in _lists(bench):
        _check_lists(bench, prefix, lists)

    planned = trials(bench)
    if not planned:
        raise RecipeError(
            "bench file: there is nothing to run: every task is held out, or has none of the grid's protocols"
        )
    # The recipe of every trial is made now: a wrong option of the last variant would show after hours.
    for trial in planned:
        check_methods(recipe_of(bench, trial))


def _lists(bench: Bench) -> Iterator[tuple[str, Bench | Also]]:
    """Every grid as it is written, with what its keys begin with in messages."""
    yield "", bench
    for number, also in enumerate(bench.also):
        yield f"also.{number}.", also


def _check_tasks(bench: Bench) -> None:
    folders = [task.get("labelled") for task in bench.tasks.values()]
    if not folders or not all(folders):
        raise RecipeError(
            'bench file: a labelled set is missing; write labelled = "DIR", '
            "or pass --labelled DIR (NAME=DIR for several)"
        )
    for name, task in bench.tasks.items():
        for protocol in task.get("protocols", ()):
            if protocol not in PROTOCOL_NAMES:
                hint = nearest(str(protocol), PROTOCOL_NAMES)
                raise RecipeError(f"bench file: tasks.{name}.protocols: unknown protocol {protocol!r}{hint}")
        if not isinstance(task.get(HELD_OUT, False), bool):
            raise RecipeError(f"bench file: tasks.{name}.{HELD_OUT} is true or false, got {task[HELD_OUT]!r}")


def _check_variant(variant: str, method: Any) -> None:
    """A variant varies one method that exists, under a name that no method has."""
    if variant in ALL_METHODS or variant in UNTRAINED:
        raise RecipeError(f"bench file: the variant {variant!r} has the name of a method; choose another")
    names = list(method) if isinstance(method, Mapping) else [method]
    if len(names) != 1:
        raise RecipeError(
            f"bench file: variants.{variant}.method holds {len(names)} methods; name the one that it varies"
        )
    if names[0] not in ALL_METHODS:
        hint = nearest(str(names[0]), ALL_METHODS)
        raise RecipeError(
            f"bench file: variants.{variant}: unknown method {names[0]!r}{hint}; write method = …"
        )


def _check_lists(bench: Bench, prefix: str, lists: Bench | Also) -> None:
    """No list is empty or repeats itself, and every name in it exists."""
    for name in (*Lists.model_fields, "tasks"):
        _check_list(f"{prefix}{name}", getattr(lists, name))

    names = {
        "methods": {*ALL_METHODS, *bench.variants, *UNTRAINED},
        "objectives": set(OBJECTIVE_NAMES),
        "tasks": set(bench.tasks),
    }
    for name, existing in names.items():
        items = getattr(lists, name) or ()
        for number, item in enumerate(items):
            if item not in existing:
                kind, hint = name.removesuffix("s"), nearest(item, existing)
                raise RecipeError(f"bench file: {prefix}{name}.{number}: unknown {kind} {item!r}{hint}")


def _check_list(key: str, items: Sequence[Any] | Mapping[str, Any] | None) -> None:
    if items is None:
        return
    if not items:
        raise RecipeError(f"bench file: {key} is empty; name at least one")
    if len(set(items)) != len(items):
        text = ", ".join(map(str, items))
        raise RecipeError(f"bench file: {key} holds an entry twice: {text}")
