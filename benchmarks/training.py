"""The MAE step of a pre-training against a bare torch loop on the same batches, in one run, by turns.

The bare loop has what the step is for and nothing else: transformers' own forward pass, its loss, the
backward pass and AdamW, on views and masks that are ready in memory. What OptiDEL adds is reading, the order,
crops, flips, masks and the log.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from optidel.arrays import Images
from optidel.models.mae import build_mae, masked_loss
from optidel.models.presets import PRESETS, Preset
from optidel.training import objectives
from optidel.training.optimizer import parameter_groups
from optidel.training.options import PretrainOptions
from optidel.training.precision import autocast, device
from optidel.training.pretrain import BETAS, pretrain
from optidel.training.schedule import cosine

# Images of the corpus, drawn at random: what they show costs nothing.
IMAGES = 1024

# Steps before the clock starts: threads, kernels and the allocator have to settle. A round number.
WARM = 10

# Losses of both loops agree so far at first: they train the same model on the same batches.
ALIKE = 1e-2

SEED = 0

# What masked_loss is given: views and noise of one step.
Batch = tuple[Tensor, Tensor]


def pretraining(images: Images, preset: Preset, options: PretrainOptions) -> tuple[float, list[float]]:
    """Seconds of the steps after the first :data:`WARM`, and all losses."""
    clock: dict[int, float] = {}

    def reached(step: int, model: object) -> None:
        clock[step] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        _, log = pretrain(images, None, preset, options, seed=SEED, checkpoint=checkpoint, reached=reached)
    return clock[options.steps] - clock[WARM], log["loss"].to_list()


def record(images: Images, preset: Preset, options: PretrainOptions) -> list[Batch]:
    """What the model is shown in each step."""
    batches: list[Batch] = []

    def recorded(model: object, x: Tensor, noise: Tensor) -> Tensor:
        batches.append((x.detach().clone(), noise.clone()))
        return masked_loss(model, x, noise)

    with patch.object(objectives, "masked_loss", recorded):
        pretraining(images, preset, options)
    return batches


def bare(batches: list[Batch], preset: Preset, options: PretrainOptions) -> tuple[float, list[float]]:
    """Seconds of the steps after the first :data:`WARM`, and all losses, of a loop without OptiDEL."""
    model = build_mae(preset, torch.Generator().manual_seed(SEED)).to(device()).train()
    groups = parameter_groups(model, options.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=BETAS)

    losses: list[Tensor] = []
    started = time.perf_counter()
    for step, (x, noise) in enumerate(batches):
        if step == WARM:
            losses[-1].item()  # a GPU has caught up
            started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, options.steps, options.lr, options.warmup)
        with autocast(device()):
            loss = model(pixel_values=x, noise=noise).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
    values = torch.stack(losses).tolist()
    return time.perf_counter() - started, values


def compare(preset: str, batch: int, steps: int, rounds: int) -> dict[str, float | int | str]:
    """Images a second of both loops, and the median ratio of the turns.

    Raises:
        RuntimeError: the loops do not train alike, so that their times could not be compared.
    """
    sizes = PRESETS[preset]
    shape = (IMAGES, sizes.size, sizes.size, 3)
    images: Images = np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)
    last = WARM + steps
    options = PretrainOptions(steps=last, batch=batch, at=(WARM, last), checkpoint_every=last)
    batches = record(images, sizes, options)

    turns = []
    for _ in range(rounds):
        with_optidel, losses = pretraining(images, sizes, options)
        without, expected = bare(batches, sizes, options)
        if not np.allclose(losses[:WARM], expected[:WARM], rtol=ALIKE):
            raise RuntimeError(f"the loops differ: {losses[:WARM]} and {expected[:WARM]}")
        turns.append((with_optidel, without))

    shown = batch * steps
    return {
        "preset": preset,
        "batch": batch,
        "steps": steps,
        "rounds": rounds,
        "optidel_images_per_second": shown / statistics.median(turn[0] for turn in turns),
        "bare_images_per_second": shown / statistics.median(turn[1] for turn in turns),
        "optidel_to_bare": statistics.median(turn[1] / turn[0] for turn in turns),
    }


def main() -> None:
    """Compare, and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="timed in each turn, after the first ten")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each loop")
    parser.add_argument("--out", type=Path, help="write the figures there too")
    options = parser.parse_args()

    figures = compare(options.preset, options.batch, options.steps, options.rounds)
    machine = {"device": device().type, "threads": torch.get_num_threads(), "torch": torch.__version__}
    text = json.dumps({**figures, **machine}, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
