"""Embedding, difficulty and error map of every frame."""

from typing import Any

import numpy as np

from optidel.corpus.pixels import images_at, where_images_are
from optidel.features.embedding import check_vectors, mean_image, write_scores
from optidel.mapping import Plan
from optidel.pipeline.incremental import earlier_scores
from optidel.pipeline.weights import Weights
from optidel.runs.summaries import EmbedSummary, write_summary
from optidel.store import Artifact, Store, Workspace

# Of the code of this step.
VERSION = 2


def embed_step(
    store: Store,
    pixels: Artifact,
    mae: Weights,
    weights: str | None,
    seed: int,
    plan: Plan | None = None,
) -> Artifact:
    """Score every frame; rows of frames that an earlier state of the corpus held are copied from there.

    Args:
        store: the run.
        pixels: every frame at the model's size.
        mae: the masked autoencoder that scores.
        weights: encoder of the vectors, a folder or hub id; None takes them from the autoencoder's pass.
        seed: of the masks, the same for every frame.
        plan: who does the shards; None for this process.

    Raises:
        PendingError: other processes are to do shards.
    """

    def make(work: Workspace) -> None:
        where = where_images_are(pixels)
        images = images_at(where)
        earlier = earlier_scores(store, pixels, inputs, config, VERSION)
        mean = mean_image(images, np.random.default_rng(seed))
        write_scores(work, where, mae.folder, weights, mean, seed, earlier, plan)
        work.write_array("mean_image.npy", mean)
        check_vectors(
            np.load(work.path / "vectors.npy", mmap_mode="r"), weights or "the warmed-up autoencoder"
        )

        copied = int((earlier.rows >= 0).sum()) if earlier else 0
        warmup = mae.artifact
        # A warm-up of an earlier state of the corpus may have been kept.
        is_own = warmup is not None and warmup.inputs["pixels"] == pixels.content
        summary = EmbedSummary(
            copied=copied,
            computed=len(images) - copied,
            copied_from=earlier.name if earlier else None,
            warmup=warmup.path.name if warmup else None,
            warmup_is_own=is_own,
        )
        write_summary(work, summary)

    # A warm-up is an input; weights from outside have no artifact, so their name stands in the config.
    config: dict[str, Any] = {"seed": seed, "weights": weights, "mae": mae.name}
    inputs = {"pixels": pixels, **mae.inputs}
    return store.build("embed", make, version=VERSION, config=config, inputs=inputs)
