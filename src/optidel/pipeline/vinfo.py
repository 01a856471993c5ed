"""V-information of the training sets of a run, measured after it: one artifact a set, resumable and reused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optidel.arrays import Images, Scores, Vectors
from optidel.errors import InputError
from optidel.features.embedding import write_scores
from optidel.pipeline.steps import kept_rows, mae_folder
from optidel.progress import say
from optidel.runs.sets import TrainedSet, trained_sets
from optidel.runs.summaries import InformationSummary, read_summary, write_summary
from optidel.store import MANIFEST, Artifact, Store, Workspace
from optidel.training.objectives import objective_named
from optidel.training.precision import device
from optidel.vinformation import information, log_determinant, vendi
from optidel.vinformation.models import ROUNDING, masked_values, own_null_errors

MOST = 4_000
"""Images at most, of a set and of a labelled set, whose pixels enter the entropies; evenly spaced through
them.
"""


def vinfo(root: Path) -> list[tuple[TrainedSet, InformationSummary]]:
    """Measure every training set of a run or bench folder; what was measured before is reused.

    Args:
        root: the folder.

    Raises:
        InputError: no run, or nothing in it is trained yet.
    """
    sets = trained_sets(root)
    if not sets:
        raise InputError(
            f"no encoder in {root} is trained yet, so it holds no training set; run `optidel run` or `optidel pretrain` first"
        )
    store, measured = Store(root), []
    for number, one in enumerate(sets, start=1):
        artifact = vinfo_step(store, one)
        say(
            f"vinfo {number}/{len(sets)}  {one.method} {one.budget:.3g} seed {one.seed}  {artifact.path.name}  {artifact.seconds:.1f} s"
        )
        measured.append((one, read_summary(artifact, InformationSummary)))
    return measured


def vinfo_step(store: Store, one: TrainedSet) -> Artifact:
    """Entropies and diversity of one training set, and what the encoder trained on it knows of each labelled
    set.
    """
    if one.embed is None:
        raise InputError(
            f"the embedding that {one.select.path.name} was chosen with is no longer in {store.root}; run the same command again"
        )
    embed = one.embed
    scoring = embed.json(MANIFEST)["config"]

    def make(work: Workspace) -> None:
        error, vectors = _scored(work, store, one, embed, scoring)
        rows = _spaced(len(error))
        images = _images(one, rows)
        values = masked_values(images.shape[1:])
        of_set = information(error[rows], own_null_errors(images), values, floor=ROUNDING)
        seed = int(scoring["seed"])
        summary = InformationSummary(
            images=len(error),
            h_null=of_set.h_null / values,
            h_conditional=of_set.h_conditional / values,
            information=of_set.information / values,
            log_det=log_determinant(vectors),
            vendi=vendi(vectors),
            gained={name: _gained(one, task, seed) for name, task in one.tasks.items()},
        )
        write_summary(work, summary)

    tasks = {f"task {name}": task for name, task in one.tasks.items()}
    inputs = {"select": one.select, "images": one.images, "embed": embed, "pretrain": one.pretrain} | tasks
    return store.build(
        "vinfo", make, version=1, config={"objective": one.objective, "most": MOST}, inputs=inputs
    )


def _scored(
    work: Workspace, store: Store, one: TrainedSet, embed: Artifact, scoring: Mapping[str, Any]
) -> tuple[Scores, Vectors]:
    """Error and vector of every image of the set under the model that scored the corpus; composites are
    scored now, frames have been.
    """
    if not one.composed:
        rows = kept_rows(one.select)
        return np.asarray(embed.array("error.npy")[rows], np.float64), embed.array("vectors.npy")[rows]
    warmups = {artifact.content: artifact for artifact in store.artifacts("warmup")}
    mae = scoring.get("mae") or warmups.get(embed.inputs.get("mae", ""))
    if mae is None:
        raise InputError(
            f"the warm-up that {embed.path.name} was made with is no longer in {store.root}; run the same command again"
        )
    pixels = one.images.array("pixels.npy")
    mean = np.asarray(embed.array("mean_image.npy"))
    write_scores(work, pixels, mae_folder(mae), scoring["weights"], mean, int(scoring["seed"]), device())
    return np.load(work.path / "error.npy").astype(np.float64), np.load(work.path / "vectors.npy")


def _spaced(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(np.int64))


def _images(one: TrainedSet, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Images:
    pixels = one.images.array("pixels.npy")
    chosen: Images = pixels[rows if one.composed else kept_rows(one.select)[rows]]
    return chosen


def _gained(one: TrainedSet, task: Artifact, seed: int) -> float:
    """V-information that the trained encoder has of labelled images: nats per value of what its objective
    predicts.
    """
    images = task.array("images.npy")
    shown = np.asarray(images[_spaced(len(images))])
    folder = one.pretrain.file("encoder")
    measured = objective_named(one.objective).information(folder, shown, seed)
    return measured.information / measured.values
