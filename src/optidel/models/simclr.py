"""SimCLR on the same encoder (Chen et al., ICML 2020, arXiv 2002.05709)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from optidel.models.encoders import Encoder
from optidel.models.shares import Share, gathered, whole

# Of the softmax over candidates: between 0.1 and 0.5, the best two in the paper's table 5, and MoCo v2's
# (arXiv 2003.04297).
TEMPERATURE = 0.2

# Dimensions in which views are compared (arXiv 2002.05709, section 2.1).
PROJECTION = 128


def nt_xent(
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "n d"],
    temperature: float = TEMPERATURE,
    share: Share | None = None,
) -> Tensor:
    """Normalised temperature-scaled cross entropy over both directions, nats (arXiv 2002.05709, equation 1).

    Args:
        first, second: projections of two views; row i of both comes from image i.
        temperature: divides the cosine similarities.
        share: which rows of a batch they are; the candidates are the views of the whole batch, of which other
            processes hold the rest. None for all of them.
    """
    share = whole(len(first)) if share is None else share
    z_first = F.normalize(first.float(), dim=1)
    z_second = F.normalize(second.float(), dim=1)
    z = torch.cat([z_first, z_second])
    candidates = z
    if len(share) < share.count:
        candidates = torch.cat([gathered(z_first, share), gathered(z_second, share)])
    similarity = z @ candidates.T / temperature

    of_first = torch.arange(share.start, share.stop, device=z.device)
    of_second = of_first + share.count
    itself = torch.cat([of_first, of_second])
    other = torch.cat([of_second, of_first])
    # A view is no candidate for itself.
    similarity.scatter_(1, itself[:, None], float("-inf"))
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

    def forward(
        self,
        first: Float[Tensor, "n 3 s s"],
        second: Float[Tensor, "n 3 s s"],
        share: Share | None = None,
    ) -> Tensor:
        """The loss of two normalised views of a share of a batch."""
        both = torch.cat([first, second])
        vectors = self.encoder(both)
        z = self.head(vectors)
        z_first, z_second = z.split(len(first))
        return nt_xent(z_first, z_second, share=share)
