"""What both training loops need beside a model: groups of parameters, and a stop where numbers run away."""

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from optidel.errors import TrainingError

# Where the number of a block stands in the names of transformers' encoders.
BLOCK = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


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


def layer_groups(module: nn.Module, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Groups as in :func:`parameter_groups`, split by depth: lower blocks of the encoder learn more slowly.

    Args:
        module: holds an encoder whose blocks are numbered in the names of its parameters.
        weight_decay: of the matrices.
        layer_decay: factor from one block to the block below it; the embeddings lie below the first block.

    Returns:
        Each with ``params``, ``weight_decay`` and ``scale``, the factor of its learning rate.

    Source: Clark et al., ICLR 2020 (arXiv 2003.10555), as MAE fine-tunes (arXiv 2111.06377, table 9).
    """
    levels = {name: _level(name) for name, _ in module.named_parameters()}
    top = max(level for level in levels.values() if level is not None) + 1

    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        level = levels[name]
        scale = 1.0 if level is None else layer_decay ** (top - level)
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "scale": scale}
        for (scale, decay), parameters in groups.items()
    ]


def _level(name: str) -> int | None:
    """Height of a parameter in the encoder: 0 embeddings, 1 the first block; None above the blocks."""
    if name.startswith(("decoder.", "head.")):
        return None
    block = BLOCK.search(name)
    if block:
        return int(block.group(1)) + 1
    return 0 if "embeddings." in name else None


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
