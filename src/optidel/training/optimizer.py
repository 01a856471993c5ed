"""What both training loops need beside a model: groups of parameters, and a stop where numbers run away."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from optidel.errors import TrainingError


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters as two groups of an optimizer: matrices decay, vectors (biases, norms) do not.

    Args:
        module: parameters without ``requires_grad`` are left out.
        weight_decay: of the matrices.

    Returns:
        Matrices first, each with ``params`` and ``weight_decay``.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def finite_loss(loss: Tensor, step: int, lr: float, remedy: str) -> float:
    """The loss as a number.

    Args:
        loss: a scalar.
        step: number of the step, for the message.
        lr: learning rate of the step, for the message.
        remedy: what to do about a loss that is not finite.

    Raises:
        TrainingError: it is not finite.
    """
    value = float(loss.item())
    if not math.isfinite(value):
        raise TrainingError(f"the loss of step {step} is {value} at a learning rate of {lr:.2g}; {remedy}")
    return value


def check_weights(module: nn.Module, step: int, remedy: str) -> None:
    """Stop where a weight is no longer finite.

    Args:
        module: its parameters and buffers are looked at.
        step: number of the last step, for the message.
        remedy: what to do about it.

    Raises:
        TrainingError: a tensor holds a NaN or an infinity.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(f"{name} holds values that are not finite after step {step}; {remedy}")
