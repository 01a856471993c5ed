"""An encoder under timm's names: compared with a plain transformer that has these names, and with timm."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from optidel.errors import WeightsError
from optidel.models.encoders import load_encoder
from optidel.models.timm_names import eps_difference, to_timm

KINDS = ["vit", "vit_mae", "dinov2", "dinov2_with_registers"]


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        count, length, width = x.shape
        parts = self.qkv(x).reshape(count, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        share = (q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5).softmax(dim=-1)
        return self.proj((share @ v).transpose(1, 2).reshape(count, length, width))


class Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, scaled: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, hidden)
        self.scaled = scaled
        if scaled:
            self.ls1, self.ls2 = Scale(width), Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        first = self.attn(self.norm1(x))
        x = x + (first * self.ls1.gamma if self.scaled else first)
        second = self.mlp(self.norm2(x))
        return x + (second * self.ls2.gamma if self.scaled else second)


class Patches(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)


class Reference(nn.Module):
    """timm's VisionTransformer, as its arguments say, written out."""

    def __init__(self, arguments: dict) -> None:
        super().__init__()
        width, count = arguments["embed_dim"], (arguments["img_size"] // arguments["patch_size"]) ** 2
        self.arguments = arguments
        self.registers = arguments.get("reg_tokens", 0)
        bare = arguments.get("no_embed_class", False)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if self.registers:
            self.reg_token = nn.Parameter(torch.zeros(1, self.registers, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, count + (0 if bare else 1), width))
        self.patch_embed = Patches(width, arguments["patch_size"])
        hidden = int(width * arguments["mlp_ratio"])
        scaled = "init_values" in arguments
        self.blocks = nn.ModuleList(
            Block(width, arguments["num_heads"], hidden, scaled) for _ in range(arguments["depth"])
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        front = self.cls_token.expand(len(x), -1, -1)
        if self.arguments.get("no_embed_class"):
            tokens = torch.cat([front, self.reg_token.expand(len(x), -1, -1), tokens + self.pos_embed], dim=1)
        else:
            tokens = torch.cat([front, tokens], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        if self.arguments["global_pool"] == "avg":
            return tokens[:, 1 + self.registers :].mean(1)
        return tokens[:, 0]


def noise(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_transformer_with_these_names_gives_the_same_vectors(kind: str, encoder_folder) -> None:
    encoder = load_encoder(encoder_folder(kind)).eval()
    exported = to_timm(encoder)
    reference = Reference(exported.config["model_args"]).eval()
    reference.load_state_dict(exported.state, strict=True)
    x = encoder.normalise(noise())
    with torch.no_grad():
        found, wanted = reference(x), encoder(x)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert wanted.std() > 0.1  # and not all the same
    for module in reference.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = encoder.backbone.config.layer_norm_eps
    with torch.no_grad():
        torch.testing.assert_close(reference(x), wanted, atol=1e-5, rtol=0)
    assert exported.config["pretrained_cfg"]["mean"] == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.parametrize("kind", KINDS)
def test_timm_gives_the_same_vectors(kind: str, encoder_folder, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm, which brings torchvision, is not installed")
    encoder = load_encoder(encoder_folder(kind)).eval()
    exported = to_timm(encoder)
    save_file(exported.state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(exported.config))
    norm = partial(nn.LayerNorm, eps=encoder.backbone.config.layer_norm_eps)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, norm_layer=norm).eval()
    x = encoder.normalise(noise())
    with torch.no_grad():
        torch.testing.assert_close(model(x), encoder(x), atol=1e-5, rtol=0)


def test_the_difference_of_timms_normalisation_is_measured(encoder_folder) -> None:
    assert eps_difference(load_encoder(encoder_folder("dinov2"))) == 0  # it has timm's own number
    encoder = load_encoder(encoder_folder("vit"))
    with torch.no_grad():
        # Tokens that vary little, where 1e-6 is much of their variance.
        encoder.backbone.embeddings.patch_embeddings.projection.weight *= 1e-3
        encoder.backbone.embeddings.position_embeddings *= 1e-3
        encoder.backbone.embeddings.cls_token *= 1e-3
        encoder.backbone.embeddings.patch_embeddings.projection.bias *= 1e-3
    measured = eps_difference(encoder)
    reference = Reference(to_timm(encoder).config["model_args"]).eval()
    reference.load_state_dict(to_timm(encoder).state)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert measured == pytest.approx(float((reference(x) - encoder(x)).abs().max()), rel=0.05)
    assert measured > 1e-4
    assert encoder.backbone.layernorm.eps == 1e-12  # the encoder is as it was


def test_what_timm_cannot_hold_is_refused(encoder_folder) -> None:
    encoder = load_encoder(encoder_folder("vit"))
    encoder.backbone.config.hidden_act = "relu"
    with pytest.raises(WeightsError, match=r"activation 'relu'.*--format onnx"):
        to_timm(encoder)
    encoder = load_encoder(encoder_folder("dinov2"))
    encoder.backbone.config.use_swiglu_ffn = True
    with pytest.raises(WeightsError, match="SwiGLU"):
        to_timm(encoder)
