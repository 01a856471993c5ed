"""SimCLR on the same encoder (Chen et al., ICML 2020, arXiv 2002.05709)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from optidel.models.encoders import Encoder

# Of the softmax over candidates: between 0.1 and 0.5, the best two in the paper's table 5, and MoCo v2's
# (arXiv 2003.04297).
TEMPERATURE = 0.2

# Dimensions in which views are compared (arXiv 2002.05709, section 2.1).
PROJECTION = 128


def nt_xent(
    first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], temperature: float = TEMPERATURE
) -> Tensor:
    """Normalised temperature-scaled cross entropy over both directions, nats (arXiv 2002.05709, equation 1).

    Args:
        first, second: projections of two views; row i of both comes from image i.
        temperature: divides the cosine similarities.
    """
    views = torch.cat([first, second]).float()
    z = F.normalize(views, dim=1)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(float("-inf"))  # a view is no candidate for itself

    count = len(first)
    rows = torch.arange(2 * count, device=z.device)
    other = rows.roll(count)
    return F.cross_entropy(similarity, other)


class SimCLR(nn.Module):
    """An encoder and its two-layer projection head."""

    def __init__(self, encoder: Encoder, generator: torch.Generator, projection: int = PROJECTION) -> None:
        """Initialise the head from ``generator``."""
        super().__init__()
        self.encoder = encoder
        width = encoder.dim
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection))
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, first: Float[Tensor, "n 3 s s"], second: Float[Tensor, "n 3 s s"]) -> Tensor:
        """The loss of two normalised views."""
        both = torch.cat([first, second])
        vectors = self.encoder(both)
        z = self.head(vectors)
        z_first, z_second = z.split(len(first))
        return nt_xent(z_first, z_second)
