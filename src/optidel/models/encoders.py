"""Any Hugging Face ViT, ViTMAE or DINOv2 as one thing: images in, tokens or one vector out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, ViTMAEForPreTraining
from transformers.utils import logging as transformers_logging

from optidel.errors import WeightsError
from optidel.models.mae import build_mae
from optidel.models.presets import Preset

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics, the convention of every backbone here."""

KINDS = ("vit", "vit_mae", "dinov2", "dinov2_with_registers")


def _channels_first(
    images: UInt8[Tensor, "n s s 3"] | UInt8[np.ndarray, "n s s 3"], where: torch.device
) -> Float[Tensor, "n 3 s s"]:
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
        backbone: PreTrainedModel,
        size: int,
        mean: tuple[float, ...] = MEAN,
        std: tuple[float, ...] = STD,
    ) -> None:
        """Wrap ``backbone``; ``mean`` and ``std`` are per channel for values in [0, 1]."""
        super().__init__()
        self.backbone: Any = backbone
        self.kind = str(backbone.config.model_type)
        self.dim = int(backbone.config.hidden_size)
        self.patch = int(backbone.config.patch_size)
        self.size = size
        self.grid = size // self.patch
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        if self.kind == "vit_mae":
            backbone.config.mask_ratio = 0.0  # an encoder sees every patch

    def normalise(
        self, images: UInt8[Tensor, "n s s 3"] | UInt8[np.ndarray, "n s s 3"]
    ) -> Float[Tensor, "n 3 s s"]:
        """u8 (n, s, s, 3) to the backbone's input, float32 on the encoder's device."""
        return (_channels_first(images, self.mean.device) - self.mean) / self.std

    def hidden(self, x: Float[Tensor, "n 3 s s"]) -> tuple[Tensor, Tensor]:
        """Class token (n, dim) and patch tokens (n, grid², dim)."""
        count = self.grid**2
        if self.kind == "vit_mae":  # rising noise keeps the patches in their order
            noise = torch.arange(count, device=x.device).float().expand(len(x), -1)
            last = self.backbone(pixel_values=x, noise=noise).last_hidden_state
        elif self.kind == "vit":
            last = self.backbone(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state
        else:
            last = self.backbone(pixel_values=x).last_hidden_state
        return last[:, 0], last[:, -count:]

    def tokens(self, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d g g"]:
        """Patch tokens as a feature map."""
        _, patches = self.hidden(x)
        return patches.transpose(1, 2).reshape(len(x), self.dim, self.grid, self.grid)

    def forward(self, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        """One vector an image: the mean patch token of a masked autoencoder, the class token otherwise."""
        first, patches = self.hidden(x)
        return patches.mean(1) if self.kind == "vit_mae" else first


def build_encoder(preset: Preset, generator: torch.Generator) -> Encoder:
    """An untrained encoder: the from-scratch row of every table."""
    return Encoder(build_mae(preset, generator).vit, preset.size)


def load_encoder(weights: str | Path, size: int | None = None) -> Encoder:
    """Load a ViT, ViTMAE or DINOv2.

    Args:
        weights: Hugging Face id or local folder with ``config.json`` and ``model.safetensors``.
        size: input side in px; default the model's own, at most 224 for DINOv2.

    Raises:
        WeightsError: not found, another architecture, or no safetensors.
    """
    config = _config(weights)
    if config.model_type not in KINDS:
        raise WeightsError(
            f"{weights} holds a {config.model_type!r} model; encoders may be one of {', '.join(KINDS)}"
        )
    own = int(config.image_size)
    side = size or (min(own, 224) if config.model_type.startswith("dinov2") else own)
    if side % int(config.patch_size):
        raise WeightsError(
            f"size {side} px is no multiple of the patch size {config.patch_size} px of {weights}; pass a multiple"
        )
    if config.model_type == "vit_mae" and side != own:
        raise WeightsError(
            f"{weights} is a masked autoencoder for {own} px, got size {side}; use a preset of {own} px"
        )
    backbone = _load(AutoModel, weights)
    mean, std = _statistics(weights)
    return Encoder(backbone, side, mean, std)


def load_mae(weights: str | Path) -> ViTMAEForPreTraining:
    """Load a masked autoencoder with its decoder, for scoring.

    Raises:
        WeightsError: not found, no ViTMAE, or no safetensors.
    """
    config = _config(weights)
    if config.model_type != "vit_mae":
        raise WeightsError(
            f"{weights} holds a {config.model_type!r} model; difficulty needs a ViTMAE with its decoder"
        )
    return _load(ViTMAEForPreTraining, weights)


def save_encoder(model: PreTrainedModel, folder: Path, size: int) -> None:
    """Write a Hugging Face folder: config, safetensors and the input convention."""
    with _quiet():
        model.save_pretrained(folder)
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's progress bars and its report of the decoder weights that an encoder rightly
    leaves out.
    """
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _config(weights: str | Path) -> Any:
    try:
        return AutoConfig.from_pretrained(str(weights))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"no model at {str(weights)!r}; pass a Hugging Face id that this machine can reach, "
            "or a folder with config.json and model.safetensors"
        ) from error


def _load(kind: Any, weights: str | Path) -> Any:
    try:
        with _quiet():
            return kind.from_pretrained(str(weights), use_safetensors=True)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{weights} has no readable model.safetensors ({error}); convert the weights to safetensors first"
        ) from error


def _statistics(weights: str | Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel means and deviations the weights were trained with; ImageNet's where the model does not say."""
    path = Path(weights) / "preprocessor_config.json"
    if not Path(weights).is_dir():
        try:
            path = Path(hf_hub_download(str(weights), "preprocessor_config.json"))
        except OSError:
            return MEAN, STD
    if not path.exists():
        return MEAN, STD
    found = json.loads(path.read_text())
    return tuple(found.get("image_mean", MEAN)), tuple(found.get("image_std", STD))
