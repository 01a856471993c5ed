"""Pre-training: one visible loop for every objective, resumable to the same weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import nn

from optidel.arrays import Images, Indices
from optidel.errors import RecipeError
from optidel.models.encoders import normalise
from optidel.models.presets import Preset
from optidel.models.weights import first_line
from optidel.progress import bar, say
from optidel.training.dealing import Frequencies, batch_rows, deal, weighted_rows
from optidel.training.loggers import EVERY
from optidel.training.objectives import OBJECTIVES, objective_named
from optidel.training.optimizer import check_weights, finite_loss, layer_groups, parameter_groups
from optidel.training.options import PretrainOptions
from optidel.training.precision import autocast, device, input_dtype
from optidel.training.schedule import cosine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["PretrainOptions", "batch_rows", "pretrain"]

# AdamW's, as MAE is trained (arXiv 2111.06377, table 8).
BETAS = (0.9, 0.95)

REMEDY = "lower pretrain.lr, or raise pretrain.batch"


@dataclass(slots=True)
class _State:
    """All that changes from step to step; a checkpoint holds it whole."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    losses: list[float]


def pretrain(
    images: Images,
    rows: Indices | None,
    preset: Preset,
    options: PretrainOptions,
    *,
    seed: int,
    checkpoint: Path,
    frequencies: Frequencies | None = None,
    saved: Callable[[], object] | None = None,
    reached: Callable[[int, "PreTrainedModel"], object] | None = None,
    logged: Callable[[int, Mapping[str, float]], object] | None = None,
) -> tuple["PreTrainedModel", pl.DataFrame]:
    """Train from scratch, or go on from ``checkpoint``.

    Args:
        images: u8 (n, s, s, 3), may be memory-mapped.
        rows: int64 (m,), the images to train on; None for all.
        preset: sizes of the model.
        options: objective, steps, views and so on.
        seed: initial weights, order, views and masks all follow from it.
        checkpoint: file that holds weights, optimizer, losses and random state; read where it exists. One
            that cannot be read is said and replaced.
        frequencies: how often each of ``rows`` is shown; None for evenly. The rows of a step follow from
            these, ``seed`` and the step alone.
        saved: called after each checkpoint.
        reached: called with the number of finished steps, and the model as it then is, after each step of
            ``options.at``; again for the same step where a killed run goes on from before it.
        logged: called with a step, counted from 0, and its loss and learning rate, now and then and at the
            last; again for the same step where a killed run goes on from before it.

    Returns:
        The trained model, and its log: step, loss, lr.

    Raises:
        RecipeError: no such objective, or one that cannot train on tiles; tiles or a sample that are to be
            shown unevenly.
        TrainingError: a loss or a weight is not finite.
    """
    objective = objective_named(options.objective)
    if options.tiles > 1 and not objective.deals:
        names = ", ".join(name for name, entry in OBJECTIVES.items() if entry.deals)
        raise RecipeError(
            f"the objective {options.objective!r} cannot train on tiles that are dealt anew; use {names}, or "
            'optidel.compose = "frozen"'
        )
    if frequencies is not None and (options.tiles > 1 or options.sample is not None):
        raise RecipeError(
            f"pretrain.sampling = {options.sampling!r} shows whole images; it cannot be used with tiles that "
            'are dealt anew or with a sample; use pretrain.sampling = "uniform"'
        )
    training_set = _training_set(len(images), rows, options, seed)
    state = _resumed(checkpoint, preset, options, seed)
    state.module.train()

    first = len(state.losses)
    with bar("pretrain", options.steps, first) as advance:
        for step in range(first, options.steps):
            lr = cosine(step, options.steps, options.lr, options.warmup)
            for group in state.optimizer.param_groups:
                group["lr"] = lr * group.get("scale", 1.0)

            rows_of_step = _rows_of_step(step, options, len(training_set), seed, frequencies)
            batch = training_set[rows_of_step]
            if options.tiles == 1:
                batch = np.sort(batch)  # a memory map is read fastest in order; tiles have theirs
            x = normalise(images[batch], device()).to(input_dtype(device()))
            with autocast(device()):
                loss = objective.loss(state.module, x, options, state.generator).float()
            state.losses.append(finite_loss(loss, step, lr, REMEDY))

            torch.autograd.backward(loss)
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            if objective.after_step:
                objective.after_step(state.module, step, options.steps)
            advance(note=f"loss {state.losses[-1]:.3f}")

            finished = step + 1
            if logged and (step % EVERY == 0 or finished == options.steps):
                logged(step, {"loss": state.losses[-1], "lr": lr})
            if reached and finished in options.at:
                reached(finished, objective.kept(state.module))
            if finished % options.checkpoint_every == 0 and finished < options.steps:
                check_weights(state.module, step, REMEDY)
                _save(checkpoint, state)
                if saved:
                    saved()

    check_weights(state.module, options.steps - 1, REMEDY)
    steps = list(range(options.steps))
    rates = [cosine(step, options.steps, options.lr, options.warmup) for step in steps]
    log = pl.DataFrame({"step": steps, "loss": state.losses, "lr": rates})
    encoder = objective.kept(state.module)
    return encoder.eval().cpu(), log


