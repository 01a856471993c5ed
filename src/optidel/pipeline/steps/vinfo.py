"""V-information of one training set, and of the encoder trained on it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64

from optidel.arrays import Images, Scores, Vectors
from optidel.corpus.pixels import images_at, where_images_are
from optidel.errors import InputError
from optidel.features.embedding import write_scores
from optidel.features.rows import evenly_spaced
from optidel.pipeline.selections import kept_rows
from optidel.pipeline.weights import Weights
from optidel.runs.sets import TrainedSet
from optidel.runs.summaries import InformationSummary, write_summary
from optidel.store import MANIFEST, Artifact, Store, Workspace, newest
from optidel.training.objectives import objective_named
from optidel.vinformation import information, log_determinant, vendi
from optidel.vinformation.models import ROUNDING, masked_values, own_null_errors

# Images at most, of a set and of a labelled set, whose pixels enter the entropies; evenly spaced.
#
# A mean over 4,000 images is known to well under a per cent, and their pixels fit into memory.
MOST = 4_000


def vinfo_step(store: Store, trained: TrainedSet) -> Artifact:
    """Entropies and diversity of a training set, and what its encoder knows of each labelled set.

    Raises:
        InputError: the embedding that the set was chosen with is gone, or its method looks at none.
    """
    if trained.embed is None and _needs_none(store, trained.select):
        raise InputError(
            f"the run {store.root} has no embedding, for {trained.method} looks at none, and V-information "
            f"is measured under one; run `optidel embed IMAGES --out {store.root}` with the options of the "
            "run, then the same command again"
        )
    if trained.embed is None:
        raise InputError(
            f"the embedding that {trained.select.path.name} was chosen with is no longer in {store.root}; "
            "run the same command again"
        )
    embed = trained.embed
    scoring = embed.json(MANIFEST)["config"]

    def make(work: Workspace) -> None:
        error, vectors = _scored(work, store, trained, embed, scoring)
        rows = evenly_spaced(len(error), MOST)
        images = _images(trained, rows)
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
            gained={name: _gained(trained, task, seed) for name, task in trained.tasks.items()},
        )
        write_summary(work, summary)

    config = {"objective": trained.objective, "most": MOST}
    inputs = {
        "select": trained.select,
        "images": trained.images,
        "embed": embed,
        "pretrain": trained.pretrain,
    }
    for name, task in trained.tasks.items():
        inputs[f"task {name}"] = task
    return store.build("vinfo", make, version=1, config=config, inputs=inputs)


def _needs_none(store: Store, select: Artifact) -> bool:
    """Whether a selection, and the ranking that it was cut from, looked at no embedding."""
    source: Artifact | None = select
    while source is not None and "ranked" in source.inputs:
        source = newest(store.artifacts("select"), source.inputs["ranked"])
    return source is not None and not {"embed", "patches"} & set(source.inputs)


def _scored(
    work: Workspace, store: Store, trained: TrainedSet, embed: Artifact, scoring: Mapping[str, Any]
) -> tuple[Scores, Vectors]:
    """Error and vector of every image of the set under the model that scored the corpus.

    Frames have been scored; composites are scored now.
    """
    if not trained.composed:
        rows = kept_rows(trained.select)
        error, vectors = embed.array("error.npy"), embed.array("vectors.npy")
        return error[rows].astype(np.float64), vectors[rows]

    mae = _scoring_model(store, embed, scoring)
    # The null model of the corpus, not of the set: frames and composites are scored alike.
    pixels = trained.images.file("pixels.npy")
    mean = np.asarray(embed.array("mean_image.npy"))
    write_scores(work, pixels, mae.folder, scoring["weights"], mean, int(scoring["seed"]))
    error, vectors = np.load(work.path / "error.npy"), np.load(work.path / "vectors.npy")
    return error.astype(np.float64), vectors


def _scoring_model(store: Store, embed: Artifact, scoring: Mapping[str, Any]) -> Weights:
    """The masked autoencoder that an embedding was made with."""
    if scoring.get("mae"):
        return Weights(name=scoring["mae"])

    warmups = {artifact.content: artifact for artifact in store.artifacts("warmup")}
    warmup = warmups.get(embed.inputs.get("mae", ""))
    if warmup is None:
        raise InputError(
            f"the warm-up that {embed.path.name} was made with is no longer in {store.root}; "
            "run the same command again"
        )
    return Weights(artifact=warmup)


def _images(trained: TrainedSet, rows: Int64[np.ndarray, "m"]) -> Images:
    """Some images of the set, u8 (m, s, s, 3)."""
    pixels = images_at(where_images_are(trained.images))
    if not trained.composed:
        rows = kept_rows(trained.select)[rows]
    images: Images = pixels[rows]
    return images


def _gained(trained: TrainedSet, task: Artifact, seed: int) -> float:
    """V-information that the trained encoder has of labelled images, nats per value that it predicts."""
    images = task.array("images.npy")
    sample = np.asarray(images[evenly_spaced(len(images), MOST)])
    objective = objective_named(trained.objective)
    gained = objective.information(trained.pretrain.file("encoder"), sample, seed)
    return gained.information / gained.values
