"""A pre-training goes on from the weights it is given, not from something near them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import NANO
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)

from optidel.errors import WeightsError
from optidel.models.continued import continue_backbone, continue_mae, resized_positions
from optidel.models.encoders import Encoder, load_encoder, load_mae, save_encoder
from optidel.models.mae import build_mae, complementary_noise, masked_loss, score
from optidel.models.masked_dino import MaskedDino
from optidel.training.objectives import OBJECTIVES
from optidel.training.optimizer import layer_groups
from optidel.training.options import PretrainOptions
from optidel.training.pretrain import pretrain

SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def saved(kind: str, folder: Path, size: int = 32) -> Path:
    """A small untrained model in the published format of its kind."""
    torch.manual_seed(0)
    options = SMALL | {"image_size": size}
    model: PreTrainedModel
    if kind == "vit":
        model = ViTModel(ViTConfig(intermediate_size=48, **options))
    elif kind == "dinov2":
        model = Dinov2Model(Dinov2Config(mlp_ratio=2, **options))
    elif kind == "registers":
        model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(mlp_ratio=2, **options))
    else:
        model = build_mae(NANO, torch.Generator().manual_seed(7))
    save_encoder(model, folder, size)
    return folder


def images(count: int = 6, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", ["vit", "dinov2", "registers", "mae"])
def test_what_goes_on_computes_what_the_weights_compute(kind: str, tmp_path: Path) -> None:
    folder = saved(kind, tmp_path / kind)
    given = load_encoder(folder).eval()
    model = continue_mae(folder, NANO, generator())
    backbone = model.backbone if isinstance(model, MaskedDino) else model.vit
    going_on = Encoder(backbone, 32).eval()
    with torch.no_grad():
        x = given.normalise(images())
        torch.testing.assert_close(going_on.tokens(x), given.tokens(x), rtol=1e-4, atol=1e-5)


def test_another_input_normalisation_is_folded_into_the_weights(tmp_path: Path) -> None:
    folder = saved("vit", tmp_path / "vit")
    convention = folder / "preprocessor_config.json"
    convention.write_text('{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]}')
    given, going_on = load_encoder(folder).eval(), Encoder(continue_backbone(folder, NANO), 32).eval()
    with torch.no_grad():
        expected = given.tokens(given.normalise(images()))
        found = going_on.tokens(going_on.normalise(images()))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_decoder_of_a_masked_autoencoder_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved("mae", tmp_path / "mae")
    model, whole = continue_mae(folder, NANO, generator()).eval(), load_mae(folder).eval()
    assert "its decoder too" in capsys.readouterr().err
    x = torch.randn(3, 3, 32, 32, generator=generator())
    noise = torch.rand(3, 16, generator=generator())
    with torch.no_grad():
        torch.testing.assert_close(masked_loss(model, x, noise), masked_loss(whole, x, noise))
    encoder_only = tmp_path / "encoder"
    save_encoder(whole.vit, encoder_only, 32)
    continue_mae(encoder_only, NANO, generator())
    assert "starts untrained" in capsys.readouterr().err


def test_positions_are_interpolated() -> None:
    ramp = torch.linspace(0, 1, 4)
    table = torch.cat(
        [torch.full((1, 1, 2), 9.0), torch.stack([ramp.repeat(4), ramp.repeat_interleave(4)], 1)[None]], 1
    )
    assert resized_positions(table, 4) is table
    larger = resized_positions(table, 8)
    assert larger.shape == (1, 65, 2)
    assert larger[0, 0].tolist() == [9, 9]
    square = larger[0, 1:].reshape(8, 8, 2)
    torch.testing.assert_close(square[..., 0], square[..., 1].T)
    assert (square[:, 1:, 0] > square[:, :-1, 0]).all()
    centre = square[2:6, 2:6, 0].mean()
    assert centre.item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_another_size_keeps_the_meaning_of_a_place(kind: str, tmp_path: Path) -> None:
    """Weights for 64 px see at 32 px what they see at 64 px of an image twice as large, roughly."""
    folder = saved(kind, tmp_path / kind, size=64)
    model = continue_mae(folder, NANO, generator())
    assert model.config.image_size == 32
    backbone = model.backbone if isinstance(model, MaskedDino) else model.vit
    assert backbone.embeddings.position_embeddings.shape == (1, 17, 24)
    assert Encoder(backbone, 32)(torch.zeros(1, 3, 32, 32)).shape == (1, 24)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize("kind", ["vit", "dinov2", "registers", "mae"])
def test_every_objective_goes_on_from_every_kind(objective: str, kind: str, tmp_path: Path) -> None:
    folder = saved(kind, tmp_path / "given")
    options = PretrainOptions(objective=objective, steps=3, batch=4, weights=str(folder), layer_decay=0.7)
    model, log = pretrain(images(), None, NANO, options, seed=0, checkpoint=tmp_path / "c.pt")
    assert log["loss"].is_finite().all()
    save_encoder(model, tmp_path / "encoder", 32)
    AutoModel.from_pretrained(tmp_path / "encoder")
    encoder = load_encoder(tmp_path / "encoder")
    assert (encoder.size, encoder.dim) == (32, 32 if kind == "mae" else 24)
    measured = OBJECTIVES[objective].information(tmp_path / "encoder", images(), 0)
    assert np.isfinite(measured.conditional).all()


def test_a_dinov2_is_masked_as_a_vitmae_is(tmp_path: Path) -> None:
    """Hidden patches do not reach the encoder, and every patch is scored once it was hidden."""
    model = continue_mae(saved("dinov2", tmp_path / "dinov2"), NANO, generator()).eval()
    x = torch.randn(2, 3, 32, 32, generator=generator())
    noise = torch.rand(2, 16, generator=generator())
    with torch.no_grad():
        encoded = model.vit(pixel_values=x, noise=noise)
        assert encoded.last_hidden_state.shape == (2, 5, 24)
        assert encoded.mask.sum(1).tolist() == [12, 12]
        hidden = x.clone()
        patch = int(encoded.mask[0].nonzero()[0])
        row, column = divmod(patch, 4)
        hidden[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 5
        again = model.vit(pixel_values=hidden, noise=noise)
        torch.testing.assert_close(again.last_hidden_state, encoded.last_hidden_state)
        reference = build_mae(NANO, generator())
        torch.testing.assert_close(model.patchify(x), reference.patchify(x))
        scores = score(model, x, complementary_noise(16, generator()))
    assert scores.error_map.shape == (2, 4, 4)


def test_a_masked_dinov2_is_read_back_whole(tmp_path: Path) -> None:
    model = continue_mae(saved("dinov2", tmp_path / "given"), NANO, generator()).eval()
    save_encoder(model, tmp_path / "encoder", 32)
    again = load_mae(tmp_path / "encoder").eval()
    x, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 16)
    with torch.no_grad():
        torch.testing.assert_close(masked_loss(again, x, noise), masked_loss(model, x, noise))
    (tmp_path / "encoder" / "decoder" / "decoder.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="no decoder that can be read"):
        load_mae(tmp_path / "encoder")


def test_lower_blocks_learn_more_slowly(tmp_path: Path) -> None:
    model = continue_mae(saved("vit", tmp_path / "vit"), NANO, generator())
    scales = {
        id(parameter): group["scale"]
        for group in layer_groups(model, 0.05, 0.5)
        for parameter in group["params"]
    }
    names = {
        name: scales[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in scales
    }
    assert len(names) == sum(parameter.requires_grad for parameter in model.parameters())
    assert names["vit.embeddings.cls_token"] == 0.5**3
    assert names["vit.layers.0.mlp.fc1.weight"] == 0.5**2
    assert names["vit.layers.1.mlp.fc1.weight"] == 0.5
    assert names["vit.layernorm.weight"] == names["decoder.decoder_pred.weight"] == 1
    assert {group["weight_decay"] for group in layer_groups(model, 0.05, 0.5)} == {0.05, 0.0}


def test_the_configuration_names_weights_by_content(tmp_path: Path) -> None:
    first, second = saved("vit", tmp_path / "a"), saved("vit", tmp_path / "b")
    configs = [PretrainOptions(weights=str(folder)).config()["weights"] for folder in (first, second)]
    assert configs[0] == configs[1]
    assert configs[0].startswith("sha256:")
    with pytest.raises(WeightsError, match=r"no config.json and model.safetensors in"):
        PretrainOptions(weights=str(tmp_path / "none")).config()


def test_weights_that_cannot_go_on(tmp_path: Path) -> None:
    BertModel(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).save_pretrained(tmp_path / "bert")
    with pytest.raises(WeightsError, match="'bert' model; a pre-training goes on from one of vit"):
        continue_backbone(tmp_path / "bert", NANO)
    ViTModel(ViTConfig(intermediate_size=48, **SMALL | {"patch_size": 7, "image_size": 28})).save_pretrained(
        tmp_path / "odd"
    )
    with pytest.raises(WeightsError, match="patches of 7 px, and the preset's 32 px are no even number"):
        continue_backbone(tmp_path / "odd", NANO)
