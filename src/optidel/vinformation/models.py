"""V-information of images under a model of each family."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from optidel.arrays import Images
from optidel.features.embedding import mean_image
from optidel.features.embedding import null_errors as errors_of
from optidel.models.encoders import STD, normalise
from optidel.models.mae import MASK_RATIO, complementary_noise, score, target_patches
from optidel.models.simclr import TEMPERATURE
from optidel.models.views import colour_jitter, crop_and_flip
from optidel.vinformation.contrastive import contrastive_information
from optidel.vinformation.gaussian import Information, information, left_out

# Images of one pass; fixed, because the order of a sum is part of its value.
BLOCK = 256

# Variance of the rounding of pixels to 256 levels, in normalised plain pixels: no image is known better. A
# uniform error of width w has the variance w² / 12.
ROUNDING = sum((1 / 255 / std) ** 2 for std in STD) / len(STD) / 12

Errors = Float64[np.ndarray, "n"]


def masked_values(shape: tuple[int, ...]) -> int:
    """Numbers predicted of one image of ``shape`` (side, side, 3): the colour values of its hidden three
    quarters.
    """
    numbers = float(np.prod(shape))
    return round(MASK_RATIO * numbers)


def own_null_errors(images: Images) -> Errors:
    """Mean squared error (n,), in normalised plain pixels, of the null model of this set: the position-wise
    mean of its other images.

    Args:
        images: u8 (n, s, s, 3), at least two.
    """
    mean = mean_image(images, np.random.default_rng(0))
    errors = []
    for start in range(0, len(images), BLOCK):
        block = np.asarray(images[start : start + BLOCK])
        errors.append(errors_of(block, mean))
    count = len(images)
    joined = np.concatenate(errors).astype(np.float64)
    # The mean image holds the image itself, which must not be predicted from itself.
    return np.asarray(joined * left_out(count))


def mae_information(
    model: Any, images: Images, *, seed: int = 0, shared_variance: bool = False
) -> Information:
    """V-information between the visible and the hidden patches of a set of images, under one masked
    autoencoder.

    Every image is scored under the same four masks, which together hide each patch three times; the null
    model is the position-wise mean of the other images of the set. Nats per image and mask.

    Args:
        model: a ViTMAEForPreTraining, on any device; trained on other images than these if H_V(Y|X) is to be
            honest.
        images: u8 (n, s, s, 3) at the model's size, at least two.
        seed: of the masks.
        shared_variance: take for both models the variance that the null model has on these images. It depends
            on the images alone, so the H_V(Y|X) of several encoders differ by their errors only. By default
            each model has its own, estimated out of sample, image by image.
    """
    error = masked_errors(model, images, seed)
    null_error = _null_errors(model, images)
    values = masked_values(images.shape[1:])
    variance = None
    if shared_variance:
        variance = max(float(null_error.mean()), ROUNDING)
    return information(error, null_error, values, variance=variance, null_variance=variance, floor=ROUNDING)


def masked_errors(model: Any, images: Images, seed: int) -> Errors:
    """Mean squared error (n,) of each image's hidden patches, over the four masks of a seed.

    Args:
        model: a ViTMAEForPreTraining, on any device.
        images: u8 (n, s, s, 3) at the model's size.
        seed: of the masks, the same for every image.
    """
    where = next(model.parameters()).device
    side = images.shape[1] // int(model.config.patch_size)
    noise = complementary_noise(side**2, torch.Generator().manual_seed(seed))

    model.eval()
    errors = []
    for start in range(0, len(images), BLOCK):
        block = np.asarray(images[start : start + BLOCK])
        maps = score(model, normalise(block, where), noise).error_map
        errors.append(maps.mean(dim=(1, 2)).double().cpu().numpy())
    return np.concatenate(errors)


def _null_errors(model: Any, images: Images) -> Errors:
    """Errors (n,) of the null model on what ``model`` predicts: pixels, or patches scaled one by one."""
    if not model.config.norm_pix_loss:
        return own_null_errors(images)

    def targets() -> Iterator[torch.Tensor]:
        for start in range(0, len(images), BLOCK):
            block = np.asarray(images[start : start + BLOCK])
            yield target_patches(model, normalise(block, torch.device("cpu"))).double()

    # Two passes, so that no more than a block of images is in memory.
    total = sum(block.sum(dim=0) for block in targets())
    mean = total / len(images)
    errors = [(block - mean).square().mean(dim=(1, 2)) for block in targets()]
    return np.asarray(torch.cat(errors).numpy() * left_out(len(images)))


@torch.no_grad()
def simclr_information(model: Any, images: Images, *, seed: int = 0, batch: int = BLOCK) -> Information:
    """V-information of which view belongs to which image, under NT-Xent; nats per image.

    Args:
        model: an :class:`~optidel.models.encoders.Encoder`, or anything with its ``normalise`` and
            ``forward``: what the views become before they are compared. A saved encoder has no projection
            head, so this is the encoder's own space, an upper bound on H_V(Y|X).
        images: u8 (n, s, s, 3) at the model's size, at least two.
        seed: of the views.
        batch: images told from each other: see :func:`contrastive_information`.
    """
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    vectors: tuple[list[Any], list[Any]] = ([], [])
    for start in range(0, len(images), BLOCK):
        block = np.asarray(images[start : start + BLOCK])
        x = model.normalise(block)
        for blocks in vectors:
            view = colour_jitter(crop_and_flip(x, generator), generator)
            blocks.append(model(view).double().cpu().numpy())
    first, second = (np.concatenate(blocks) for blocks in vectors)
    return contrastive_information(first, second, temperature=TEMPERATURE, batch=batch)
