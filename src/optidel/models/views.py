"""Random views of a batch, drawn on the batch from a given generator."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from optidel.models.presets import JITTER, MAE_CROP
from optidel.models.shares import Share, whole

GREY = 0.2
"""Share of the images that lose their colour (arXiv 2002.05709, appendix A)."""

ASPECT = (3 / 4, 4 / 3)
"""Least and largest width over height of a crop, as in all of these papers."""


def crop_and_flip(
    x: Float[Tensor, "n 3 s s"],
    generator: torch.Generator,
    scale: tuple[float, float] = MAE_CROP,
    flip: bool = True,
    share: Share | None = None,
) -> Float[Tensor, "n 3 s s"]:
    """Random resized crop (area fraction in ``scale``, aspect 3/4 to 4/3) and horizontal flip.

    Args:
        x: images (n, 3, s, s), any normalisation.
        generator: a CPU generator; the same numbers are drawn whatever ``scale`` and ``flip`` are.
        scale: least and largest area of a crop, as a fraction of the image's.
        flip: mirror one image in two, left to right.
        share: which rows of a batch ``x`` is; None for all of them.

    Source: arXiv 2111.06377, appendix A.1.
    """
    share = whole(len(x)) if share is None else share  # one of no rows is false
    count = share.count

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    area = uniform(*scale)
    aspect = uniform(math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    if scale == (1.0, 1.0):  # an aspect other than 1 would cut a strip off the whole image
        aspect = torch.ones(count)
    width = (area * aspect).sqrt().clamp(max=1.0)
    height = (area / aspect).sqrt().clamp(max=1.0)

    mirrored = torch.rand(count, generator=generator) < 0.5
    direction = torch.where(mirrored & flip, -1.0, 1.0)

    # Each image's own affine map from output to input coordinates, both in [-1, 1].
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = width * direction
    theta[:, 1, 1] = height
    theta[:, 0, 2] = uniform(-1, 1) * (1 - width)
    theta[:, 1, 2] = uniform(-1, 1) * (1 - height)
    if len(share) == 0:
        return x  # what was drawn is drawn for the batch
    theta = theta[share.rows]
    grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def colour_jitter(
    x: Float[Tensor, "n 3 s s"],
    generator: torch.Generator,
    strength: float = JITTER,
    share: Share | None = None,
) -> Float[Tensor, "n 3 s s"]:
    """Brightness, contrast and saturation of normalised images, each by a factor in 1 ± ``strength``; one in
    five turns grey.

    Args:
        x: normalised images (n, 3, s, s).
        generator: a CPU generator.
        strength: largest change; at 0 nothing is drawn and ``x`` is returned as it is.
        share: which rows of a batch ``x`` is; None for all of them.
    """
    if strength == 0:
        return x
    rows = whole(len(x)) if share is None else share

    def factor() -> Tensor:
        change = 2 * rows.rand(1, 1, 1, generator=generator) - 1
        return (1 + strength * change).to(x.device)

    x = x * factor() + (factor() - 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * factor() + mean
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * factor() + grey

    keep_colour = (rows.rand(1, 1, 1, generator=generator) >= GREY).to(x.device)
    return torch.where(keep_colour, x, grey.expand_as(x))
