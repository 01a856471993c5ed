"""The training loop of what learns from labelled images: a schedule, an order of images, a loss a step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from optidel.progress import bar
from optidel.training.optimizer import finite_loss
from optidel.training.schedule import cosine

# AdamW's, with a shorter memory of squares than the default, since a training has a few hundred steps; CLIP's
# (arXiv 2103.00020, table 18).
BETAS = (0.9, 0.98)

# Norm to which gradients are clipped, the usual value for transformers.
LARGEST_GRADIENT = 1.0

REMEDY = "look at the encoder's loss, it may have been trained at too high a learning rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """``steps`` optimizer steps of ``batch`` images; peak learning rate ``lr`` of the head and ``encoder_lr``
    of the encoder (AdamW).

    Both rise over the first ``warmup`` fraction of the steps and fall along a cosine to zero.
    """

    steps: int
    batch: int
    lr: float
    encoder_lr: float
    weight_decay: float = 0.05
    warmup: float = 0.1


def run_schedule(
    module: nn.Module,
    groups: list[dict[str, Any]],
    plan: Schedule,
    loss: Callable[[int], Tensor],
    name: str,
) -> None:
    """Train with AdamW.

    Args:
        module: whose gradients are clipped.
        groups: of its parameters, each with the learning rate at its ``peak``.
        plan: steps and how the rates rise and fall.
        loss: of a step.
        name: of the bar.

    Raises:
        TrainingError: a loss that is not finite.
    """
    optimizer = torch.optim.AdamW(groups, betas=BETAS)
    with bar(name, plan.steps) as advance:
        for step in range(plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = cosine(step, plan.steps, group["peak"], plan.warmup)

            value_of_step = loss(step)
            value = finite_loss(value_of_step, step, optimizer.param_groups[0]["lr"], REMEDY)

            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value_of_step)
            nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            advance(note=f"loss {value:.3f}")


def order_of(plan: Schedule, count: int, generator: torch.Generator) -> Int64[Tensor, "steps batch"]:
    """Rows of every step: the set reshuffled every epoch, epochs joined end to end."""
    total = plan.steps * plan.batch
    epochs = math.ceil(total / count)
    orders = [torch.randperm(count, generator=generator) for _ in range(epochs)]
    return torch.cat(orders)[:total].view(plan.steps, plan.batch)
