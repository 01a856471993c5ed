"""Scores of one encoder on the labelled set."""

from dataclasses import asdict, fields
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float

from optidel.evaluation.class_scores import class_values
from optidel.evaluation.class_sets import UNKNOWN
from optidel.evaluation.metrics import Scores
from optidel.evaluation.native import classes_at
from optidel.evaluation.stored import (
    StoredClasses,
    StoredTask,
    mean_precision,
    open_classes,
    open_task,
    precision_native,
    score_native,
)
from optidel.models.encoders import Encoder, build_encoder, load_encoder
from optidel.models.presets import PRESETS
from optidel.models.raw_pixels import RawPixels
from optidel.pipeline.classifiers import class_probabilities
from optidel.pipeline.predictors import FOLDER, train_predictor
from optidel.pipeline.steps.pretrain import encoder_at
from optidel.recipe import EvaluateSection, Protocol
from optidel.runs.summaries import EvaluateSummary, write_summary
from optidel.store import Artifact, Store, Workspace

# Of the step: 2 scores each test image at its own size.
VERSION = 2

# Test images whose prediction is kept for the report; a round number that fits its page.
PREDICTIONS = 12


def evaluate_step(
    store: Store,
    task: Artifact,
    encoder: Artifact | None,
    preset: str,
    protocol: Protocol,
    options: EvaluateSection,
    seed: int,
    at: int | None = None,
    *,
    raw: bool = False,
) -> Artifact:
    """Train a segmenter or a classifier on the labelled training images and score the test images.

    Args:
        store: the run.
        task: the labelled set.
        encoder: the pre-training; None starts from untrained weights.
        preset: name of the model's size.
        protocol: what of it is trained.
        options: optimizer steps and batch, where not the protocol's own.
        seed: of the new weights and the order of the images.
        at: score the encoder after that many steps of the pre-training; None for the trained one.
        raw: read the pixels of each patch in place of an encoder's tokens.
    """

    def make(work: Workspace) -> None:
        # One generator for the weights from scratch and for the training, in that order.
        generator = torch.Generator().manual_seed(seed)
        start = _start(encoder, preset, generator, at, raw=raw)
        classes = open_classes(task)
        if classes is not None:
            _evaluate_classes(work, classes, start, protocol, options, generator)
            return
        labelled = open_task(task)
        predictor = train_predictor(start, labelled, protocol, options, generator)

        tested = labelled.images[labelled.rows("test")]
        scores = score_native(labelled, predictor.logits(tested))
        columns = _image_columns(labelled, scores)
        precision = None
        if protocol == "ridge":
            precision = precision_native(labelled, predictor.logits(tested))
            columns["ap"] = precision.ravel()
        work.write_table("images.parquet", pl.DataFrame(columns))

        shown = predictor.logits(tested[:PREDICTIONS])
        predictions = [classes_at(logits, predictor.size, predictor.size) for logits in shown]
        work.write_array("predictions.npy", np.stack(predictions))
        write_summary(work, _summary(labelled, scores, precision))
        if options.keep and not raw:
            predictor.save(work.path / FOLDER)

    config: dict[str, Any] = {
        "preset": preset,
        "protocol": protocol,
        "options": options.model_dump(mode="json", include={"steps", "batch"}),
        "seed": seed,
    }
    if options.keep:
        config["keep"] = True
    if at is not None:
        config["at"] = at
    if raw:
        config["raw"] = True
    if options.layers and protocol == "ridge":
        config["layers"] = list(options.layers)
    inputs = {"task": task}
    if encoder:
        inputs["encoder"] = encoder
    return store.build("evaluate", make, version=VERSION, config=config, inputs=inputs)


def _evaluate_classes(
    work: Workspace,
    labelled: StoredClasses,
    encoder: Encoder,
    protocol: Protocol,
    options: EvaluateSection,
    generator: torch.Generator,
) -> None:
    """Scores on a set of classes: of each test image its probabilities, and what it adds to each score."""
    probabilities = class_probabilities(encoder, labelled, protocol, options, generator)
    tested = labelled.rows("test")
    labels = labelled.labels[tested]
    values = class_values(
        probabilities, labels == 1, exclusive=labelled.exclusive, known_MK=labels != UNKNOWN
    )
    columns = {field.name: getattr(values, field.name) for field in fields(values)}
    ids = labelled.items["id"].to_numpy()[tested].tolist()
    work.write_table("images.parquet", pl.DataFrame({"id": ids, **columns}))
    work.write_array("probabilities.npy", probabilities.astype(np.float32))
    summary = EvaluateSummary(
        n_train=len(labelled.rows("train")),
        n_test=len(tested),
        classes=len(labelled.classes),
        **asdict(values.scores),
    )
    write_summary(work, summary)


def _start(
    encoder: Artifact | None, preset: str, generator: torch.Generator, at: int | None, *, raw: bool
) -> Encoder:
    """The encoder to begin with."""
    if raw:
        return RawPixels(PRESETS[preset])
    if encoder is None:
        return build_encoder(PRESETS[preset], generator)
    return load_encoder(encoder.file(encoder_at(at)))


def _image_columns(task: StoredTask, scores: Scores) -> dict[str, Any]:
    """A row for every test image and foreground class; class 0 is the background, which no score counts."""
    tested = task.items["id"].to_numpy()[task.rows("test")]
    foreground = np.arange(1, task.classes)
    return {
        "id": np.repeat(tested, len(foreground)).tolist(),
        "class": np.tile(foreground, len(tested)),
        "iou": scores.iou.ravel(),
        "dice": scores.dice.ravel(),
    }


def _summary(task: StoredTask, scores: Scores, precision: Float[np.ndarray, "n k"] | None) -> EvaluateSummary:
    return EvaluateSummary(
        miou=scores.miou,
        dice=scores.mdice,
        n_train=len(task.rows("train")),
        n_test=len(task.rows("test")),
        classes=task.classes,
        scored_at="native",
        ap=None if precision is None else mean_precision(precision),
    )
