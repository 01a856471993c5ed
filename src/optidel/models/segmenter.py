"""A segmenter that shows the encoder: its last tokens and a small head, no skip from the pixels."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from optidel.models.encoders import Encoder
from optidel.models.mae import initialise

Protocol = Literal["fine-tune", "probe"]
WIDTH = 64


class Segmenter(nn.Module):
    """Standardised tokens, a 3 x 3 and a 1 x 1 convolution on the token grid, bilinear to the image.

    The head sees the last tokens only and works at their resolution, so what it finds must be in them; heads
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
        self.head = nn.Sequential(
            nn.Conv2d(encoder.dim, WIDTH, 3, padding=1), nn.GELU(), nn.Conv2d(WIDTH, classes, 1)
        )
        initialise(self.head, generator)
        self.register_buffer("centre", torch.zeros(1, encoder.dim, 1, 1))
        self.register_buffer("spread", torch.ones(1, encoder.dim, 1, 1))

    @torch.no_grad()
    def standardise(self, tokens: Float[Tensor, "n d g g"]) -> None:
        """Scale every token dimension to mean 0 and deviation 1 over ``tokens``: encoders differ in scale,
        one learning rate serves all.
        """
        self.centre.copy_(tokens.mean((0, 2, 3), keepdim=True))
        self.spread.copy_(tokens.std((0, 2, 3), keepdim=True).clamp(min=1e-4))

    def decode(self, tokens: Float[Tensor, "n d g g"]) -> Float[Tensor, "n k s s"]:
        """Tokens to float32 logits of k classes at the image's size."""
        coarse = self.head((tokens - self.centre) / self.spread)
        size = (self.encoder.size, self.encoder.size)
        return F.interpolate(coarse.float(), size=size, mode="bilinear", align_corners=False)

    def forward(self, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n k s s"]:
        """Normalised images to logits."""
        return self.decode(self.encoder.tokens(x))
