"""Any Hugging Face ViT, ViTMAE or DINOv2 as one thing: images in, tokens or one vector out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from optidel.errors import RecipeError, WeightsError
from optidel.models.mae import build_mae
from optidel.models.masked_dino import DECODER_FOLDER, MaskedDino, load_masked_dino
from optidel.models.presets import Preset
from optidel.models.weights import load_model, quiet, read_config, read_statistics, side_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ViTMAEForPreTraining

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics, the convention of every backbone here."""

KINDS = ("vit", "vit_mae", "dinov2", "dinov2_with_registers")
"""Values of ``model_type`` that an encoder may have."""

UNUSED = ("pooler.", "embeddings.mask_token")
"""Tensors that may be absent: nothing here reads a ViT's pooler, and no token is masked when images are
embedded."""

DINOV2_SIDE = 224
"""Pixels. DINOv2 is published for 518 px, with five times the tokens; it works at 224 as well."""

Pixels = UInt8[Tensor, "n s s 3"] | UInt8[np.ndarray, "n s s 3"]


def _channels_first(images: Pixels, where: torch.device) -> Float[Tensor, "n 3 s s"]:
    tensor = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
    return tensor.to(where).permute(0, 3, 1, 2).float() / 255


def normalise(images: UInt8[np.ndarray, "n s s 3"], where: torch.device) -> Float[Tensor, "n 3 s s"]:
    """u8 (n, s, s, 3) to float32 with ImageNet statistics: the input of every model that is trained here."""
    x = _channels_first(images, where)
    return (x - x.new_tensor(MEAN).view(1, 3, 1, 1)) / x.new_tensor(STD).view(1, 3, 1, 1)


