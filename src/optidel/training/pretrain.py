"""Pre-training: one visible loop for every objective, resumable to the same weights."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from optidel.arrays import ImageRows, Images, Indices
from optidel.errors import RecipeError
from optidel.models.encoders import normalise
from optidel.models.presets import Preset
from optidel.models.shares import Share
from optidel.models.tiles import coarse
from optidel.models.weights import first_line
from optidel.progress import bar, say
from optidel.recipe import UNEVEN, check_parts, check_shares
from optidel.training.ahead import ahead
from optidel.training.compiling import compile_blocks
from optidel.training.dealing import (
    Frequencies,
    alone_share,
    batch_rows,
    deal,
    weighted_rows,
    whole_share,
)
from optidel.training.loggers import EVERY
from optidel.training.objectives import OBJECTIVES, objective_named
from optidel.training.optimizer import check_weights, finite_loss, layer_groups, parameter_groups
from optidel.training.options import PretrainOptions
from optidel.training.precision import autocast, device, input_dtype
from optidel.training.ranks import ALONE, Ranks
from optidel.training.schedule import cosine
from optidel.training.sharding import shard, shared_state, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["PretrainOptions", "batch_rows", "pretrain"]

# AdamW's, as MAE is trained (arXiv 2111.06377, table 8).
BETAS = (0.9, 0.95)

REMEDY = "lower pretrain.lr, or raise pretrain.batch"


class _Step(nn.Module):
    """The loss of a batch as a forward pass: what is wrapped where several processes train."""

    def __init__(self, module: nn.Module, options: PretrainOptions) -> None:
        super().__init__()
        self.module = module
        self.options = options

    def forward(self, x: Tensor, generator: torch.Generator, share: Share) -> Tensor:
        objective = objective_named(self.options.objective)
        with autocast(device()):
            return objective.loss(self.module, x, self.options, generator, share).float()


@dataclass(slots=True)
class _State:
    """All that changes from step to step; a checkpoint holds it whole.

    ``step`` computes the loss of ``module``. ``pending`` are losses that are not on this side yet: bringing
    each over at once would let the device wait. ``unshared``: where each process holds but a share of the
    module, a copy on the CPU that is whole and that :func:`_whole_module` brings up to date.
    """

    module: nn.Module
    step: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    losses: list[float]
    pending: list[Tensor] = field(default_factory=list)
    unshared: nn.Module | None = None

    @property
    def finished(self) -> int:
        """Number of finished steps."""
        return len(self.losses) + len(self.pending)


def pretrain(
    images: ImageRows,
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
    ranks: Ranks = ALONE,
) -> tuple["PreTrainedModel", pl.DataFrame]:
    """Train from scratch, or go on from ``checkpoint``.

    Args:
        images: u8 (n, s, s, 3), may be memory-mapped or decoded when asked for.
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
        ranks: who trains together; each of them calls this function with the same arguments, and the first
            alone saves and calls back. The batch is that of all.

    Returns:
        The trained model, and its log: step, loss, lr.

    Raises:
        RecipeError: no such objective, or one that cannot train on tiles or in parts; tiles or a sample that
            are to be shown unevenly; a batch that is not shared evenly.
        TrainingError: a loss or a weight is not finite, or a process sees another checkpoint than the first.
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
    parts = options.execution.accumulate
    check_parts(options.objective, parts, objective.in_parts)
    check_shares(options.batch, ranks.count, parts)
    training_set = drawn(len(images), rows, options, seed)
    order = _Order(options=options, training_set=training_set, seed=seed, frequencies=frequencies)
    shares = [ranks.share(options.batch, part=part, parts=parts, whole=order.single) for part in range(parts)]
    if order.single and ranks.count > 1 and options.execution.sharding == "full":
        raise RecipeError(UNEVEN)
    state = _resumed(checkpoint, preset, options, seed)
    ranks.check_alike(state.finished, "number of finished steps")
    _wrap(state, options, ranks)

    def read(step: int) -> list[Images]:
        return [shown(step, share) for share in shares]

    def shown(step: int, share: Share) -> Images:
        return order.coarsened(np.asarray(images[order.images(step, share)]), share)

    first = state.finished
    with bar("pretrain", options.steps, first) as advance:
        for step, pixels in enumerate(ahead(read, range(first, options.steps)), first):
            lr = cosine(step, options.steps, options.lr, options.warmup)
            _train(state, pixels, shares, lr)
            if objective.after_step:
                objective.after_step(state.module, step, options.steps)

            finished = step + 1
            is_logged = step % EVERY == 0 or finished == options.steps
            is_saved = finished % options.checkpoint_every == 0 and finished < options.steps
            is_reached = finished in options.at
            if is_logged or is_saved or is_reached:
                _bring_losses(state, options, ranks)
            advance(note=f"loss {state.losses[-1]:.3f}")

            if logged and is_logged and ranks.leads:
                logged(step, {"loss": state.losses[-1], "lr": lr})
            if is_reached:
                module = _whole_module(state)
                if reached and ranks.leads:
                    reached(finished, objective.kept(module))
            if is_saved:
                content = _content(state, step)
                if ranks.leads:
                    _save(checkpoint, content)
                if saved and ranks.leads:
                    saved()

    module = _whole_module(state)
    check_weights(module, options.steps - 1, REMEDY)
    steps = list(range(options.steps))
    rates = [cosine(step, options.steps, options.lr, options.warmup) for step in steps]
    log = pl.DataFrame({"step": steps, "loss": state.losses, "lr": rates})
    encoder = objective.kept(module)
    if options.execution.compile:
        encoder = copy.deepcopy(encoder)  # a copy is not compiled
    return encoder.eval().cpu(), log


