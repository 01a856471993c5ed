"""Small encoders of every kind, with weights that are not those of a fresh model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
)

SIZES = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
BUILDERS: dict[str, Callable[[], torch.nn.Module]] = {
    "vit": lambda: ViTModel(ViTConfig(intermediate_size=64, **SIZES)),
    "vit_mae": lambda: ViTMAEModel(ViTMAEConfig(intermediate_size=64, **SIZES)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(mlp_ratio=3, **SIZES)),
    "dinov2_with_registers": lambda: Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(mlp_ratio=3, num_register_tokens=3, **SIZES)
    ),
}


@pytest.fixture
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A Hugging Face folder with a small encoder of a kind."""

    def make(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = BUILDERS[kind]()
            for parameter in model.parameters():
                # Biases, norms and scales of a fresh model are 0 or 1: an error in them would not show.
                parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(folder)
        return folder

    return make