class Encoder(nn.Module):
    """A backbone with its input convention.

    Attributes: ``dim`` of a token; ``size`` in pixels of the square input; ``patch`` in pixels; ``grid``
        tokens along one side.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: "PreTrainedModel",
        size: int,
        mean: tuple[float, ...] = MEAN,
        std: tuple[float, ...] = STD,
    ) -> None:
        """Wrap ``backbone``; ``mean`` and ``std`` are per channel for values in [0, 1]."""
        super().__init__()
        self.backbone: Any = backbone
        self.kind = str(backbone.config.model_type)
        self.dim = int(backbone.config.hidden_size)
        self.patch = side_of(backbone.config.patch_size, "patch size", "the encoder")
        self.size = size
        self.grid = size // self.patch
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        if self.kind == "vit_mae":
            backbone.config.mask_ratio = 0.0  # an encoder sees every patch

    def normalise(self, images: Pixels) -> Float[Tensor, "n 3 s s"]:
        """u8 (n, s, s, 3) to the backbone's input, float32 on the encoder's device."""
        return (_channels_first(images, self.mean.device) - self.mean) / self.std

    def hidden(self, x: Float[Tensor, "n 3 s s"]) -> tuple[Tensor, Tensor]:
        """Class token (n, dim) and patch tokens (n, grid², dim)."""
        tokens = self._run(x).last_hidden_state
        return tokens[:, 0], tokens[:, -(self.grid**2) :]

    def _run(self, x: Float[Tensor, "n 3 s s"], **options: bool) -> Any:
        """What the backbone returns."""
        if self.kind == "vit_mae":  # rising noise keeps the patches in their order
            noise = torch.arange(self.grid**2, device=x.device).float().expand(len(x), -1)
            return self.backbone(pixel_values=x, noise=noise, **options)
        if self.kind == "vit":
            return self.backbone(pixel_values=x, interpolate_pos_encoding=True, **options)
        return self.backbone(pixel_values=x, **options)

    def tokens(self, x: Float[Tensor, "n 3 s s"], layers: Sequence[int] = ()) -> Float[Tensor, "n d g g"]:
        """Patch tokens as a feature map.

        Args:
            x: as :meth:`normalise` makes it.
            layers: blocks whose tokens are set side by side, 1 the first, −1 the last; each is normalised as
                the last is (Oquab et al. 2024, arXiv 2304.07193, section 7.4). By default the last alone.

        Raises:
            RecipeError: the encoder has no such block.
        """
        if not layers:
            _, patches = self.hidden(x)
            return self._as_map(patches)
        states = self._run(x, output_hidden_states=True).hidden_states
        depth = len(states) - 1  # the first is what enters the first block
        maps = []
        for layer in layers:
            number = layer if layer > 0 else depth + 1 + layer
            if not 1 <= number <= depth:
                raise RecipeError(
                    f"evaluate.layers: {layer} is no block of this encoder; "
                    f"pass 1 to {depth}, or -{depth} to -1 from the end"
                )
            normalised = self.backbone.layernorm(states[number])
            maps.append(self._as_map(normalised[:, -(self.grid**2) :]))
        return torch.cat(maps, dim=1)

    def _as_map(self, patches: Float[Tensor, "n l d"]) -> Float[Tensor, "n d g g"]:
        return patches.transpose(1, 2).reshape(len(patches), self.dim, self.grid, self.grid)

    def forward(self, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        """One vector an image: the mean patch token of a masked autoencoder, the class token otherwise."""
        first, patches = self.hidden(x)
        if self.kind == "vit_mae":
            return patches.mean(1)
        return first


def build_encoder(preset: Preset, generator: torch.Generator) -> Encoder:
    """An untrained encoder: the from-scratch row of every table."""
    model = build_mae(preset, generator)
    return Encoder(model.vit, preset.size)


def load_encoder(weights: str | Path, size: int | None = None) -> Encoder:
    """Load a ViT, ViTMAE or DINOv2.

    Args:
        weights: Hugging Face id or local folder with ``config.json`` and ``model.safetensors``.
        size: input side in px; default the model's own, at most 224 for DINOv2.

    Raises:
        WeightsError: not found, another architecture, no safetensors, or weights that are not whole: tensors
            missing, of another shape or not finite.
    """
    from transformers import AutoModel

    config = read_config(weights)
    if config.model_type not in KINDS:
        raise WeightsError(
            f"{weights} holds a {config.model_type!r} model; encoders may be one of {', '.join(KINDS)}"
        )
    if config.num_channels != 3:
        raise WeightsError(
            f"{weights} takes images of {config.num_channels} channels; images here have 3, "
            "pass a model for RGB"
        )

    native = side_of(config.image_size, "image size", weights)
    patch = side_of(config.patch_size, "patch size", weights)
    published = min(native, DINOV2_SIDE) if config.model_type.startswith("dinov2") else native
    side = size or published
    if side % patch:
        raise WeightsError(
            f"size {side} px is no multiple of the patch size {patch} px of {weights}; pass a multiple"
        )
    if config.model_type == "vit_mae" and side != native:
        raise WeightsError(
            f"{weights} is a masked autoencoder for {native} px, got size {side}; use a preset of {native} px"
        )

    backbone = load_model(AutoModel, weights, unused=UNUSED)
    mean, std = read_statistics(weights, MEAN, STD)
    return Encoder(backbone, side, mean, std)


def load_mae(weights: str | Path) -> "ViTMAEForPreTraining | MaskedDino":
    """Load a masked autoencoder with its decoder, for scoring: a ViTMAE, or a DINOv2 that went on as one.

    Raises:
        WeightsError: not found, no masked autoencoder, no safetensors, or weights that are not whole.
    """
    from transformers import AutoModel, ViTMAEForPreTraining

    config = read_config(weights)
    if config.model_type.startswith("dinov2") and (Path(weights) / DECODER_FOLDER).is_dir():
        return load_masked_dino(load_model(AutoModel, weights, unused=UNUSED), Path(weights))
    if config.model_type != "vit_mae":
        raise WeightsError(
            f"{weights} holds a {config.model_type!r} model; difficulty needs a ViTMAE with its decoder"
        )
    model: ViTMAEForPreTraining = load_model(ViTMAEForPreTraining, weights)
    return model


def save_encoder(model: "PreTrainedModel | MaskedDino", folder: Path, size: int) -> None:
    """Write a Hugging Face folder: config, safetensors and the input convention.

    The decoder of a DINOv2 that went on as a masked autoencoder is written beside, into ``decoder/``.
    """
    backbone = model.backbone if isinstance(model, MaskedDino) else model
    with quiet():
        backbone.save_pretrained(folder)
    if isinstance(model, MaskedDino):
        model.save_decoder(folder)
    convention = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": size, "width": size},
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "rescale_factor": 1 / 255,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(convention, indent=1) + "\n")
