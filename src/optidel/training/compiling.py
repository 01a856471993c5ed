"""Compiling the blocks of a model, where torch has a compiler that works."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from optidel.errors import TrainingError
from optidel.models.weights import first_line
from optidel.training.precision import device

# Torch's own default: it makes C++ for a CPU and Triton for a GPU.
BACKEND: str | Callable[..., Any] = "inductor"


def blocks(module: nn.Module) -> list[nn.Module]:
    """The blocks of the transformers in a module, in order: what stands in its lists.

    >>> [type(block).__name__ for block in blocks(nn.ModuleList([nn.GELU(), nn.ReLU()]))]
    ['GELU', 'ReLU']
    """
    lists = [inner for inner in module.modules() if isinstance(inner, nn.ModuleList)]
    return [block for inner in lists for block in inner]


def compile_blocks(module: nn.Module) -> None:
    """Compile each block in place: its parameters keep their names, and equal blocks share one program.

    Raises:
        TrainingError: no compiler works.
    """
    _check_compiler()
    for block in blocks(module):
        block.compile(backend=BACKEND)


def _check_compiler() -> None:
    """Compile one line, so that a compiler that is missing is told from a fault of a model.

    Raises:
        TrainingError: it cannot be compiled.
    """
    try:
        compiled = torch.compile(_line, backend=BACKEND)
        compiled(torch.ones(2, device=device()))
    except Exception as error:  # a missing program, library or driver fails in its own way each
        reason = first_line(getattr(error, "inner_exception", error))  # torch wraps what happened
        raise TrainingError(
            f"pretrain.compile = true needs a compiler, and none works here ({reason}); install g++, for a "
            "GPU Triton too, or set pretrain.compile = false"
        ) from error


def _line(x: Tensor) -> Tensor:
    return x * 2 + 1
