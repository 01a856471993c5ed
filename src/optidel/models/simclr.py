"""SimCLR on the same encoder (Chen et al., ICML 2020, arXiv 2002.05709)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from optidel.models.encoders import Encoder

TEMPERATURE = 0.2


def nt_xent(
    first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], temperature: float = TEMPERATURE
) -> Tensor:
    """Normalised temperature-scaled cross entropy over both directions, nats (arXiv 2002.05709, equation 1).

    Args:
        first, second: projections of two views; row i of both comes from image i.
        temperature: divides the cosine similarities.
    """
    z = F.normalize(torch.cat([first, second]).float(), dim=1)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    count = len(first)
    other = torch.arange(2 * count, device=z.device).roll(count)
    return F.cross_entropy(similarity, other)


class SimCLR(nn.Module):
    """An encoder and its two-layer projection head."""

    def __init__(self, encoder: Encoder, generator: torch.Generator, projection: int = 128) -> None:
        """Initialise the head from ``generator``."""
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(encoder.dim, encoder.dim), nn.ReLU(), nn.Linear(encoder.dim, projection)
        )
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, first: Float[Tensor, "n 3 s s"], second: Float[Tensor, "n 3 s s"]) -> Tensor:
        """The loss of two normalised views."""
        z = self.head(self.encoder(torch.cat([first, second])))
        return nt_xent(z[: len(first)], z[len(first) :])
