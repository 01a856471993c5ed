"""The training sets of a run or bench folder, from its artifacts alone: what was trained on what, what it
scored, what it measures.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optidel.runs.collect import open_store, read_run
from optidel.store import MANIFEST, Artifact, newest

Scored = tuple[str, str]
"""Name of the labelled set, protocol."""

BenchSet = tuple[str, float]
"""Methods or variants of a bench that share a training set, joined by ``=``, and the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSet:
    """One training set and the encoder trained on it.

    ``images`` holds its pixels (all frames, or its composites); ``embed`` is the scoring of the corpus it
    came from, None where that is gone; ``rule`` is ``steps`` or ``epochs``, by what encoders of this folder
    are trained alike; ``tasks`` are the labelled sets it was tested on, by name; ``miou`` in [0, 1].
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
    miou: Mapping[Scored, float]

    @property
    def composed(self) -> bool:
        """Whether its images were made."""
        return self.images.step == "compose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What :mod:`optidel.vinformation` says of a training set; entropies in nats per value, the
    log-determinant in nats per image.

    ``h_null``, ``h_conditional`` and ``information`` are of the set itself: the null model is its own mean
    image, the conditional model the masked autoencoder that scored the corpus. ``gained`` says of each
    labelled set how much V-information the encoder trained on this set has of its images, which it has not
    seen: nats per value with MAE, per image with SimCLR.
    """

    images: int
    h_null: float
    h_conditional: float
    information: float
    log_det: float
    vendi: float
    gained: Mapping[str, float]


def trained_sets(root: Path) -> list[TrainedSet]:
    """Every training set that an encoder was trained on: those of the newest result or of a bench's cells, or
    all where there is neither.

    Args:
        root: a run or bench folder. In a bench, sets have the names of its variants.

    Raises:
        InputError: no run.
    """
    artifacts = open_store(root).artifacts()
    by_step: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        by_step[artifact.step].append(artifact)
    trained, cells = by_step["pretrain"], _bench_cells(root)
    wanted = (
        {cell.pretrain.path.name for cell in read_run(root).cells if cell.pretrain}
        if by_step["result"]
        else set(cells)
    )
    if wanted:
        trained = [artifact for artifact in trained if artifact.path.name in wanted]
    configs = {artifact.path.name: artifact.json(MANIFEST)["config"] for artifact in trained}
    longest = max((config["options"]["steps"] for config in configs.values()), default=0)
    found = (_trained(artifact, configs[artifact.path.name], longest, by_step, cells) for artifact in trained)
    return sorted(
        (one for one in found if one is not None), key=lambda one: (one.seed, -one.budget, one.method)
    )


def _trained(
    pretrain: Artifact,
    config: Mapping[str, Any],
    longest: int,
    by_step: Mapping[str, Sequence[Artifact]],
    cells: Mapping[str, BenchSet],
) -> TrainedSet | None:
    inputs, options = pretrain.inputs, config["options"]
    images = newest([*by_step["pixels"], *by_step["compose"]], inputs["pixels"])
    # Methods that choose alike share their encoder: all of them are named.
    selects = [one for one in by_step["select"] if one.content == inputs.get("select")]
    own = [one for one in selects if one.json("summary.json")["seed"] == config["seed"]] or selects
    if images is None or not own:
        return None
    summaries = [one.json("summary.json") for one in own]
    tested = [one for one in by_step["evaluate"] if one.inputs.get("encoder") == pretrain.content]
    tasks, miou = {}, {}
    for one in tested:
        task = newest(by_step["task"], one.inputs["task"])
        if task is not None:
            name = str(task.json("summary.json")["name"])
            protocol = one.json(MANIFEST)["config"]["protocol"]
            tasks[name], miou[name, protocol] = task, float(one.json("summary.json")["miou"])
    named = " = ".join(dict.fromkeys(summary["method"] for summary in summaries))
    method, budget = cells.get(pretrain.path.name, (named, summaries[0]["budget"]))
    return TrainedSet(
        method=method,
        budget=float(budget),
        seed=int(config["seed"]),
        objective=options["objective"],
        rule="steps" if options["steps"] == longest else "epochs",
        select=own[-1],
        images=images,
        embed=_embed_of(images, by_step),
        pretrain=pretrain,
        tasks=tasks,
        miou=dict(sorted(miou.items())),
    )


def _bench_cells(root: Path) -> dict[str, BenchSet]:
    """Folder of a pre-training to what a bench trained it for; empty for a run."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for path in sorted((root / "cells").glob("[!.]*.json")):
        record = json.loads(path.read_text())
        if record["artifacts"].get("pretrain"):
            found[record["artifacts"]["pretrain"]].setdefault(
                record["cell"]["method"], record["cell"]["budget"]
            )
    return {folder: (" = ".join(budgets), next(iter(budgets.values()))) for folder, budgets in found.items()}


def _embed_of(images: Artifact, by_step: Mapping[str, Sequence[Artifact]]) -> Artifact | None:
    """The scoring of the same pixels, or of the frames that composites were cut from."""
    if images.step == "compose":
        patches = newest(by_step["patches"], images.inputs["patches"])
        return None if patches is None else newest(by_step["embed"], patches.inputs["embed"])
    return next((one for one in reversed(by_step["embed"]) if one.inputs["pixels"] == images.content), None)


def measured_sets(root: Path) -> list[tuple[TrainedSet, Measured]]:
    """The training sets whose V-information was measured, with what was found."""
    done = {
        (found["pretrain"], found["select"]): one
        for one in open_store(root).artifacts("vinfo")
        if (found := one.inputs)
    }
    if not done:
        return []
    pairs = ((one, done.get((one.pretrain.content, one.select.content))) for one in trained_sets(root))
    return [(one, read_measured(artifact)) for one, artifact in pairs if artifact is not None]


def read_measured(artifact: Artifact) -> Measured:
    """The record that the step ``vinfo`` wrote."""
    return Measured(**artifact.json("summary.json"))
