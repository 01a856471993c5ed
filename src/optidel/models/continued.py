"""A pre-training that goes on from given weights: any ViT, ViT-MAE or DINOv2, at the size of a preset."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from optidel.errors import WeightsError
from optidel.models.encoders import KINDS, MEAN, STD, UNUSED, load_mae
from optidel.models.mae import MASK_RATIO
from optidel.models.masked_dino import MaskedDino, build_decoder
from optidel.models.presets import Preset
from optidel.models.weights import load_model, read_config, read_statistics, side_of
from optidel.progress import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ViTMAEForPreTraining

# What a ViT's configuration hands on to a ViTMAE's, which has the same tensors.
SHARED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "qkv_bias",
)

DECODER = (
    "decoder_hidden_size",
    "decoder_num_hidden_layers",
    "decoder_num_attention_heads",
    "decoder_intermediate_size",
)

POSITIONS = "embeddings.position_embeddings"
PROJECTION = "embeddings.patch_embeddings.projection"


def continue_backbone(weights: str | Path, preset: Preset) -> "PreTrainedModel":
    """A backbone that goes on from ``weights``, for images of the preset's size.

    A ViT becomes the backbone of a ViTMAE. Position embeddings are interpolated to the new grid. The input
    normalisation of the weights is folded into the patch projection, so that the model computes the same on
    images that are normalised by ImageNet's statistics.

    Args:
        weights: Hugging Face id or local folder of a ViT, ViT-MAE or DINOv2.
        preset: its ``size`` counts; width and depth are those of the weights.

    Raises:
        WeightsError: not found, not whole, another architecture, or a size that is no multiple of its patch.
    """
    from transformers import AutoModel, ViTMAEConfig, ViTMAEModel

    config = read_config(weights)
    patch = _checked_patch(config, weights, preset)
    source = load_model(AutoModel, weights, unused=UNUSED)
    state = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith("pooler.")}
    state[POSITIONS] = resized_positions(state[POSITIONS], preset.size // patch)
    _fold_statistics(state, *read_statistics(weights, MEAN, STD))

    kind: Any = type(source)
    target: Any = source.config
    if config.model_type == "vit":
        shared = {name: getattr(config, name) for name in SHARED}
        kind, target = ViTMAEModel, ViTMAEConfig(**shared)
    target.image_size = preset.size
    target.patch_size = patch
    if kind is ViTMAEModel:
        target.mask_ratio = MASK_RATIO

    # The constructor draws from the global generator, which is not ours to move.
    with torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = kind(target)
    model.load_state_dict(state)
    return model


def continue_mae(
    weights: str | Path, preset: Preset, generator: torch.Generator, *, normalised: bool = False
) -> "ViTMAEForPreTraining | MaskedDino":
    """A masked autoencoder whose encoder goes on from ``weights``.

    Its decoder goes on too where the weights are a whole ViT-MAE; else it is an untrained one of the preset's
    decoder size. Which of the two is said.

    Args:
        weights: as in :func:`continue_backbone`.
        preset: image size, and size of an untrained decoder.
        generator: a CPU generator, of the untrained decoder.
        normalised: predict each patch scaled by itself.

    Raises:
        WeightsError: as :func:`continue_backbone`.
    """
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    backbone: Any = continue_backbone(weights, preset)
    is_vit = backbone.config.model_type == "vit_mae"
    trained = _trained_decoder(weights) if is_vit else None
    size_of_decoder = {
        "decoder_hidden_size": preset.decoder_width,
        "decoder_num_hidden_layers": preset.decoder_depth,
        "decoder_num_attention_heads": preset.decoder_heads,
        "decoder_intermediate_size": 4 * preset.decoder_width,
    }
    if trained is not None:
        size_of_decoder = {name: getattr(trained.config, name) for name in DECODER}
    shared = {name: getattr(backbone.config, name) for name in SHARED if hasattr(backbone.config, name)}
    config = ViTMAEConfig(
        **shared,
        **size_of_decoder,
        image_size=preset.size,
        patch_size=backbone.config.patch_size,
        mask_ratio=MASK_RATIO,
        norm_pix_loss=normalised,
    )

    decoder = build_decoder(config, generator)
    if trained is not None:
        state = dict(trained.decoder.state_dict())
        del state["decoder_pos_embed"]  # fixed sines and cosines; the new grid has its own
        decoder.load_state_dict(state, strict=False)
    say(f"pretrain: goes on from {weights}; its decoder {'too' if trained else 'starts untrained'}")

    if not is_vit:
        return MaskedDino(backbone, config, decoder)
    with torch.random.fork_rng(devices=[]):
        model: ViTMAEForPreTraining = ViTMAEForPreTraining(config)
    model.vit.load_state_dict(backbone.state_dict())
    model.decoder.load_state_dict(decoder.state_dict())
    return model


def resized_positions(table: Float[Tensor, "1 tokens d"], grid: int) -> Float[Tensor, "1 resized d"]:
    """Position embeddings of another grid: bicubic over the patches, the class token's as it is.

    Args:
        table: (1, 1 + g², d), class token first.
        grid: tokens along one side of the new grid.

    Source: as DINO and ViT resize them (arXiv 2010.11929, section 3.2).
    """
    side = round((table.shape[1] - 1) ** 0.5)
    if side == grid:
        return table
    square = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
    patches = resized.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat([table[:, :1], patches.to(table.dtype)], dim=1)


def _checked_patch(config: Any, weights: str | Path, preset: Preset) -> int:
    """The patch size of weights that can go on at the preset's image size."""
    if config.model_type not in KINDS:
        raise WeightsError(
            f"{weights} holds a {config.model_type!r} model; a pre-training goes on from one of "
            f"{', '.join(KINDS)}"
        )
    if config.num_channels != 3:
        raise WeightsError(
            f"{weights} takes images of {config.num_channels} channels; images here have 3, "
            "pass a model for RGB"
        )
    patch = side_of(config.patch_size, "patch size", weights)
    if preset.size % patch or (preset.size // patch) % 2:
        raise WeightsError(
            f"{weights} has patches of {patch} px, and the preset's {preset.size} px are no even number "
            "of them; take weights of another patch size, or another preset"
        )
    return patch


def _fold_statistics(state: dict[str, Tensor], mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
    """Let the patch projection take images that ImageNet's statistics normalise.

    With x the normalised pixel, the weights were trained on (x · STD + MEAN - mean) / deviation, which is
    affine in x, as the projection is.
    """
    if mean == MEAN and deviation == STD:
        return
    weight, bias = state[f"{PROJECTION}.weight"], state[f"{PROJECTION}.bias"]
    scale = (torch.tensor(STD) / torch.tensor(deviation)).view(1, 3, 1, 1)
    shift = ((torch.tensor(MEAN) - torch.tensor(mean)) / torch.tensor(deviation)).view(1, 3, 1, 1)
    state[f"{PROJECTION}.bias"] = bias + (weight * shift).sum((1, 2, 3))
    state[f"{PROJECTION}.weight"] = weight * scale


def _trained_decoder(weights: str | Path) -> Any:
    """The masked autoencoder whose decoder can go on, or None: it is not there, or predicts other values."""
    if read_statistics(weights, MEAN, STD) != (MEAN, STD):
        return None
    try:
        model = load_mae(weights)
    except WeightsError:
        return None
    return model
