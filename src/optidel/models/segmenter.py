"""A segmenter that shows the encoder: its last tokens and a small head, no skip from the pixels."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from optidel.models.encoders import Encoder
from optidel.models.mae import initialise

Protocol = Literal["fine-tune", "probe"]

# Channels of the head; a token dimension then has 576 weights.
WIDTH = 64

# Least deviation of a token dimension, so that one that never varies is not blown up.
LEAST_SPREAD = 1e-4


class Segmenter(nn.Module):
    """Standardised tokens, a 3 x 3 and a 1 x 1 convolution on the token grid, bilinear to the image.

    The head reads the last tokens only and works at their resolution, so whatever it finds is in them. Heads
    that also read pixels or early layers lift every encoder alike and hide the difference.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, encoder: Encoder, classes: int, generator: torch.Generator) -> None:
        """Put an untrained head on ``encoder``; ``classes`` counts the background; the head's weights depend
        on ``generator`` alone.
        """
        super().__init__()
        self.encoder = encoder
        self.classes = classes
        around = nn.Conv2d(encoder.dim, WIDTH, 3, padding=1)
        self.head = nn.Sequential(around, nn.GELU(), nn.Conv2d(WIDTH, classes, 1))
        initialise(self.head, generator)
        self.register_buffer("centre", torch.zeros(1, encoder.dim, 1, 1))
        self.register_buffer("spread", torch.ones(1, encoder.dim, 1, 1))

    @torch.no_grad()
    def standardise(self, tokens: Float[Tensor, "n d g g"]) -> None:
        """Scale every token dimension to mean 0 and deviation 1 over ``tokens``: encoders differ in scale,
        one learning rate serves all.
        """
        over = (0, 2, 3)
        centre = tokens.mean(over, keepdim=True)
        spread = tokens.std(over, keepdim=True)
        self.centre.copy_(centre)
        self.spread.copy_(spread.clamp(min=LEAST_SPREAD))

    def decode(self, tokens: Float[Tensor, "n d g g"]) -> Float[Tensor, "n k s s"]:
        """Tokens to float32 logits of k classes at the image's size."""
        standardised = (tokens - self.centre) / self.spread
        coarse = self.head(standardised)
        size = (self.encoder.size, self.encoder.size)
        return F.interpolate(coarse.float(), size=size, mode="bilinear", align_corners=False)

    def forward(self, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n k s s"]:
        """Normalised images to logits."""
        tokens = self.encoder.tokens(x)
        return self.decode(tokens)