def _training_set(count: int, rows: Indices | None, options: PretrainOptions, seed: int) -> Indices:
    """The rows to train on: those given, or a sample of them."""
    selection = np.arange(count) if rows is None else rows
    # Drawn from the seed alone: a resumed run draws the same.
    if options.sample is None or options.sample >= len(selection):
        return selection
    return np.random.default_rng(seed).choice(selection, options.sample, replace=False)


def _rows_of_step(
    step: int, options: PretrainOptions, count: int, seed: int, frequencies: Frequencies | None
) -> Indices:
    """Positions in the training set of the images of a step."""
    if frequencies is not None:
        return weighted_rows(step, options.batch, frequencies, seed)
    if options.tiles == 1:
        return batch_rows(step, options.batch, count, seed)
    hand = deal(step, options.batch, count, tiles=options.tiles, whole=options.whole, seed=seed)
    return hand.rows


def _fresh(preset: Preset, options: PretrainOptions, seed: int) -> _State:
    """Untrained weights and an optimizer that has taken no step."""
    generator = torch.Generator().manual_seed(seed)
    objective = objective_named(options.objective)
    module = objective.build(preset, options, generator).to(device())
    groups = parameter_groups(module, options.weight_decay)
    if options.layer_decay != 1.0:
        groups = layer_groups(module, options.weight_decay, options.layer_decay)
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=BETAS)
    return _State(module=module, optimizer=optimizer, generator=generator, losses=[])


def _save(path: Path, state: _State) -> None:
    """Write a checkpoint whole or not at all."""
    content = {
        "model": state.module.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "random": state.generator.get_state(),
        "losses": state.losses,
    }
    # A kill between the two lines leaves the checkpoint before it in place.
    scratch = path.with_name(f".tmp-{path.name}")
    torch.save(content, scratch)
    scratch.replace(path)


def _resumed(path: Path, preset: Preset, options: PretrainOptions, seed: int) -> _State:
    """The state to go on with: the checkpoint's, or a fresh one where there is none that can be read."""
    state = _fresh(preset, options, seed)
    if not path.exists():
        return state
    try:
        _restore(state, torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a torn file fails in the zip reader, the unpickler or the model alike
        say(
            f"pretrain: the checkpoint {path.name} of a killed run cannot be used ({first_line(error)}); "
            "starting again"
        )
        return _fresh(preset, options, seed)
    return state


def _restore(state: _State, content: Any) -> None:
    state.module.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.generator.set_state(content["random"])
    state.losses = [float(loss) for loss in content["losses"]]
    check_weights(state.module, len(state.losses) - 1, REMEDY)
