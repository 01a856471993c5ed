"""Random views of a batch, drawn on the batch from a given generator."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def crop_and_flip(
    x: Float[Tensor, "n 3 s s"], generator: torch.Generator, scale: tuple[float, float] = (0.2, 1.0)
) -> Float[Tensor, "n 3 s s"]:
    """Random resized crop (area fraction in ``scale``, aspect 3/4 to 4/3) and horizontal flip: the
    augmentation of MAE.

    Source: arXiv 2111.06377, appendix A.1.
    """
    count = len(x)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    area = uniform(*scale)
    aspect = uniform(math.log(3 / 4), math.log(4 / 3)).exp()
    width = (area * aspect).sqrt().clamp(max=1.0)
    height = (area / aspect).sqrt().clamp(max=1.0)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * flip, height
    theta[:, 0, 2] = uniform(-1, 1) * (1 - width)
    theta[:, 1, 2] = uniform(-1, 1) * (1 - height)
    grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def colour_jitter(
    x: Float[Tensor, "n 3 s s"], generator: torch.Generator, strength: float = 0.4
) -> Float[Tensor, "n 3 s s"]:
    """Brightness, contrast and saturation of normalised images, each by a factor in 1 ± ``strength``; one in
    five turns grey.
    """
    count = len(x)

    def factor() -> Tensor:
        return (1 + strength * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)).to(x.device)

    x = x * factor() + (factor() - 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * factor() + mean
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * factor() + grey
    keep_colour = (torch.rand(count, 1, 1, 1, generator=generator) >= 0.2).to(x.device)
    return torch.where(keep_colour, x, grey.expand_as(x))
