"""The training sets of a run or bench folder, read from its artifacts alone.

For each set: what was trained on it, what that encoder scored, and what was measured of the set.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optidel.runs.collect import open_store, read_run
from optidel.runs.summaries import (
    EvaluateSummary,
    InformationSummary,
    SelectSummary,
    TaskSummary,
    read_summary,
)
from optidel.store import MANIFEST, Artifact, newest

# Name of the labelled set, protocol.
ScoreKey = tuple[str, str]

# Methods or variants of a bench that share a training set, joined by `=`, and the budget.
BenchSet = tuple[str, float]

# Finished artifacts by step, oldest first.
Finished = Mapping[str, Sequence[Artifact]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSet:
    """One training set and the encoder trained on it.

    ``images`` holds its pixels (all frames, or its composites); ``embed`` is the scoring of the corpus it
    came from, None where that is gone; ``rule`` is ``steps`` or ``epochs``, by what encoders of this folder
    are trained alike; ``tasks`` are the labelled sets it was tested on, by name; ``scores``, mIoU or AUROC,
    in [0, 1].
    """

    method: str
    budget: float
    seed: int
    objective: str
    rule: str
    select: Artifact
    images: Artifact
    embed: Artifact | None
    pretrain: Artifact
    tasks: Mapping[str, Artifact]
    scores: Mapping[ScoreKey, float]

    @property
    def composed(self) -> bool:
        """Whether its images were made."""
        return self.images.step == "compose"


def trained_sets(root: Path) -> list[TrainedSet]:
    """Every training set that an encoder was trained on.

    Those of the newest result or of a bench's records, or all where there is neither.

    Args:
        root: a run or bench folder. In a bench, sets have the names of its variants.

    Raises:
        InputError: no run.
    """
    # Artifacts alone: a folder of single steps has neither a result nor records.
    by_step: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in open_store(root).artifacts():
        by_step[artifact.step].append(artifact)

    bench_sets = _bench_sets(root)
    reported = set(bench_sets)
    if by_step["result"]:
        reported = {trial.pretrain.path.name for trial in read_run(root).trials if trial.pretrain}
    trained = by_step["pretrain"]
    if reported:
        trained = [artifact for artifact in trained if artifact.path.name in reported]

    configs = [artifact.json(MANIFEST)["config"] for artifact in trained]
    longest = max((config["options"]["steps"] for config in configs), default=0)
    sets = [
        _trained_set(artifact, config, longest, by_step, bench_sets)
        for artifact, config in zip(trained, configs, strict=True)
    ]
    complete = [trained_set for trained_set in sets if trained_set is not None]
    return sorted(complete, key=lambda item: (item.seed, -item.budget, item.method))


def _trained_set(
    pretrain: Artifact,
    config: Mapping[str, Any],
    longest: int,
    by_step: Finished,
    bench_sets: Mapping[str, BenchSet],
) -> TrainedSet | None:
    """The set of one encoder; None where its images or its selection are gone."""
    images = newest([*by_step["pixels"], *by_step["compose"]], pretrain.inputs["pixels"])
    selects = _selections_of(pretrain, config["seed"], by_step["select"])
    if images is None or not selects:
        return None

    summaries = [read_summary(select, SelectSummary) for select in selects]
    names = " = ".join(dict.fromkeys(summary.method for summary in summaries))
    method, budget = bench_sets.get(pretrain.path.name, (names, summaries[0].budget))
    tasks, scores = _scores_of(pretrain, by_step)
    options = config["options"]
    return TrainedSet(
        method=method,
        budget=float(budget),
        seed=int(config["seed"]),
        objective=options["objective"],
        # Under equal epochs only the largest set is trained as long as under equal steps.
        rule="steps" if options["steps"] == longest else "epochs",
        select=selects[-1],
        images=images,
        embed=_embed_of(images, by_step),
        pretrain=pretrain,
        tasks=tasks,
        scores=dict(sorted(scores.items())),
    )


def _selections_of(pretrain: Artifact, seed: int, selects: Sequence[Artifact]) -> list[Artifact]:
    """The selections that an encoder was trained on.

    Methods that choose alike share their encoder, so there may be several; those of its own seed go first.
    """
    equal = [select for select in selects if select.content == pretrain.inputs.get("select")]
    of_seed = [select for select in equal if read_summary(select, SelectSummary).seed == seed]
    return of_seed or equal


def _scores_of(pretrain: Artifact, by_step: Finished) -> tuple[dict[str, Artifact], dict[ScoreKey, float]]:
    """The labelled sets that an encoder was tested on, and its score on each under each protocol."""
    tasks: dict[str, Artifact] = {}
    scores: dict[ScoreKey, float] = {}
    for evaluation in by_step["evaluate"]:
        if evaluation.inputs.get("encoder") != pretrain.content:
            continue
        task = newest(by_step["task"], evaluation.inputs["task"])
        if task is None:
            continue  # deleted since; its score cannot be named
        name = read_summary(task, TaskSummary).name
        protocol = evaluation.json(MANIFEST)["config"]["protocol"]
        tasks[name] = task
        scores[name, protocol] = next(iter(read_summary(evaluation, EvaluateSummary).outcomes.values()))
    return tasks, scores


def _bench_sets(root: Path) -> dict[str, BenchSet]:
    """Folder of a pre-training to what a bench trained it for; empty for a run."""
    budgets: dict[str, dict[str, float]] = defaultdict(dict)
    # Hidden files are records that another process is writing.
    for path in sorted((root / "cells").glob("[!.]*.json")):
        record = json.loads(path.read_text())
        folder, trial = record["artifacts"].get("pretrain"), record["cell"]
        if folder:
            budgets[folder].setdefault(trial["method"], trial["budget"])
    return {
        folder: (" = ".join(methods), next(iter(methods.values()))) for folder, methods in budgets.items()
    }


def _embed_of(images: Artifact, by_step: Finished) -> Artifact | None:
    """The scoring of the same pixels, or of the frames that composites were cut from."""
    if images.step == "compose":
        patches = newest(by_step["patches"], images.inputs["patches"])
        return None if patches is None else newest(by_step["embed"], patches.inputs["embed"])
    for embed in reversed(by_step["embed"]):
        if embed.inputs["pixels"] == images.content:
            return embed
    return None


def measured_sets(root: Path) -> list[tuple[TrainedSet, InformationSummary]]:
    """The training sets whose V-information was measured, with what it is."""
    measured = {
        (artifact.inputs["pretrain"], artifact.inputs["select"]): artifact
        for artifact in open_store(root).artifacts("vinfo")
    }
    if not measured:
        return []

    pairs = []
    for trained_set in trained_sets(root):
        artifact = measured.get((trained_set.pretrain.content, trained_set.select.content))
        if artifact is not None:
            pairs.append((trained_set, read_summary(artifact, InformationSummary)))
    return pairs
