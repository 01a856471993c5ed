"""What a run folder holds, as typed records: the artifacts of its result, or the newest finished ones where
there is none yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import ValidationError

from optidel.errors import InputError
from optidel.recipe import Recipe
from optidel.store import Artifact, Store

PROTOCOLS = ("fine-tune", "probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One method at one budget and seed, and the artifacts it left; a step that did not run (yet) is None or
    absent.
    """

    method: str
    budget: float
    seed: int
    select: Artifact | None
    compose: Artifact | None
    pretrain: Artifact | None
    evaluate: Mapping[str, Artifact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A row of the result table: one method at one budget and protocol, over seeds.

    Scores are in [0, 1]; ``…_low`` and ``…_high`` bound their 95 % interval. ``difference`` is mIoU minus
    random's and ``difference_scratch`` minus that from scratch, paired by test image and seed; None for the
    baseline itself and where it did not run. From scratch has budget 0 and 0 images.
    """

    method: str
    budget: float
    protocol: str
    seeds: int
    n_images: int
    miou: float
    miou_low: float
    miou_high: float
    dice: float
    dice_low: float
    dice_high: float
    normdel: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    difference_scratch: float | None
    difference_scratch_low: float | None
    difference_scratch_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cell under one protocol: what a single seed scored (mIoU in [0, 1]) and how long it took (seconds)."""

    method: str
    budget: float
    seed: int
    objective: str
    protocol: str
    compute: str
    task: str
    n_images: int
    miou: float
    seconds_select: float | None
    seconds_train: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder opened for reading.

    ``result`` and ``recipe`` are None while the run is unfinished: then ``scores`` and ``measured`` are empty
    and ``cells`` are what was selected so far. ``frames`` and ``rejected`` are tables of
    :class:`~optidel.records.Frame` and :class:`~optidel.records.Rejected`; ``artifacts`` are all that the
    report reads, in the order of the steps.
    """

    root: Path
    result: Artifact | None
    recipe: Recipe | None
    index: Artifact
    pixels: Artifact | None
    warmup: Artifact | None
    embed: Artifact | None
    patches: Artifact | None
    task: Artifact | None
    leaks: Artifact | None
    cells: tuple[Cell, ...]
    scores: tuple[Score, ...]
    measured: tuple[Measured, ...]
    frames: pl.DataFrame
    rejected: pl.DataFrame

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order in which they ran."""
        return tuple(dict.fromkeys(cell.method for cell in self.cells))

    @property
    def examples(self) -> tuple[Cell, ...]:
        """For each method the cell of its smallest budget and first seed: what the galleries show."""
        chosen: dict[str, Cell] = {}
        for cell in sorted(self.cells, key=lambda cell: (cell.budget, cell.seed)):
            chosen.setdefault(cell.method, cell)
        return tuple(chosen[method] for method in self.methods)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Every artifact the report draws on, once each."""
        shared = (self.index, self.pixels, self.warmup, self.embed, self.patches, self.task, self.leaks)
        own = (
            step
            for cell in self.cells
            for step in (cell.select, cell.compose, cell.pretrain, *cell.evaluate.values())
        )
        found = [artifact for artifact in (*shared, *own, self.result) if artifact is not None]
        return tuple({artifact.path.name: artifact for artifact in found}.values())


def open_store(root: Path) -> Store:
    """The store of an existing run folder.

    Raises:
        InputError: the folder holds no run.
    """
    if not (root / "run.json").is_file():
        raise InputError(
            f"{root} holds no run of OptiDEL (no run.json); pass the folder given to `optidel run … --out`"
        )
    return Store(root)


def read_run(root: Path, result: Artifact | None = None) -> Run:
    """Open a run folder.

    Args:
        root: folder written by ``optidel run`` or by its single steps.
        result: which result to read; by default the newest.

    Raises:
        InputError: the folder holds no run, nothing of it is finished, or an artifact that the result names
            is gone.
    """
    artifacts = open_store(root).artifacts()
    by_step = {
        step: [artifact for artifact in artifacts if artifact.step == step]
        for step in {artifact.step for artifact in artifacts}
    }
    result = result or (by_step["result"][-1] if "result" in by_step else None)
    if result is not None:
        return _finished(root, result, {artifact.path.name: artifact for artifact in artifacts})
    if "index" not in by_step:
        raise InputError(
            f"nothing in the run {root} is finished yet; start with `optidel index IMAGES --out {root}` or `optidel run`"
        )
    newest = {step: found[-1] for step, found in by_step.items()}
    newest["index"] = [artifact for artifact in artifacts if artifact.step in ("index", "clean")][-1]
    cells = tuple(_cell_so_far(select, by_step) for select in by_step.get("select", []))
    return _run(root, None, newest, cells)


def _finished(root: Path, result: Artifact, artifacts: Mapping[str, Artifact]) -> Run:
    def find(name: str) -> Artifact:
        if name not in artifacts:
            raise InputError(
                f"{result.path.name} names {name}, which is not in {root}; run the same `optidel run` again to rebuild it"
            )
        return artifacts[name]

    def find_if(name: str | None) -> Artifact | None:
        return None if name is None else find(name)

    named = result.json("artifacts.json")
    shared = {step: find(name) for step, name in named.items() if step != "cells" and name is not None}
    cells = tuple(
        Cell(
            method=cell["method"],
            budget=cell["budget"],
            seed=cell["seed"],
            select=find_if(cell["select"]),
            compose=find_if(cell["compose"]),
            pretrain=find_if(cell["pretrain"]),
            evaluate={protocol: find(name) for protocol, name in cell["evaluate"].items()},
        )
        for cell in named["cells"]
    )
    return _run(root, result, shared, cells)


def _run(root: Path, result: Artifact | None, shared: Mapping[str, Artifact], cells: tuple[Cell, ...]) -> Run:
    return Run(
        root=root,
        result=result,
        recipe=_recipe(result) if result else None,
        index=shared["index"],
        pixels=shared.get("pixels"),
        warmup=shared.get("warmup"),
        embed=shared.get("embed"),
        patches=shared.get("patches"),
        task=shared.get("task"),
        leaks=shared.get("leaks"),
        cells=cells,
        scores=_rows(Score, result.table("table.parquet")) if result else (),
        measured=_rows(Measured, result.table("cells.parquet")) if result else (),
        frames=shared["index"].table("frames.parquet"),
        rejected=shared["index"].table("rejected.parquet"),
    )


def _recipe(result: Artifact) -> Recipe:
    try:
        return Recipe.model_validate(result.json("recipe.json"))
    except ValidationError as error:
        where = f"{result.path / 'recipe.json'} was not written by this version of OptiDEL"
        raise InputError(
            f"{where}: {error.errors()[0]['msg']}; report it with the version that ran it, or run it again"
        ) from error


def _cell_so_far(select: Artifact, by_step: Mapping[str, list[Artifact]]) -> Cell:
    """The cell of a finished selection, with those later steps that were built from it."""
    summary = select.json("summary.json")
    compose = _built_from([select], by_step.get("compose", []))
    pretrain = _built_from([select, compose], by_step.get("pretrain", []))
    return Cell(
        method=summary["method"],
        budget=summary["budget"],
        seed=summary["seed"],
        select=select,
        compose=compose,
        pretrain=pretrain,
        evaluate={},
    )


def _built_from(sources: Iterable[Artifact | None], candidates: list[Artifact]) -> Artifact | None:
    contents = {source.content for source in sources if source is not None}
    return next((found for found in candidates if contents & set(found.inputs.values())), None)


Row = TypeVar("Row", Score, Measured)


def _rows(kind: type[Row], table: pl.DataFrame) -> tuple[Row, ...]:
    """Table rows as records; columns that the record does not name are left out."""
    return tuple(
        kind(**row) for row in table.select([field.name for field in fields(kind)]).iter_rows(named=True)
    )
