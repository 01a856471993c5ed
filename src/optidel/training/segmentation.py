"""Segmentation on top of an encoder: fine-tuned as a whole, or with the encoder frozen.

Legend: N images, T turns, S pixels along a side, D token dimensions, G tokens along a side; k classes.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from optidel.arrays import VOID, Images
from optidel.errors import InputError
from optidel.models.encoders import Encoder
from optidel.models.segmenter import Protocol, Segmenter
from optidel.training.labelled import Schedule, order_of, run_schedule
from optidel.training.losses import dice_cross_entropy
from optidel.training.optimizer import parameter_groups
from optidel.training.precision import autocast

# The symmetries of a square: four quarter turns, each mirrored or not.
TURNS = 8

# Images whose tokens or logits are computed at once; a round number, nothing depends on it.
CHUNK = 64

SCHEDULES: dict[Protocol, Schedule] = {
    "fine-tune": Schedule(steps=500, batch=8, lr=3e-3, encoder_lr=3e-4),
    "probe": Schedule(steps=800, batch=16, lr=3e-3, encoder_lr=0.0),
}
"""Chosen for 200 labelled images at 64 px, where they take about a minute and 20 s on one core."""


def train_segmenter(
    encoder: Encoder,
    images: Images,
    masks: UInt8[np.ndarray, "n s s"],
    classes: int,
    *,
    protocol: Protocol,
    generator: torch.Generator,
    schedule: Schedule | None = None,
) -> Segmenter:
    """Train a segmenter; the given encoder stays as it is.

    ``fine-tune``: all weights of a copy of the encoder, its learning rate below the head's; batches are
    flipped, turned by quarters and jittered in colour. ``probe``: the encoder is frozen; the tokens of every
    flip and turn of the training images are computed once, and only the head is trained on them.

    Args:
        encoder: any encoder of size s; its device is used.
        images: u8 RGB, training images only.
        masks: class of every pixel, 0 background, 255 void.
        classes: k, the background included.
        protocol: ``fine-tune`` or ``probe``.
        generator: a CPU generator; the head's weights, the order and the augmentation all follow from it.
        schedule: default ``SCHEDULES[protocol]``.

    Returns:
        The trained segmenter, in evaluation mode.

    Raises:
        InputError: no image, arrays that do not fit each other or the encoder, or a class outside 0..k-1.
    """
    _check(encoder, images, masks, classes)
    plan = schedule or SCHEDULES[protocol]
    where = encoder.mean.device
    segmenter = Segmenter(copy.deepcopy(encoder), classes, generator).to(where).eval()

    # Copies of a small set: the training images and, for a probe, their tokens stay on the device.
    x_N3SS = encoder.normalise(images)
    target_NSS = torch.from_numpy(np.array(masks)).to(where)
    frozen = protocol == "probe"
    tokens_TNDGG = _tokens(segmenter.encoder, x_N3SS, TURNS if frozen else 1)
    segmenter.standardise(tokens_TNDGG.flatten(0, 1))

    groups = _groups(segmenter, plan, frozen)
    order = order_of(plan, len(images), generator)
    segmenter.train(not frozen)  # a frozen encoder keeps its drop-out off

    def loss(step: int) -> Tensor:
        rows = order[step].to(where)
        turns = torch.randint(TURNS, (plan.batch,), generator=generator).to(where)
        target = turned(target_NSS[rows], turns)
        with autocast(where):
            if frozen:
                logits = segmenter.decode(tokens_TNDGG[turns, rows])
            else:
                views = turned(x_N3SS[rows], turns)
                logits = segmenter(jittered(views, generator))
        return dice_cross_entropy(logits, target)

    run_schedule(segmenter, groups, plan, loss, protocol)
    return segmenter.eval()


def predict(segmenter: Segmenter, images: Images) -> UInt8[np.ndarray, "n s s"]:
    """Most likely class of every pixel; ``images`` u8 (n, s, s, 3) of the encoder's size, may be
    memory-mapped.
    """
    classes = [logits.argmax(axis=0).astype(np.uint8) for logits in predict_logits(segmenter, images)]
    return np.stack(classes)


@torch.inference_mode()
def predict_logits(segmenter: Segmenter, images: Images) -> Iterator[Float32[np.ndarray, "k s s"]]:
    """Logits of every image, float32 (k, s, s), one image after the other.

    ``images`` as in :func:`predict`.
    """
    where = segmenter.centre.device
    for start in range(0, len(images), CHUNK):
        with autocast(where):
            logits = segmenter(segmenter.encoder.normalise(images[start : start + CHUNK]))
        yield from logits.float().cpu().numpy()


def turned(x: Tensor, turns: Int64[Tensor, "n"]) -> Tensor:
    """Turn every item of x (n, ..., s, s) by ``turns`` % 4 quarters and, from 4 on, mirror it."""
    result = torch.empty_like(x)
    for turn in range(TURNS):
        rows = turns == turn
        quarter = torch.rot90(x[rows], turn % 4, (-2, -1))
        result[rows] = quarter.flip(-1) if turn >= 4 else quarter
    return result


def jittered(
    x: Float[Tensor, "n 3 s s"], generator: torch.Generator, strength: float = 0.2
) -> Float[Tensor, "n 3 s s"]:
    """Contrast and brightness of every channel of every image, changed by at most ``strength`` deviations."""
    uniform = 2 * torch.rand(2, len(x), 3, 1, 1, generator=generator) - 1
    contrast, brightness = strength * uniform.to(x.device)
    changed: Tensor = x + x * contrast + brightness
    return changed


@torch.no_grad()
def _tokens(encoder: Encoder, x: Float[Tensor, "n 3 s s"], turns: int) -> Float[Tensor, "t n d g g"]:
    """Tokens of each of the first ``turns`` flips and turns of every image."""
    rows = []
    for turn in range(turns):
        kind = torch.full((len(x),), turn, device=x.device)
        chunks = torch.split(turned(x, kind), CHUNK)
        with autocast(x.device):
            tokens = [encoder.tokens(chunk).float() for chunk in chunks]
        rows.append(torch.cat(tokens))
    return torch.stack(rows)


def _groups(segmenter: Segmenter, plan: Schedule, frozen: bool) -> list[dict[str, object]]:
    """Groups of parameters, each with the learning rate at its ``peak``; a frozen encoder is in none."""
    groups = parameter_groups(segmenter.head, plan.weight_decay)
    for group in groups:
        group["peak"] = plan.lr
    if frozen:
        segmenter.encoder.requires_grad_(False)
        return groups

    of_encoder = parameter_groups(segmenter.encoder, plan.weight_decay)
    for group in of_encoder:
        group["peak"] = plan.encoder_lr
    return groups + of_encoder


def _check(encoder: Encoder, images: Images, masks: UInt8[np.ndarray, "n s s"], classes: int) -> None:
    side = encoder.size
    fits = images.shape[1:] == (side, side, 3) and masks.shape == images.shape[:3]
    if len(images) == 0 or not fits:
        raise InputError(
            f"images {images.shape} and masks {masks.shape} must be (n, {side}, {side}, 3) and "
            f"(n, {side}, {side}) with n >= 1; read the labelled set at the encoder's {side} px"
        )
    highest = int(np.where(masks == VOID, 0, masks).max())
    if classes < 2 or highest >= classes:
        raise InputError(
            f"the masks hold class {highest}, but classes is {classes}; pass highest class + 1, at least 2"
        )
