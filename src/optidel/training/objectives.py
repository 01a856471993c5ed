"""What a pre-training optimises: one entry an objective, in one literal table.

An objective says how its model is built, what a batch costs, what happens after a step, which part is saved,
how V-information is measured under it, and what a step costs. The loop, the recipe, the bench's forecast and
``optidel vinfo`` ask the table; none of them names an objective.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from optidel.arrays import Images
from optidel.errors import RecipeError, nearest
from optidel.models.continued import continue_backbone, continue_mae
from optidel.models.encoders import Encoder, load_encoder, load_mae
from optidel.models.mae import build_mae, masked_loss
from optidel.models.masked_dino import MaskedDino
from optidel.models.presets import JITTER, Preset
from optidel.models.shares import Share
from optidel.models.simclr import SimCLR
from optidel.models.tiles import TiledMae, shrink
from optidel.models.views import colour_jitter, crop_and_flip
from optidel.training.options import PretrainOptions
from optidel.training.precision import device
from optidel.vinformation.gaussian import Information
from optidel.vinformation.models import mae_information, simclr_information

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Float[Tensor, "n 3 s s"]


class Measure(Protocol):
    """V-information of images under a saved encoder."""

    def __call__(
        self, folder: Path, images: Images, seed: int, *, shared_variance: bool = False
    ) -> Information:
        """Measure images u8 (n, s, s, 3), under masks or views that follow from ``seed``.

        ``shared_variance``: let nothing but the errors differ from encoder to encoder. A likelihood's
        variance is then the null model's, which depends on the images alone.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A pre-training objective.

    Args:
        summary: one line for a person.
        paper: arXiv number, or an empty string.
        build: preset, options and CPU generator in, the module before its first step out; its weights depend
            on these alone. A parameter with ``requires_grad=False`` is not trained, but is checkpointed.
        loss: module, normalised rows (n, 3, s, s), options, CPU generator and share in, a scalar out. Every
            draw comes from the generator: that is what a resumed run replays. The share says which rows of
            the batch they are; what is drawn is drawn for the whole batch (``share.rand``, and views that are
            given the share), so that one process and several train alike. The mean over equal shares of what
            is returned is the loss of the batch.
        kept: the part of the module that is saved, a Hugging Face model that ``load_encoder`` can read.
        information: V-information of images under a saved encoder.
        passes: what a step costs, in forward passes of the whole encoder over the batch; the bench's forecast
            uses it until it has measured a step.
        after_step: module, number of the finished step and number of all steps in; for what moves without a
            gradient, such as a teacher that averages the student's weights.
        deals: whether the loss understands batches of tiles (``options.tiles`` above 1): the tiles of each
            image one after the other, then the images that are shown whole.
        in_parts: whether the loss of a batch is the mean over those of equal parts of it, so that they may be
            handled one after the other; not where images of a batch are compared with each other.
    """

    summary: str
    paper: str
    build: Callable[[Preset, PretrainOptions, torch.Generator], nn.Module]
    loss: Callable[[Any, Batch, PretrainOptions, torch.Generator, Share], Tensor]
    kept: Callable[[Any], "PreTrainedModel"]
    information: Measure
    passes: float
    after_step: Callable[[Any, int, int], None] | None = None
    deals: bool = False
    in_parts: bool = False


def _build_mae(preset: Preset, options: PretrainOptions, generator: torch.Generator) -> nn.Module:
    normalised = options.target == "normalised"
    model: Any
    if options.weights is not None:
        model = continue_mae(options.weights, preset, generator, normalised=normalised)
    else:
        model = build_mae(preset, generator, normalised=normalised)
    if options.tiles == 1:
        return model  # type: ignore[no-any-return]
    if isinstance(model, MaskedDino):
        raise RecipeError("tiles are dealt to a ViT or a ViT-MAE only; pass other pretrain.weights")
    return TiledMae(model, options.tiles, generator)


def _mae_loss(
    model: Any, x: Batch, options: PretrainOptions, generator: torch.Generator, share: Share
) -> Tensor:
    if options.tiles == 1:
        return _mae_loss_of_images(model, x, options, generator, share)

    tiles = share.composites.of_tiles(options.tiles)
    loss = _mae_loss_of_tiles(model, x[: len(tiles)], options, generator, tiles)
    if share.whole == 0:
        return loss
    originals = share.originals
    loss_of_whole = _mae_loss_of_images(model.mae, x[len(tiles) :], options, generator, originals)
    weight = len(originals) / len(share)
    return (1 - weight) * loss + weight * loss_of_whole


def _mae_loss_of_tiles(
    model: TiledMae, x: Batch, options: PretrainOptions, generator: torch.Generator, share: Share
) -> Tensor:
    """Each tile is cropped on its own, before it takes its cell: no crop cuts across a seam."""
    views = options.views
    view = crop_and_flip(x, generator, views.crop, views.flip, share)
    view = colour_jitter(view, generator, views.jitter or 0.0, share)
    grid = model.cell // model.mae.config.patch_size
    noise = share.rand(grid**2, generator=generator).to(x.device)
    if len(share) == 0:
        return x.new_zeros(())  # a share of whole images alone
    return model.loss(shrink(view, model.cell), noise)


def _mae_loss_of_images(
    model: Any, x: Batch, options: PretrainOptions, generator: torch.Generator, share: Share
) -> Tensor:
    grid = model.config.image_size // model.config.patch_size
    noise = share.rand(grid**2, generator=generator).to(x.device)

    views = options.views
    view = crop_and_flip(x, generator, views.crop, views.flip, share)
    # MAE's own augmentation has no colour.
    view = colour_jitter(view, generator, views.jitter or 0.0, share)
    if len(share) == 0:
        return x.new_zeros(())  # a share of composites alone
    return masked_loss(model, view, noise)


def _mae_information(
    folder: Path, images: Images, seed: int, *, shared_variance: bool = False
) -> Information:
    model = load_mae(folder).to(device())
    return mae_information(model, images, seed=seed, shared_variance=shared_variance)


def _build_simclr(preset: Preset, options: PretrainOptions, generator: torch.Generator) -> SimCLR:
    if options.weights is not None:
        backbone = continue_backbone(options.weights, preset)
    else:
        backbone = build_mae(preset, generator).vit
    return SimCLR(Encoder(backbone, preset.size), generator)


def _simclr_loss(
    model: SimCLR, x: Batch, options: PretrainOptions, generator: torch.Generator, share: Share
) -> Tensor:
    views = options.views
    strength = JITTER if views.jitter is None else views.jitter

    def view() -> Tensor:
        cropped = crop_and_flip(x, generator, views.crop, views.flip, share)
        return colour_jitter(cropped, generator, strength, share)

    first, second = view(), view()
    loss: Tensor = model(first, second, share)
    return loss


def _simclr_information(
    folder: Path, images: Images, seed: int, *, shared_variance: bool = False
) -> Information:
    # A choice between candidates has no variance, so there is nothing to share.
    encoder = load_encoder(folder).to(device())
    return simclr_information(encoder, images, seed=seed)


OBJECTIVES: dict[str, Objective] = {
    "mae": Objective(
        summary="predict the hidden three quarters of an image from the visible quarter",
        paper="2111.06377",
        build=_build_mae,
        loss=_mae_loss,
        kept=lambda model: model.mae if isinstance(model, TiledMae) else model,
        information=_mae_information,
        deals=True,
        in_parts=True,
        passes=0.4,  # a quarter of the patches in the encoder, and a small decoder over all of them
    ),
    "simclr": Objective(
        summary="tell which two views show the same image",
        paper="2002.05709",
        build=_build_simclr,
        loss=_simclr_loss,
        kept=lambda model: model.encoder.backbone,
        information=_simclr_information,
        passes=2.0,  # two views of every image
    ),
}


def objective_named(name: str) -> Objective:
    """The entry of an objective.

    Raises:
        RecipeError: no such objective.

    >>> objective_named("mae").paper
    '2111.06377'
    """
    if name not in OBJECTIVES:
        raise RecipeError(
            f"unknown objective {name!r}{nearest(name, OBJECTIVES)}; there are {', '.join(OBJECTIVES)}"
        )
    return OBJECTIVES[name]
