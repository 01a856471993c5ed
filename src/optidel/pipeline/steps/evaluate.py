"""Scores of one encoder on the labelled set."""

from dataclasses import replace

import numpy as np
import polars as pl
import torch

from optidel.evaluation.stored import open_task, score_native
from optidel.models.encoders import Encoder, build_encoder, load_encoder
from optidel.models.presets import PRESETS
from optidel.models.segmenter import Protocol
from optidel.recipe import EvaluateSection
from optidel.runs.summaries import EvaluateSummary, write_summary
from optidel.store import Artifact, Store, Workspace
from optidel.training.precision import device
from optidel.training.segmentation import SCHEDULES, Schedule, predict, predict_logits, train_segmenter

VERSION = 2
"""Of the step: 2 scores each test image at its own size."""

PREDICTIONS = 12
"""Test images whose prediction is kept for the report; a round number that fits its page."""


def evaluate_step(
    store: Store,
    task: Artifact,
    encoder: Artifact | None,
    preset: str,
    protocol: Protocol,
    options: EvaluateSection,
    seed: int,
) -> Artifact:
    """Train a segmenter on the labelled training images and score the test images.

    Args:
        store: the run.
        task: the labelled set.
        encoder: the pre-training; None starts from untrained weights.
        preset: name of the model's size.
        protocol: what of the segmenter is trained.
        options: optimizer steps and batch, where not the protocol's own.
        seed: of the new weights and the order of the images.
    """

    def make(work: Workspace) -> None:
        labelled = open_task(task)
        classes = labelled.classes
        train, test = labelled.rows("train"), labelled.rows("test")
        images, masks = labelled.images, labelled.masks

        # One generator for the weights from scratch and for the training, in that order.
        generator = torch.Generator().manual_seed(seed)
        start = _start(encoder, preset, generator)
        segmenter = train_segmenter(
            start.to(device()),
            images[train],
            masks[train],
            classes,
            protocol=protocol,
            generator=generator,
            schedule=_schedule(protocol, options),
        )
        scores = score_native(labelled, predict_logits(segmenter, images[test]))

        work.write_array("predictions.npy", predict(segmenter, images[test[:PREDICTIONS]]))
        foreground = np.arange(1, classes)  # class 0 is the background, which no score counts
        columns = {
            "id": np.repeat(labelled.items["id"].to_numpy()[test], len(foreground)).tolist(),
            "class": np.tile(foreground, len(test)),
            "iou": scores.iou.ravel(),
            "dice": scores.dice.ravel(),
        }
        work.write_table("images.parquet", pl.DataFrame(columns))
        summary = EvaluateSummary(
            miou=scores.miou,
            dice=scores.mdice,
            n_train=len(train),
            n_test=len(test),
            classes=classes,
            scored_at="native",
        )
        write_summary(work, summary)

    config = {
        "preset": preset,
        "protocol": protocol,
        "options": options.model_dump(mode="json", include={"steps", "batch"}),
        "seed": seed,
    }
    inputs = {"task": task}
    if encoder:
        inputs["encoder"] = encoder
    return store.build("evaluate", make, version=VERSION, config=config, inputs=inputs)


def _start(encoder: Artifact | None, preset: str, generator: torch.Generator) -> Encoder:
    """The encoder to begin with."""
    if encoder is None:
        return build_encoder(PRESETS[preset], generator)
    return load_encoder(encoder.file("encoder"))


def _schedule(protocol: Protocol, options: EvaluateSection) -> Schedule:
    """The protocol's own schedule, with what the recipe sets."""
    usual = SCHEDULES[protocol]
    steps = options.steps or usual.steps
    batch = options.batch or usual.batch
    return replace(usual, steps=steps, batch=batch)
