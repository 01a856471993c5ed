"""What an evaluation on a set of classes trains: labelled images in, probabilities of the test images out."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from optidel.evaluation.class_sets import UNKNOWN
from optidel.evaluation.classification import fit_logistic, neighbour_probabilities
from optidel.evaluation.stored import StoredClasses
from optidel.models.encoders import Encoder
from optidel.recipe import EvaluateSection, Protocol
from optidel.training.classification import train_classifier, vectors_of
from optidel.training.precision import device
from optidel.training.segmentation import SCHEDULES


def class_probabilities(
    encoder: Encoder,
    task: StoredClasses,
    protocol: Protocol,
    options: EvaluateSection,
    generator: torch.Generator,
) -> Float[np.ndarray, "m k"]:
    """Probabilities of the test images, by what the training images teach.

    Args:
        encoder: frozen by ``probe``, a logistic regression on its vectors, and by ``knn``; copied and trained
            further by ``fine-tune``.
        task: the labelled set.
        protocol: what is trained.
        options: optimizer steps and batch of ``fine-tune``, where not its own.
        generator: of new weights and the order of images; ``probe`` and ``knn`` draw nothing.
    """
    rows = task.rows("train")
    images, labels = task.images[rows], task.labels[rows]
    truth, known = labels == 1, labels != UNKNOWN
    tested = task.images[task.rows("test")]
    encoder = encoder.to(device()).eval()
    if protocol == "fine-tune":
        usual = SCHEDULES["fine-tune"]
        schedule = replace(usual, steps=options.steps or usual.steps, batch=options.batch or usual.batch)
        classifier = train_classifier(
            encoder,
            images,
            truth,
            known,
            exclusive=task.exclusive,
            generator=generator,
            schedule=schedule,
        )
        return classifier.probabilities(tested, exclusive=task.exclusive)

    features, queries = vectors_of(encoder, images), vectors_of(encoder, tested)
    if protocol == "knn":
        return neighbour_probabilities(features, truth, queries, known_NK=known)
    groups = task.items["group"].to_list()
    probe = fit_logistic(
        features,
        truth,
        exclusive=task.exclusive,
        groups=[groups[row] for row in rows.tolist()],
        known_NK=known,
    )
    return probe.probabilities(queries)
