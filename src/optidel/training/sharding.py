"""Weights, gradients and optimizer state in shares, one a process (FSDP), for what no GPU can hold whole.

Source: Zhao et al., VLDB 2023, arXiv 2304.11277.
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from optidel.errors import TrainingError
from optidel.training.compiling import blocks

# Where torch keeps what is used of it: from 2.6 (tensors from 2.5), and before.
SHARDING_HOMES = ("torch.distributed.fsdp", "torch.distributed._composable.fsdp")
TENSOR_HOMES = ("torch.distributed.tensor", "torch.distributed._tensor")


def shard(step: nn.Module, module: nn.Module) -> None:
    """Leave each process its share of every parameter, in place; names stay.

    A block is brought together when it computes, and let go afterwards; what lies outside the blocks is
    together from the first to the last of a step.

    Args:
        step: what is called; it holds ``module``.
        module: whose blocks are brought together one by one.

    Raises:
        TrainingError: this torch cannot.
    """
    fully_shard = _from_torch("fully_shard", SHARDING_HOMES)
    for block in blocks(module):
        fully_shard(block)
    fully_shard(step)


def whole(content: Any) -> Any:
    """Values, nested in tables and lists, with every shared tensor whole and on the CPU.

    All processes call it, for the same values in the same order.
    """
    if isinstance(content, dict):
        return {key: whole(value) for key, value in content.items()}
    if isinstance(content, list):
        return [whole(value) for value in content]
    if hasattr(content, "full_tensor"):
        return content.full_tensor().cpu()
    return content


def shared_state(content: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer of whole parameters, shared as those of ``optimizer`` are.

    Args:
        content: ``state_dict`` of the one.
        optimizer: the other, of the same parameters in the same groups.

    Raises:
        TrainingError: this torch cannot.
    """
    distribute = _from_torch("distribute_tensor", TENSOR_HOMES)
    parameters: list[Any] = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def share(value: Any, parameter: Any) -> Any:
        # The number of steps is no tensor of the parameter's shape, and whole everywhere.
        if not isinstance(value, Tensor) or value.shape != parameter.shape:
            return value
        placed = value.to(parameter.device)
        return distribute(placed, parameter.device_mesh, parameter.placements)

    state = {
        number: {key: share(value, parameters[number]) for key, value in values.items()}
        for number, values in content["state"].items()
    }
    return {**content, "state": state}


def _from_torch(name: str, homes: tuple[str, ...]) -> Any:
    """A function of torch that has moved.

    Raises:
        TrainingError: it lies in none of its homes.
    """
    for home in homes:
        try:
            return getattr(import_module(home), name)
        except (ImportError, AttributeError):
            continue
    raise TrainingError(
        f'pretrain.sharding = "full" needs torch 2.4 or newer, and this is {torch.__version__}; update '
        'torch, or set pretrain.sharding = "none"'
    )
