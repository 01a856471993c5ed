"""Runs the trials of a bench into one store, each once, whoever else is running them."""

import json
import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float

from optidel.benchmark.bench import Bench, method_of
from optidel.benchmark.plan import Trial, key_of, recipe_of, trials
from optidel.benchmark.shards import part_of
from optidel.benchmark.stopping import decided
from optidel.benchmark.tables import (
    RECORDS,
    Record,
    collect,
    image_scores_of,
    read_record,
    write_atomically,
    write_record,
    write_tables,
)
from optidel.errors import OptidelError, StoreError
from optidel.outcomes import outcomes_in
from optidel.pipeline.pipeline import Pipeline, Shared
from optidel.pipeline.steps.result import cell_table
from optidel.progress import say
from optidel.recipe import Recipe
from optidel.runs.baselines import FULL
from optidel.store import Artifact, Store, canonical, digest
from optidel.training.precision import device
from optidel.words import counted

PACKAGE = Path(__file__).parents[1]

NO_WAIT, WAIT = 0.0, -1.0  # seconds that a lock is waited for; a negative number waits for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a bench ended.

    ``cells`` counts the trials planned (for this shard), ``done`` and ``stopped`` those finished and those
    left out by the stop rule; ``failed`` are the records of the others.
    """

    cells: int
    done: int
    stopped: int
    failed: tuple[Record, ...]


def run_bench(bench: Bench, out: Path | str, *, shard: tuple[int, int] | None = None) -> Outcome:
    """Run every trial that is not done; one that fails is recorded with its reason and stops no other.

    Args:
        bench: what to run.
        out: run folder; made, or continued. Several processes may run into it at once: each takes the next
            trial that nobody works on.
        shard: (i, n), the i-th of n parts, from 0. Parts run anywhere and are merged by copying their run
            folders together.

    Returns:
        The counts, and the records of the failed trials.

    Raises:
        OptidelError: corpus or labelled sets cannot be used, or the disk is full or read-only; what was
            computed stays.
    """
    runner = Runner(bench, Path(out))
    part = trials(bench)
    if shard is not None:
        part = part_of(bench, part, *shard)

    # Before hours of training: what cannot be used is known at once.
    runner.prepare(part)
    runner.run(part)
    write_tables(collect(bench, runner.root), runner.root)

    records = [record for trial in part if (record := runner.recorded(trial))]
    states = [record.state for record in records]
    return Outcome(
        cells=len(part),
        done=states.count("done"),
        stopped=states.count("stopped"),
        failed=tuple(record for record in records if record.state == "failed"),
    )


class Runner:
    """A bench in a run folder.

    ``cells/KEY.json`` says how each trial ended; artifacts are shared through the store.
    """

    def __init__(self, bench: Bench, out: Path) -> None:
        """Open or create the run folder; nothing is computed yet."""
        self.bench = bench
        self.root = Store(out).root
        self._pipelines: dict[tuple[str, bool], Pipeline] = {}
        self._broken: dict[tuple[Any, ...], str] = {}
        (self.root / RECORDS).mkdir(exist_ok=True)
        # Keys are not sorted: tasks keep their order.
        text = json.dumps(bench.model_dump(mode="json"), indent=1)
        write_atomically(self.root / "bench.json", text + "\n")

    @cached_property
    def shared(self) -> Shared:
        """What all pipelines share: the corpus, read once, and without the test images of any task or the
        images of any target.

        Where the recipe drops test images from the corpus, those of every task go, whichever tasks this part
        runs and also where a task is held out: an encoder serves all, and a test split that is asked for at
        the end must not change the corpus.
        """
        first = trials(self.bench)[0]
        base = Pipeline(self._recipe(first))
        whole = base.listed
        for task in self.bench.tasks:
            shared = Shared(store=base.store, listed=base.listed, whole=whole, tags=base.tags)
            pipeline = Pipeline(self._recipe(replace(first, task=task)), shared)
            pipeline.build("leaks")
            whole = pipeline.cleaned(whole)
        for recipe in self._recipes_by_target.values():
            shared = Shared(store=base.store, listed=base.listed, whole=whole, tags=base.tags)
            whole = Pipeline(recipe, shared).without_target(whole)

        clean = Shared(
            store=base.store, listed=base.listed, whole=whole, tags=base.tags, ranking=self.ranking
        )
        return replace(clean, holdout=Pipeline(base.recipe, clean).held_out(whole))

    @property
    def _recipes_by_target(self) -> dict[str, Recipe]:
        """Of each target that a trial aims at, a recipe that names it."""
        recipes: dict[str, Recipe] = {}
        for trial in trials(self.bench):
            recipe = self._recipe(trial)
            if recipe.selection.target is not None:
                recipes.setdefault(recipe.selection.target, recipe)
        return recipes

    @cached_property
    def ranking(self) -> dict[str, float]:
        """The largest budget below all of each method: what it ranks for, if it is nested."""
        largest: dict[str, float] = {}
        for trial in trials(self.bench):
            if trial.budget < 1 and not trial.untrained:
                method = method_of(self.bench, trial.method)
                largest[method] = max(trial.budget, largest.get(method, 0.0))
        return largest

    def pipeline(self, trial: Trial, *, look: bool = False) -> Pipeline:
        """The pipeline of a trial's recipe, or one that only looks.

        Trials that differ in method or seed alone share it.
        """
        recipe = self._recipe(trial)
        common = recipe.model_copy(update={"methods": (FULL,), "seeds": (0,)})
        key = common.model_dump_json(), look
        if key not in self._pipelines:
            self._pipelines[key] = Pipeline(recipe, self.shared.looking if look else self.shared)
        return self._pipelines[key]

    def _recipe(self, trial: Trial) -> Recipe:
        out = str(self.root)
        return recipe_of(self.bench, trial, out)

    def prepare(self, part: Iterable[Trial]) -> None:
        """Read the corpus and every labelled set first.

        What cannot be used should be known before hours of training.
        """
        say(counted(len(self.shared.corpus), "frame"))
        trial_of_task = {trial.task: trial for trial in part}
        for trial in trial_of_task.values():
            self.pipeline(trial).build("task")

    def run(self, part: Iterable[Trial]) -> None:
        """Every trial, in order; one whose encoder another process trains or tests is put off, and waited for
        at the end.
        """
        waiting = deque((trial, NO_WAIT) for trial in part)
        while waiting:
            trial, patience = waiting.popleft()
            # The trials of one encoder belong together: whoever took the next of them would only wait.
            name = digest(canonical(list(trial.training)))
            lock = FileLock(self.root / ".locks" / f"encoder-{name}.lock")
            try:
                with lock.acquire(timeout=patience):
                    state = self.state(trial)
                    if state != "done":
                        self._attempt(trial, keep=state == "unknown")
            except Timeout:
                waiting.append((trial, WAIT))

    def recorded(self, trial: Trial) -> Record | None:
        """How the trial ended, if it did."""
        return read_record(self.root, self._key(trial))

    def _key(self, trial: Trial) -> str:
        return key_of(self.bench, trial)

    def state(self, trial: Trial) -> Literal["done", "unknown", "missing"]:
        """Whether the trial's number is there and is what today's code makes of today's images.

        ``unknown``: a number is there, but what today's would come from cannot be named without making it.
        Trials that were left out are judged again.
        """
        record = self.recorded(trial)
        name = record.artifacts["evaluate"] if record and record.state == "done" else None
        if name is None or not (self.root / name).is_dir():
            return "missing"
        pipeline = self.pipeline(trial, look=True)
        try:
            evaluation = pipeline.evaluate(self._method(trial), trial.seed, trial.protocol)
        except (OptidelError, FileNotFoundError):
            return "unknown"
        return "done" if evaluation.path.name == name else "missing"

    def _method(self, trial: Trial) -> str:
        if trial.untrained:
            return trial.method
        return method_of(self.bench, trial.method)

    def _attempt(self, trial: Trial, *, keep: bool) -> None:
        """Compute and record one trial, at the cost of what is missing.

        Where it fails and ``keep`` is set, the number that is there stays.
        """
        blank = Record(cell=trial, state="failed", reason="", row=None, artifacts={})
        try:
            record = self._outcome(trial, blank, keep=keep)
        except StoreError:
            raise  # a full disk fails every trial alike
        except Exception as error:
            record = replace(blank, reason=_reason(error))
            kept = "; its earlier number is kept" if keep else ""
            say(f"failed: {name_of(trial)}: {record.reason}{kept}")
        if not keep or record.state == "done":
            write_record(self.root, self._key(trial), record)

    def _outcome(self, trial: Trial, blank: Record, *, keep: bool) -> Record:
        """The record of a trial that is left out, cannot be trained, or is computed now."""
        reason = "" if keep else decided(self.bench, trial, self.scores)
        if reason:
            return replace(blank, state="stopped", reason=reason)
        # Its encoder failed for another task in this process.
        if trial.training in self._broken:
            return replace(blank, reason=self._broken[trial.training])
        return self._compute(trial, blank)

    def _compute(self, trial: Trial, blank: Record) -> Record:
        pipeline, method = self.pipeline(trial), self._method(trial)
        say(f"cell      {name_of(trial)}")
        try:
            if not trial.untrained:
                pipeline.pretrain(method, trial.seed)
        except Exception as error:
            # The other tasks and protocols of this encoder would fail in the same way, after the same time.
            self._broken[trial.training] = _reason(error)
            raise

        result = pipeline.cell(method, trial.seed)
        [row] = cell_table(pipeline.recipe, pipeline.shared([method]), [result]).to_dicts()
        artifacts = {
            "select": result.select,
            "compose": result.compose,
            "pretrain": result.pretrain,
            "evaluate": result.evaluate[trial.protocol],
        }
        # Variants have names of their own, so the trial's keys win.
        row |= asdict(trial) | {"device": device().type}
        return replace(blank, state="done", row=row, artifacts=_names(artifacts))

    def scores(self, trial: Trial) -> Float[np.ndarray, "n"] | None:
        """What methods are compared by, of every test image of a finished trial, or None."""
        record = self.recorded(trial)
        if record is None or record.state != "done":
            return None
        means = image_scores_of(self.root, record)
        first, _ = outcomes_in(means.columns)
        return means[first.column].to_numpy()


def _names(artifacts: dict[str, Artifact | None]) -> dict[str, str | None]:
    names = {}
    for role, artifact in artifacts.items():
        names[role] = artifact.path.name if artifact else None
    return names


def name_of(trial: Trial) -> str:
    """``meddel 5 %, seed 0, mae, equal steps → polyps, probe``."""
    budget = "" if trial.untrained else f" {100 * trial.budget:g} %"
    training = f"{trial.method}{budget}, seed {trial.seed}, {trial.objective}, equal {trial.compute}"
    return f"{training} → {trial.task}, {trial.protocol}"


def _reason(error: Exception) -> str:
    """What happened and, unless we said it ourselves, the last place in our code.

    A failed trial is looked into long after.
    """
    if isinstance(error, OptidelError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    in_package = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    last = (in_package or frames)[-1]
    kind = type(error).__name__
    file = Path(last.filename).name
    return f"{kind}: {error}; {file}, line {last.lineno}"