def _train(state: _State, pixels: Sequence[Images], shares: Sequence[Share], lr: float) -> None:
    """One step of the optimizer, over all parts of this process's share of a batch."""
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group.get("scale", 1.0)

    # Each part draws what the whole batch draws, and cuts its own.
    drawn = state.generator.get_state()
    losses = []
    for part, (images, share) in enumerate(zip(pixels, shares, strict=True)):
        state.generator.set_state(drawn)
        x = normalise(images, device()).to(input_dtype(device()))
        with _exchange(state.step, last=part == len(shares) - 1):
            loss = state.step(x, state.generator, share) / len(shares)
            torch.autograd.backward(loss)
        losses.append(loss.detach())
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.pending.append(torch.stack(losses).sum())


def _exchange(step: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Gradients are averaged over the processes once a step, after its last part."""
    if last or not isinstance(step, DistributedDataParallel):
        return nullcontext()
    return step.no_sync()


def _bring_losses(state: _State, options: PretrainOptions, ranks: Ranks) -> None:
    """Bring the losses of the last steps over, in one go.

    Raises:
        TrainingError: one is not finite.
    """
    losses = ranks.mean(torch.stack(state.pending)).cpu()
    state.pending.clear()
    for loss in losses:
        step = len(state.losses)
        lr = cosine(step, options.steps, options.lr, options.warmup)
        state.losses.append(finite_loss(loss, step, lr, REMEDY))


def _wrap(state: _State, options: PretrainOptions, ranks: Ranks) -> None:
    """Compile where that is asked for, and let the gradients of all processes be averaged."""
    state.step.train()
    if options.execution.compile:
        compile_blocks(state.module)
    if ranks.count == 1:
        return
    if options.execution.sharding == "full":
        _share_out(state, options)
        return
    # Some weights from outside hold a token that is not trained, and a share may hold no tile.
    some_unused = options.weights is not None or options.tiles > 1
    state.step = DistributedDataParallel(state.step, find_unused_parameters=some_unused)


def _share_out(state: _State, options: PretrainOptions) -> None:
    """Leave this process its share of the weights and of the optimizer's state."""
    content = state.optimizer.state_dict()
    state.unshared = copy.deepcopy(state.module).cpu()
    shard(state.step, state.module)
    state.optimizer = _optimizer(state.module, options)
    state.optimizer.load_state_dict(shared_state(content, state.optimizer))


def _whole_module(state: _State) -> nn.Module:
    """The module with all its weights; where they are shared, every process calls this."""
    if state.unshared is None:
        return state.module
    state.unshared.load_state_dict(whole(state.module.state_dict()))
    return state.unshared


def drawn(count: int, rows: Indices | None, options: PretrainOptions, seed: int) -> Indices:
    """The rows of ``count`` images that are trained on: those given, or a sample of them."""
    selection = np.arange(count) if rows is None else rows
    # Drawn from the seed alone: a resumed run draws the same.
    if options.sample is None or options.sample >= len(selection):
        return selection
    return np.random.default_rng(seed).choice(selection, options.sample, replace=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """Which images of a training set are shown in which step."""

    options: PretrainOptions
    training_set: Indices
    seed: int
    frequencies: Frequencies | None

    @property
    def whole(self) -> int:
        """Images of each batch that are shown as they are beside composites."""
        options = self.options
        if options.tiles == 1:
            return 0
        return whole_share(options.batch, len(self.training_set), options.tiles, options.whole)

    @property
    def alone(self) -> int:
        """Tiles of each batch that fill an image each."""
        options = self.options
        return 0 if options.tiles == 1 else alone_share(options.batch - self.whole, options.alone)

    @property
    def single(self) -> int:
        """Images of each batch that are no composites."""
        return self.alone + self.whole

    def coarsened(self, shown: Images, share: Share) -> Images:
        """What :meth:`images` gave, the tiles that are alone at the resolution that a grid leaves them."""
        if self.alone == 0:
            return shown
        first = len(share.composites) * self.options.tiles
        last = first + len(share.originals.within(0, self.alone))
        shown = shown.copy()
        shown[first:last] = coarse(shown[first:last], math.isqrt(self.options.tiles))
        return shown

    def images(self, step: int, share: Share) -> Indices:
        """The images that a share of a step shows; of composites, all tiles and then what is no composite."""
        options, count = self.options, len(self.training_set)
        if options.tiles > 1:
            hand = deal(
                step,
                options.batch,
                count,
                tiles=options.tiles,
                whole=options.whole,
                alone=options.alone,
                seed=self.seed,
            )
            tiles = hand.tiles[share.composites.of_tiles(options.tiles).rows]
            dealt: Indices = self.training_set[np.concatenate([tiles, hand.single[share.originals.rows]])]
            return dealt

        if self.frequencies is not None:
            rows = weighted_rows(step, options.batch, self.frequencies, self.seed)
        else:
            rows = batch_rows(step, options.batch, count, self.seed)
        # A memory map is read fastest in order.
        shown: Indices = np.sort(self.training_set[rows])[share.rows]
        return shown


def _fresh(preset: Preset, options: PretrainOptions, seed: int) -> _State:
    """Untrained weights and an optimizer that has taken no step."""
    generator = torch.Generator().manual_seed(seed)
    objective = objective_named(options.objective)
    module = objective.build(preset, options, generator).to(device())
    optimizer = _optimizer(module, options)
    step = _Step(module, options)
    return _State(module=module, step=step, optimizer=optimizer, generator=generator, losses=[])


def _optimizer(module: nn.Module, options: PretrainOptions) -> torch.optim.Optimizer:
    """AdamW that has taken no step."""
    groups = parameter_groups(module, options.weight_decay)
    if options.layer_decay != 1.0:
        groups = layer_groups(module, options.weight_decay, options.layer_decay)
    return torch.optim.AdamW(groups, lr=options.lr, betas=BETAS)


def _content(state: _State, step: int) -> dict[str, Any]:
    """What a checkpoint after a step holds, the same however many processes train; all of them call this.

    Raises:
        TrainingError: a weight is not finite.
    """
    module = _whole_module(state)
    check_weights(module, step, REMEDY)
    optimizer = state.optimizer.state_dict()
    return {
        "model": module.state_dict(),
        "optimizer": optimizer if state.unshared is None else whole(optimizer),
        "random": state.generator.get_state(),
        "losses": state.losses,
    }


def _save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
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
