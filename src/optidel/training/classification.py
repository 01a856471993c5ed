"""Classification on top of an encoder: a linear head on its vector, all weights trained.

Legend: N images, K classes.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from optidel.arrays import Images
from optidel.models.encoders import Encoder
from optidel.models.mae import initialise
from optidel.training.labelled import Schedule, order_of, run_schedule
from optidel.training.optimizer import parameter_groups
from optidel.training.precision import autocast
from optidel.training.segmentation import CHUNK, SCHEDULES, TURNS, jittered, turned

# Least deviation of a dimension, so that one that never varies is not blown up.
LEAST_SPREAD = 1e-4


class Classifier(nn.Module):
    """The standardised vector of an encoder, and a linear map to logits."""

    centre: Tensor
    spread: Tensor

    def __init__(self, encoder: Encoder, classes: int, generator: torch.Generator) -> None:
        """Put an untrained head on ``encoder``; its weights depend on ``generator`` alone."""
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, classes)
        initialise(self.head, generator)
        self.register_buffer("centre", torch.zeros(1, encoder.dim))
        self.register_buffer("spread", torch.ones(1, encoder.dim))

    def forward(self, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n k"]:
        """Normalised images to float32 logits."""
        vectors = (self.encoder(x) - self.centre) / self.spread
        logits: Tensor = self.head(vectors)
        return logits.float()

    @torch.inference_mode()
    def probabilities(self, images: Images, *, exclusive: bool) -> Float64[np.ndarray, "n k"]:
        """Of every image and class; over classes they sum to 1 where they are exclusive."""
        where = self.centre.device
        parts = []
        for start in range(0, len(images), CHUNK):
            with autocast(where):
                logits = self(self.encoder.normalise(images[start : start + CHUNK])).double()
            parts.append(logits.softmax(1) if exclusive else logits.sigmoid())
        return np.asarray(torch.cat(parts).cpu().numpy())


@torch.inference_mode()
def vectors_of(encoder: Encoder, images: Images) -> Float[np.ndarray, "n d"]:
    """The encoder's vector of every image, float32."""
    parts = []
    for start in range(0, len(images), CHUNK):
        with autocast(encoder.mean.device):
            parts.append(encoder(encoder.normalise(images[start : start + CHUNK])).float())
    return np.asarray(torch.cat(parts).cpu().numpy())


def train_classifier(
    encoder: Encoder,
    images: Images,
    labels_NK: Bool[np.ndarray, "n k"],
    known_NK: Bool[np.ndarray, "n k"],
    *,
    exclusive: bool,
    generator: torch.Generator,
    schedule: Schedule | None = None,
) -> Classifier:
    """Fine-tune a copy of an encoder with a linear head; batches are flipped, turned and jittered in colour.

    Args:
        encoder: any encoder; stays as it is; its device is used.
        images: u8 RGB of the encoder's size, training images only.
        labels_NK: of the images.
        known_NK: labels that are not known have no loss.
        exclusive: one class an image (softmax), else every class on its own (sigmoid).
        generator: a CPU generator; the head's weights, the order and the augmentation all follow from it.
        schedule: default that of fine-tuning a segmenter.

    Returns:
        The trained classifier, in evaluation mode.

    Raises:
        TrainingError: a loss that is not finite.
    """
    plan = schedule or SCHEDULES["fine-tune"]
    where = encoder.mean.device
    classifier = Classifier(copy.deepcopy(encoder), labels_NK.shape[1], generator).to(where).eval()
    vectors = torch.from_numpy(vectors_of(classifier.encoder, images)).to(where)
    classifier.centre.copy_(vectors.mean(0, keepdim=True))
    classifier.spread.copy_(vectors.std(0, keepdim=True).clamp(min=LEAST_SPREAD))

    x_N3SS = encoder.normalise(images)
    target_NK = torch.from_numpy(labels_NK.astype(np.float32)).to(where)
    weight_NK = torch.from_numpy(known_NK.astype(np.float32)).to(where)
    order = order_of(plan, len(images), generator)
    classifier.train()

    def loss(step: int) -> Tensor:
        rows = order[step].to(where)
        turns = torch.randint(TURNS, (plan.batch,), generator=generator).to(where)
        views = jittered(turned(x_N3SS[rows], turns), generator)
        with autocast(where):
            logits = classifier(views)
        if exclusive:
            return F.cross_entropy(logits, target_NK[rows].argmax(1))
        weight = weight_NK[rows]
        losses = F.binary_cross_entropy_with_logits(logits, target_NK[rows], weight, reduction="sum")
        return losses / weight.sum().clamp(min=1)

    groups = parameter_groups(classifier.head, plan.weight_decay)
    for group in groups:
        group["peak"] = plan.lr
    of_encoder = parameter_groups(classifier.encoder, plan.weight_decay)
    for group in of_encoder:
        group["peak"] = plan.encoder_lr
    run_schedule(classifier, groups + of_encoder, plan, loss, "fine-tune")
    return classifier.eval()
