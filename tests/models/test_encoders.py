"""Every supported backbone gives tokens in image order and one vector; anything else is refused with a
remedy.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from optidel.errors import RecipeError, WeightsError
from optidel.models.encoders import build_encoder, load_encoder, load_mae, save_encoder
from optidel.models.mae import build_mae
from optidel.models.presets import PRESETS

SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_backbones_of_transformers(kind: str, tmp_path: Path) -> None:
    backbone = (
        ViTModel(ViTConfig(intermediate_size=64, **SMALL))
        if kind == "vit"
        else Dinov2Model(Dinov2Config(**SMALL))
    )
    backbone.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path).eval()
    x = encoder.normalise(images())
    with torch.no_grad():
        expected = AutoModel.from_pretrained(tmp_path)(pixel_values=x).last_hidden_state
        torch.testing.assert_close(encoder(x), expected[:, 0])
        tokens = encoder.tokens(x)
    assert tokens.shape == (2, 32, 4, 4)
    torch.testing.assert_close(tokens[:, :, 1, 2], expected[:, 1 + 1 * 4 + 2])


@pytest.mark.parametrize("kind", ["vit", "dinov2", "vit_mae"])
def test_tokens_of_chosen_blocks_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    if kind == "vit_mae":
        encoder = build_encoder(PRESETS["tiny"], torch.Generator().manual_seed(0)).eval()
    else:
        model = (
            ViTModel(ViTConfig(intermediate_size=64, **SMALL))
            if kind == "vit"
            else Dinov2Model(Dinov2Config(**SMALL))
        )
        model.save_pretrained(tmp_path)
        encoder = load_encoder(tmp_path).eval()
    x = torch.randn(2, 3, encoder.size, encoder.size, generator=torch.Generator().manual_seed(0))
    inputs = {"pixel_values": x}
    if kind == "vit_mae":
        inputs["noise"] = torch.arange(encoder.grid**2).float().expand(2, -1)
    with torch.no_grad():
        states = encoder.backbone(**inputs, output_hidden_states=True).hidden_states
        both = encoder.tokens(x, [1, -1])
        torch.testing.assert_close(both[:, encoder.dim :], encoder.tokens(x))
        first = encoder.backbone.layernorm(states[1])[:, 1:]
    assert both.shape == (2, 2 * encoder.dim, encoder.grid, encoder.grid)
    torch.testing.assert_close(both[:, : encoder.dim].flatten(2).transpose(1, 2), first)
    with pytest.raises(RecipeError, match=r"evaluate\.layers: 99 is no block of this encoder; pass 1 to \d+"):
        encoder.tokens(x, [99])


def test_vit_at_another_size(tmp_path: Path) -> None:
    ViTModel(ViTConfig(intermediate_size=64, **SMALL)).save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, size=48)
    assert encoder.tokens(torch.zeros(1, 3, 48, 48)).shape == (1, 32, 6, 6)
    with pytest.raises(WeightsError, match="multiple of the patch size"):
        load_encoder(tmp_path, size=50)


def test_mae_encoder_sees_every_patch_in_order(nano: object) -> None:
    encoder = build_encoder(PRESETS["tiny"], torch.Generator().manual_seed(0)).eval()
    x = encoder.normalise(images(1))
    changed = x.clone()
    changed[:, :, 8:16, 16:24] += 3  # row 1, column 2
    with torch.no_grad():
        shift = (encoder.tokens(x) - encoder.tokens(changed)).abs().sum(1)[0]
    assert shift.argmax() == 1 * 4 + 2
    torch.testing.assert_close(encoder(x), encoder.tokens(x).mean((2, 3)))


def test_normalise_uses_the_weights_own_statistics(tmp_path: Path, nano: object) -> None:
    save_encoder(build_mae(PRESETS["tiny"], torch.Generator().manual_seed(0)), tmp_path, 32)
    text = (tmp_path / "preprocessor_config.json").read_text()
    (tmp_path / "preprocessor_config.json").write_text(text.replace("0.485", "0.5"))
    encoder = load_encoder(tmp_path)
    expected = (images()[0, 0, 0, 0] / 255 - 0.5) / 0.229
    assert encoder.normalise(images())[0, 0, 0, 0].item() == pytest.approx(expected, rel=1e-5)


def test_refusals(tmp_path: Path, nano: object) -> None:
    with pytest.raises(WeightsError, match="no model at"):
        load_encoder(tmp_path / "nothing")
    BertModel(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).save_pretrained(tmp_path / "bert")
    with pytest.raises(WeightsError, match="'bert'"):
        load_encoder(tmp_path / "bert")
    ViTModel(ViTConfig(intermediate_size=64, **SMALL)).save_pretrained(tmp_path / "vit")
    with pytest.raises(WeightsError, match="needs a ViTMAE"):
        load_mae(tmp_path / "vit")
    (tmp_path / "vit" / "model.safetensors").rename(tmp_path / "vit" / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="safetensors"):
        load_encoder(tmp_path / "vit")
    save_encoder(build_mae(PRESETS["tiny"], torch.Generator().manual_seed(0)), tmp_path / "mae", 32)
    with pytest.raises(WeightsError, match="got size 64"):
        load_encoder(tmp_path / "mae", size=64)


@pytest.mark.network
def test_hub_id() -> None:
    assert load_encoder("facebook/dinov2-small").dim == 384
