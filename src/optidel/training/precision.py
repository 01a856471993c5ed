"""The device, and whether its bfloat16 is fast: all that the loops know of hardware."""

from contextlib import AbstractContextManager, nullcontext

import torch


def device() -> torch.device:
    """The first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(where: torch.device) -> bool:
    """Whether bfloat16 arithmetic is in hardware; emulation would be slower than float32."""
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch names these probes differently from version to version; one that is absent answers no.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def autocast(where: torch.device) -> AbstractContextManager[object]:
    """Mixed precision where it pays, else nothing."""
    return torch.autocast(where.type, torch.bfloat16) if has_bf16(where) else nullcontext()


def input_dtype(where: torch.device) -> torch.dtype:
    """The type in which a batch enters a pre-training under :func:`autocast`."""
    return torch.bfloat16 if has_bf16(where) else torch.float32
