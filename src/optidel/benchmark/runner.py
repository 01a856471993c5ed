"""Runs the cells of a bench into one store, each once, whoever else is running them."""

import json
import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from optidel.benchmark.plan import Bench, Cell, cells, key_of, method_of, recipe_of
from optidel.benchmark.shards import part_of
from optidel.benchmark.stopping import decided
from optidel.benchmark.tables import (
    RECORDS,
    Record,
    collect,
    image_scores_of,
    read_record,
    write_atomically,
    write_tables,
)
from optidel.errors import OptidelError, StoreError
from optidel.pipeline.pipeline import Pipeline, Shared
from optidel.pipeline.steps.result import cell_table
from optidel.progress import say
from optidel.runs.baselines import FULL, SCRATCH
from optidel.store import Store
from optidel.training.precision import device

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a bench ended: ``cells`` planned (for this shard), and records of those that are done, failed, or
    left out by the stop rule.
    """

    cells: int
    done: int
    stopped: int
    failed: tuple[Record, ...]


def run_bench(bench: Bench, out: Path | str, *, shard: tuple[int, int] | None = None) -> Outcome:
    """Run every cell that is not done; a failed one is recorded with its reason and does not stop the others.

    Args:
        bench: what to run.
        out: run folder; made, or continued. Several processes may run into it at once: each takes the next
            cell that nobody works on.
        shard: (i, n), the i-th of n parts, from 0. Parts run anywhere and are merged by copying their run
            folders together.

    Returns:
        The counts, and the records of the failed cells.

    Raises:
        OptidelError: corpus or labelled sets cannot be used, or the disk is full or read-only; what was
            computed stays.
    """
    runner = Runner(bench, Path(out))
    planned = cells(bench)
    mine = planned if shard is None else part_of(bench, planned, *shard)
    runner.prepare(mine)
    runner.run(mine)
    write_tables(collect(bench, runner.root), runner.root)
    records = [record for cell in mine if (record := runner.recorded(cell))]
    states = [record.state for record in records]
    return Outcome(
        cells=len(mine),
        done=states.count("done"),
        stopped=states.count("stopped"),
        failed=tuple(record for record in records if record.state == "failed"),
    )


class Runner:
    """A bench in a run folder. ``cells/KEY.json`` says how each cell ended; artifacts are shared through the
    store.
    """

    def __init__(self, bench: Bench, out: Path) -> None:
        """Open or create the run folder; nothing is computed yet."""
        self.bench = bench
        self.root = Store(out).root
        self._pipelines: dict[tuple[str, bool], Pipeline] = {}
        self._broken: dict[tuple[Any, ...], str] = {}
        (self.root / RECORDS).mkdir(exist_ok=True)
        write_atomically(
            self.root / "bench.json", json.dumps(bench.model_dump(mode="json"), indent=1) + "\n"
        )  # tasks keep their order

    @cached_property
    def shared(self) -> Shared:
        """What all pipelines share: the corpus, read once, and without the test images of any task.

        Where the recipe drops test images from the corpus, those of every task go, whichever tasks this part
        runs and also where a task is held out: an encoder serves all, and a test split that is asked for at
        the end must not change the corpus.
        """
        first = cells(self.bench)[0]
        base = Pipeline(recipe_of(self.bench, first, str(self.root)))
        shared = Shared(store=base.store, listed=base.listed, index=base.listed, ranking=self.ranking)
        for task in self.bench.tasks:
            pipeline = Pipeline(recipe_of(self.bench, replace(first, task=task), str(self.root)), shared)
            pipeline.build("leaks")
            shared = replace(shared, index=pipeline.cleaned(shared.index))
        return shared

    @cached_property
    def ranking(self) -> dict[str, float]:
        """The largest budget below all of each method: what it ranks for, if it is nested."""
        found: dict[str, float] = {}
        for cell in cells(self.bench):
            if cell.budget < 1 and cell.method != SCRATCH:
                method = method_of(self.bench, cell.method)
                found[method] = max(cell.budget, found.get(method, 0.0))
        return found

    def pipeline(self, cell: Cell, *, look: bool = False) -> Pipeline:
        """The pipeline of a cell's recipe, or one that only looks; cells that differ in method or seed alone
        share it.
        """
        recipe = recipe_of(self.bench, cell, str(self.root))
        key = recipe.model_copy(update={"methods": (FULL,), "seeds": (0,)}).model_dump_json(), look
        if key not in self._pipelines:
            self._pipelines[key] = Pipeline(recipe, self.shared.looking if look else self.shared)
        return self._pipelines[key]

    def prepare(self, mine: Iterable[Cell]) -> None:
        """Read the corpus and every labelled set first.

        What cannot be used should be known before hours of training.
        """
        say(f"{len(self.shared.corpus)} frames")
        one_of_each_task = {cell.task: cell for cell in mine}
        for cell in one_of_each_task.values():
            self.pipeline(cell).build("task")

    def run(self, mine: Iterable[Cell]) -> None:
        """Every cell, in order; one that another process works on is put off, and waited for at the end."""
        waiting = deque((cell, 0.0) for cell in mine)
        while waiting:
            cell, patience = waiting.popleft()
            lock = FileLock(self.root / ".locks" / f"cell-{key_of(self.bench, cell)}.lock")
            try:
                with lock.acquire(timeout=patience):
                    if (state := self.state(cell)) != "done":
                        self._attempt(cell, keep=state == "unknown")
            except Timeout:
                waiting.append((cell, -1))

    def recorded(self, cell: Cell) -> Record | None:
        """How the cell ended, if it did."""
        return read_record(self.root, key_of(self.bench, cell))

    def state(self, cell: Cell) -> Literal["done", "unknown", "missing"]:
        """Whether the cell's number is there and is what today's code makes of today's images; left-out cells
        are judged again.

        ``unknown``: a number is there, but what today's would come from cannot be named without making it.
        """
        record = self.recorded(cell)
        name = record.artifacts["evaluate"] if record and record.state == "done" else None
        if name is None or not (self.root / name).is_dir():
            return "missing"
        try:
            made = self.pipeline(cell, look=True).evaluate(self._method(cell), cell.seed, cell.protocol)
        except (OptidelError, FileNotFoundError):
            return "unknown"
        return "done" if made.path.name == name else "missing"

    def _method(self, cell: Cell) -> str:
        return SCRATCH if cell.method == SCRATCH else method_of(self.bench, cell.method)

    def _attempt(self, cell: Cell, *, keep: bool) -> None:
        """Compute and record one cell, at the cost of what is missing; where it fails, the number that is
        there may be kept.
        """
        blank = Record(cell=cell, state="failed", reason="", row=None, artifacts={})
        try:
            if not keep and (reason := decided(self.bench, cell, self.scores)):
                record = replace(blank, state="stopped", reason=reason)
            elif cell.training in self._broken:
                record = replace(blank, reason=self._broken[cell.training])
            else:
                record = self._compute(cell, blank)
        except StoreError:
            raise  # a full disk fails every cell alike
        except Exception as error:
            record = replace(blank, reason=_reason(error))
            say(
                f"failed: {name_of(cell)}: {record.reason}" + ("; its earlier number is kept" if keep else "")
            )
        if not keep or record.state == "done":
            self._write(record)

    def _compute(self, cell: Cell, blank: Record) -> Record:
        pipeline, method = self.pipeline(cell), self._method(cell)
        say(f"cell      {name_of(cell)}")
        try:
            if method != SCRATCH:
                pipeline.pretrain(method, cell.seed)
        except Exception as error:
            # The other tasks and protocols of this encoder would fail in the same way, after the same time.
            self._broken[cell.training] = _reason(error)
            raise
        made = pipeline.cell(method, cell.seed)
        [row] = cell_table(pipeline.recipe, pipeline.shared([method]), [made]).to_dicts()
        artifacts = {
            "select": made.select,
            "compose": made.compose,
            "pretrain": made.pretrain,
            "evaluate": made.evaluate[cell.protocol],
        }
        names = {role: artifact.path.name if artifact else None for role, artifact in artifacts.items()}
        return replace(
            blank, state="done", row=row | asdict(cell) | {"device": device().type}, artifacts=names
        )

    def scores(self, cell: Cell) -> Any:
        """IoU of every test image of a finished cell, or None."""
        record = self.recorded(cell)
        return (
            None
            if record is None or record.state != "done"
            else image_scores_of(self.root, record)["iou"].to_numpy()
        )

    def _write(self, record: Record) -> None:
        path = self.root / RECORDS / f"{key_of(self.bench, record.cell)}.json"
        write_atomically(path, json.dumps(asdict(record), indent=1, sort_keys=True) + "\n")


def name_of(cell: Cell) -> str:
    """``meddel 5 %, seed 0, mae, equal steps → polyps, probe``."""
    budget = f" {100 * cell.budget:g} %" if cell.method != SCRATCH else ""
    return f"{cell.method}{budget}, seed {cell.seed}, {cell.objective}, equal {cell.compute} → {cell.task}, {cell.protocol}"


def _reason(error: Exception) -> str:
    """What happened and, unless we said it ourselves, the last place in our code: a failed cell is looked
    into long after.
    """
    if isinstance(error, OptidelError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)] or frames
    return f"{type(error).__name__}: {error}; {Path(ours[-1].filename).name}, line {ours[-1].lineno}"
