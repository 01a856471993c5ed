"""Pre-training: one visible loop for MAE and SimCLR, resumable to the same weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn
from transformers import PreTrainedModel

from optidel.arrays import Images, Indices
from optidel.models.encoders import Encoder, normalise
from optidel.models.mae import build_mae, masked_loss
from optidel.models.presets import Preset
from optidel.models.simclr import SimCLR
from optidel.progress import bar
from optidel.training.precision import device, has_bf16
from optidel.training.schedule import cosine
from optidel.training.views import colour_jitter, crop_and_flip

Objective = Literal["mae", "simclr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainOptions:
    """``steps`` optimizer steps of ``batch`` images; peak learning rate ``lr`` after a ``warmup`` fraction;
    AdamW (0.9, 0.95).

    ``sample``: train on at most this many images, drawn once; None for all.
    """

    objective: Objective = "mae"
    steps: int = 800
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    checkpoint_every: int = 100
    sample: int | None = None


class Pretraining(nn.Module):
    """What is trained, and ``kept``, the Hugging Face model that is saved; ``forward`` is the loss."""

    def __init__(self, preset: Preset, objective: Objective, generator: torch.Generator) -> None:
        """Build untrained weights from ``generator``."""
        super().__init__()
        mae = build_mae(preset, generator)
        self.patches = preset.grid**2
        self.is_mae = objective == "mae"
        self.kept: PreTrainedModel = mae if self.is_mae else mae.vit
        self.model: Any = mae if self.is_mae else SimCLR(Encoder(mae.vit, preset.size), generator)

    def forward(self, x: Float[Tensor, "n 3 s s"], generator: torch.Generator) -> Tensor:
        """The loss of a normalised batch under views and masks drawn from ``generator`` (a CPU generator)."""
        if self.is_mae:
            noise = torch.rand(len(x), self.patches, generator=generator).to(x.device)
            return masked_loss(self.model, crop_and_flip(x, generator), noise)
        first, second = (colour_jitter(crop_and_flip(x, generator), generator) for _ in range(2))
        loss: Tensor = self.model(first, second)
        return loss


def batch_rows(step: int, batch: int, count: int, seed: int) -> Indices:
    """Rows of one step: the set reshuffled every epoch, epochs joined end to end. A function of the step: a
    resume replays nothing.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    order = {
        epoch: np.random.default_rng([seed, epoch]).permutation(count)
        for epoch in np.unique(positions // count)
    }
    return np.array([order[position // count][position % count] for position in positions], dtype=np.int64)


def pretrain(
    images: Images,
    rows: Indices | None,
    preset: Preset,
    options: PretrainOptions,
    *,
    seed: int,
    checkpoint: Path,
    saved: Callable[[], object] | None = None,
) -> tuple[PreTrainedModel, pl.DataFrame]:
    """Train from scratch, or go on from ``checkpoint``.

    Args:
        images: u8 (n, s, s, 3), may be memory-mapped.
        rows: int64 (m,), the images to train on; None for all.
        seed: initial weights, order, views and masks all follow from it.
        checkpoint: file that holds weights, optimizer, step and random state; read where it exists.
        saved: called after each checkpoint.

    Returns:
        The trained model, and its log: step, loss, lr.
    """
    fabric = Fabric(
        accelerator=device().type, devices=1, precision="bf16-mixed" if has_bf16(device()) else "32-true"
    )
    generator = torch.Generator().manual_seed(seed)
    module = Pretraining(preset, options.objective, generator)
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in weights if parameter.ndim > 1]
    plain = [parameter for parameter in weights if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=options.lr,
        betas=(0.9, 0.95),
    )
    wrapped, optimizer = fabric.setup(module, optimizer)
    chosen = np.arange(len(images)) if rows is None else rows
    if options.sample is not None and options.sample < len(chosen):
        chosen = np.random.default_rng(seed).choice(chosen, options.sample, replace=False)
    first, losses = _resume(checkpoint, wrapped, optimizer, generator)
    wrapped.train()
    with bar("pretrain", options.steps, first) as advance:
        for step in range(first, options.steps):
            lr = cosine(step, options.steps, options.lr, options.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            x = normalise(
                images[np.sort(chosen[batch_rows(step, options.batch, len(chosen), seed)])], fabric.device
            )
            loss = wrapped(x, generator)
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
            advance(note=f"loss {losses[-1]:.3f}")
            if (step + 1) % options.checkpoint_every == 0 and step + 1 < options.steps:
                _save(checkpoint, wrapped, optimizer, generator, losses)
                if saved:
                    saved()
    rates = [cosine(step, options.steps, options.lr, options.warmup) for step in range(options.steps)]
    log = pl.DataFrame({"step": list(range(options.steps)), "loss": losses, "lr": rates})
    return module.kept.eval().cpu(), log


def _save(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    losses: list[float],
) -> None:
    state = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": generator.get_state(),
        "losses": losses,
    }
    scratch = path.with_name(f".tmp-{path.name}")
    torch.save(state, scratch)
    scratch.replace(path)


def _resume(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> tuple[int, list[float]]:
    """The step to go on with, and the losses so far."""
    if not path.exists():
        return 0, []
    state = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["random"])
    return len(state["losses"]), list(state["losses"])
