"""Masked-autoencoder training on a GPU that never waits: one step, captured once, replayed for every trial.

A step of a small ViT is some thousand kernels of a few microseconds: started one by one they take ten times
as long as the arithmetic. ``benchmarks/gpu.py`` therefore captures the whole step as a CUDA graph. What
differs between steps (images, flips, masks, learning rate) is written into fixed buffers before each replay.
"""

import copy
import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # measures the source beside it

from optidel.models.encoders import MEAN, STD
from optidel.models.mae import build_mae, initialise, masked_loss
from optidel.models.presets import Preset
from optidel.training.optimizer import parameter_groups
from optidel.training.schedule import cosine

PEAK_LR = 1.5e-4
"""For a batch of 256; it grows with the batch (He et al. 2022, appendix A.1)."""
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.05
BETAS = (0.9, 0.95)

WARM_STEPS = 3
"""Before a capture, on a stream of its own: libraries choose their kernels and allocate (PyTorch's notes on
CUDA graphs)."""

SMOOTHING = 0.05
"""Weight of the newest step in the running mean of the loss: the last twenty steps or so."""


@functools.cache
def statistics_on(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the channels, copied to the device once: a copy a step would wait for it."""
    mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
    deviation = torch.tensor(STD, device=device).view(1, 3, 1, 1)
    return mean, deviation


def normal(images: Tensor) -> Tensor:
    """u8 to the model's input, float32."""
    mean, deviation = statistics_on(images.device)
    return (images.float() / 255 - mean) / deviation


class Trainer:
    """One model, one optimizer and one step for all trials.

    Attributes: ``model`` the masked autoencoder on the device; ``captured`` whether steps are replayed.
    """

    def __init__(self, preset: Preset, device: torch.device, batch: int, *, capture: bool) -> None:
        """Build the model, the buffers of a step, and capture it where there is a GPU.

        Args:
            preset: sizes of the model.
            device: where it trains.
            batch: images a step.
            capture: replay a CUDA graph; where the capture fails it says so and steps go one by one.
        """
        self.preset = preset
        self.device = device
        self.batch = batch
        self.initial = build_mae(preset, torch.Generator())  # on the CPU, whose generator draws the weights
        self.model: Any = copy.deepcopy(self.initial).to(device)

        side = preset.size
        self.images = torch.zeros(batch, 3, side, side, dtype=torch.uint8, device=device)
        self.flip = torch.zeros(batch, 1, 1, 1, dtype=torch.bool, device=device)
        self.noise = torch.rand(batch, preset.grid**2, device=device)
        self.recent = torch.zeros((), device=device)
        self.rate = torch.zeros((), device=device)
        on_gpu = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, WEIGHT_DECAY),
            lr=self.rate,  # a tensor, so that a replay reads the rate of its step
            betas=BETAS,
            fused=on_gpu,
            foreach=False if not on_gpu else None,
            capturable=on_gpu,
        )
        self.graph = self._capture() if capture and on_gpu else None

    @property
    def captured(self) -> bool:
        """Whether steps are replayed."""
        return self.graph is not None

    def reset(self, seed: int) -> None:
        """The weights that a new model of this seed begins with, and an optimizer that has seen nothing.

        In place: a captured step knows its tensors by their addresses.
        """
        initialise(self.initial, torch.Generator().manual_seed(seed))
        self.model.load_state_dict(self.initial.state_dict())
        self.model.train()
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.recent.zero_()

    def train(self, images: Tensor, rows: np.ndarray, *, steps: int, seed: int) -> float:
        """Pre-train on ``rows`` of ``images``: flips only, so that few images can be exhausted.

        No step waits for the device: rows, flips and masks are drawn there, and the loss is read once at the
        end.

        Returns:
            The running mean of the loss.
        """
        self.reset(seed)
        generator = torch.Generator(self.device).manual_seed(seed)
        pool = torch.from_numpy(rows).to(self.device)
        peak = PEAK_LR * self.batch / 256
        for step in range(steps):
            draw = torch.randint(len(pool), (self.batch,), generator=generator, device=self.device)
            torch.index_select(images, 0, pool[draw], out=self.images)
            self.flip.copy_(torch.rand(self.flip.shape, generator=generator, device=self.device) < 0.5)
            torch.rand(self.noise.shape, generator=generator, device=self.device, out=self.noise)
            self.rate.fill_(cosine(step, steps, peak, WARMUP_SHARE))
            if self.graph is None:
                self._step()
            else:
                self.graph.replay()
        self.model.eval()
        return float(self.recent) / (1 - (1 - SMOOTHING) ** steps)

    def _step(self) -> None:
        """One step from the buffers; nothing in it may ask the device for a value."""
        self.optimizer.zero_grad(set_to_none=True)
        x = normal(self.images)
        x = torch.where(self.flip, x.flip(-1), x)
        # A cast that is kept for later would be read outside the graph.
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            loss = masked_loss(self.model, x, self.noise)
        loss.backward()
        self.optimizer.step()
        self.recent.lerp_(loss.detach().float(), SMOOTHING)

    def _capture(self) -> "torch.cuda.CUDAGraph | None":
        """The step as a graph, or None where something in it cannot be captured."""
        self.model.train()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_STEPS):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._step()
        except RuntimeError as error:
            print(f"the step cannot be captured, so its kernels are started one by one: {error}")
            return None
        return graph
