"""What a run folder holds, as typed records: the artifacts of its result, or the newest finished ones where
there is none yet.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import ValidationError

from optidel.errors import InputError
from optidel.outcomes import CLASSES, MASKS, Measured, Outcomes
from optidel.recipe import Recipe
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import Artifact, Store

# Steps that write an index, in the order in which each narrows the one before.
INDEXES = ("index", "tag", "clean", "apart", "holdout")

# Artifacts that methods read beside vectors and errors: by role in a result, by step where there is none yet.
GUIDES = ("target", "target-vectors", "hardness", "patch hardness", "influence", "mixture")

# How an encoder is tested, in the order in which pages show it.
PROTOCOLS = ("fine-tune", "probe", "ridge", "knn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One method at one budget and seed, and the artifacts it left.

    A step that did not run, or not yet, is None; ``evaluate`` maps a protocol to its artifact. ``entropy`` is
    None where nothing was held out.
    """

    method: str
    budget: float
    seed: int
    select: Artifact | None
    compose: Artifact | None
    pretrain: Artifact | None
    evaluate: Mapping[str, Artifact]
    entropy: Artifact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodScore:
    """A row of the result table: one method at one budget and protocol, over seeds.

    Scores are in [0, 1], mIoU and Dice of masks, AUROC and balanced accuracy of classes; ``…_low`` and
    ``…_high`` bound their 95 % interval. ``difference`` is the first of them minus random's and
    ``difference_scratch`` minus that from scratch, paired by test image and seed; None for the baseline
    itself and where it did not run. From scratch has budget 0 and 0 images. ``h`` is the held-out V-entropy
    in nats per value, None where no frame was held out and in a table of an earlier version.
    """

    method: str
    budget: float
    protocol: str
    seeds: int
    n_images: int
    normdel: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    difference_scratch: float | None
    difference_scratch_low: float | None
    difference_scratch_high: float | None
    h: float | None = None
    h_low: float | None = None
    h_high: float | None = None
    miou: float | None = None
    miou_low: float | None = None
    miou_high: float | None = None
    dice: float | None = None
    dice_low: float | None = None
    dice_high: float | None = None
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    balanced: float | None = None
    balanced_low: float | None = None
    balanced_high: float | None = None

    @property
    def outcomes(self) -> Outcomes:
        """What its labelled set is scored by."""
        return MASKS if self.auroc is None else CLASSES

    @property
    def measured(self) -> tuple[Measured, Measured]:
        """Its two scores; methods are compared by the first."""
        first, second = (self._measured(outcome.name) for outcome in self.outcomes)
        return first, second

    def _measured(self, name: str) -> Measured:
        return Measured(*(getattr(self, f"{name}{end}") for end in ("", "_low", "_high")))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialScore:
    """One trial under one protocol: its mIoU or AUROC in [0, 1], and the seconds that it took.

    ``h`` is the held-out V-entropy of its encoder, None where no frame was held out and in a table of an
    earlier version.
    """

    method: str
    budget: float
    seed: int
    objective: str
    protocol: str
    compute: str
    task: str
    n_images: int
    seconds_select: float | None
    seconds_train: float | None
    h: float | None = None
    miou: float | None = None
    auroc: float | None = None

    @property
    def score(self) -> float:
        """What methods are compared by."""
        score = self.miou if self.auroc is None else self.auroc
        assert score is not None  # every table has one of both
        return score


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder opened for reading.

    ``result`` and ``recipe`` are None while the run is unfinished: then there are no scores yet, and
    ``trials`` are what was selected so far. ``guides`` are what single methods read beside vectors and
    errors. ``frames`` and ``rejected`` are tables of :class:`~optidel.records.Frame` and
    :class:`~optidel.records.Rejected`.
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
    trials: tuple[Trial, ...]
    scores: tuple[MethodScore, ...]
    trial_scores: tuple[TrialScore, ...]
    frames: pl.DataFrame
    rejected: pl.DataFrame
    guides: tuple[Artifact, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order in which they ran."""
        methods = [trial.method for trial in self.trials]
        return tuple(dict.fromkeys(methods))

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocols that have a score."""
        scored = {score.protocol for score in self.scores}
        protocols = [protocol for protocol in PROTOCOLS if protocol in scored]
        return tuple(protocols)

    @property
    def examples(self) -> tuple[Trial, ...]:
        """For each method the trial of its smallest budget and first seed: what the galleries show."""
        first: dict[str, Trial] = {}
        smallest_first = sorted(self.trials, key=lambda trial: (trial.budget, trial.seed))
        for trial in smallest_first:
            first.setdefault(trial.method, trial)
        examples = [first[method] for method in self.methods]
        return tuple(examples)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Every artifact that the report draws on, once each, in the order of the steps."""
        steps = [self.index, self.pixels, self.warmup, self.embed, *self.guides]
        steps += [self.patches, self.task, self.leaks]
        for trial in self.trials:
            steps += [trial.select, trial.compose, trial.pretrain, trial.entropy, *trial.evaluate.values()]
        steps.append(self.result)

        # Equal selections share their encoder, which then stands under several trials.
        by_name = {artifact.path.name: artifact for artifact in steps if artifact is not None}
        return tuple(by_name.values())


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
    by_step: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        by_step[artifact.step].append(artifact)

    if result is None and by_step["result"]:
        result = by_step["result"][-1]
    if result is not None:
        return _finished(root, result, {artifact.path.name: artifact for artifact in artifacts})
    if not by_step["index"]:
        raise InputError(
            f"nothing in the run {root} is finished yet; "
            f"start with `optidel index IMAGES --out {root}` or `optidel run`"
        )

    newest = {step: finished[-1] for step, finished in by_step.items() if finished}
    # The corpus without leaks and held-out frames, where there is one, is what the later steps read.
    indexes = [artifact for artifact in artifacts if artifact.step in INDEXES]
    newest["index"] = indexes[-1]
    trials = tuple(_unfinished_trial(select, by_step) for select in by_step["select"])
    return _run(root, None, newest, trials)


def _finished(root: Path, result: Artifact, artifacts: Mapping[str, Artifact]) -> Run:
    """The run as its result names it."""

    def find(name: str | None) -> Artifact | None:
        if name is not None and name not in artifacts:
            raise InputError(
                f"{result.path.name} names {name}, which is not in {root}; "
                "run the same `optidel run` again to rebuild it"
            )
        return None if name is None else artifacts[name]

    # What the result names, and not what is newest: later steps may have been made since.
    names = result.json("artifacts.json")
    trials = []
    for entry in names.pop("cells"):
        evaluated = {protocol: find(name) for protocol, name in entry["evaluate"].items()}
        trial = Trial(
            method=entry["method"],
            budget=entry["budget"],
            seed=entry["seed"],
            select=find(entry["select"]),
            compose=find(entry["compose"]),
            pretrain=find(entry["pretrain"]),
            evaluate={protocol: artifact for protocol, artifact in evaluated.items() if artifact},
            entropy=find(entry.get("entropy")),
        )
        trials.append(trial)

    shared = {step: artifact for step, name in names.items() if (artifact := find(name))}
    return _run(root, result, shared, tuple(trials))


def _run(
    root: Path, result: Artifact | None, shared: Mapping[str, Artifact], trials: tuple[Trial, ...]
) -> Run:
    index = shared["index"]
    return Run(
        root=root,
        result=result,
        recipe=_recipe(result) if result else None,
        index=index,
        pixels=shared.get("pixels"),
        warmup=shared.get("warmup"),
        embed=shared.get("embed"),
        patches=shared.get("patches"),
        task=shared.get("task"),
        leaks=shared.get("leaks"),
        trials=trials,
        scores=_rows(MethodScore, result.table("table.parquet")) if result else (),
        trial_scores=_rows(TrialScore, result.table("cells.parquet")) if result else (),
        frames=index.table("frames.parquet"),
        rejected=index.table("rejected.parquet"),
        guides=tuple(shared[role] for role in GUIDES if role in shared),
    )


def _recipe(result: Artifact) -> Recipe:
    try:
        return Recipe.model_validate(result.json("recipe.json"))
    except ValidationError as error:
        raise InputError(
            f"{result.path / 'recipe.json'} was not written by this version of OptiDEL: "
            f"{error.errors()[0]['msg']}; report it with the version that ran it, or run it again"
        ) from error


def _unfinished_trial(select: Artifact, by_step: Mapping[str, list[Artifact]]) -> Trial:
    """The trial of a finished selection, with those later steps that were built from it."""
    summary = read_summary(select, SelectSummary)
    compose = _built_from([select], by_step["compose"])
    pretrain = _built_from([select, compose], by_step["pretrain"])
    return Trial(
        method=summary.method,
        budget=summary.budget,
        seed=summary.seed,
        select=select,
        compose=compose,
        pretrain=pretrain,
        evaluate={},
    )


def _built_from(sources: Iterable[Artifact | None], candidates: list[Artifact]) -> Artifact | None:
    contents = {source.content for source in sources if source is not None}
    for candidate in candidates:
        if contents & set(candidate.inputs.values()):
            return candidate
    return None


Row = TypeVar("Row", MethodScore, TrialScore)


def _rows(kind: type[Row], table: pl.DataFrame) -> tuple[Row, ...]:
    """Table rows as records; columns that the record does not name are left out."""
    columns = [field.name for field in fields(kind) if field.name in table.columns]
    return tuple(kind(**row) for row in table.select(columns).iter_rows(named=True))
