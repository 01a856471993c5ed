"""Weights are what they say: whole, finite and of the architecture of their configuration; nothing beside
them is run.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTForImageClassification, ViTModel

from optidel.errors import WeightsError
from optidel.models.encoders import load_encoder, load_mae, save_encoder
from optidel.models.mae import build_mae
from optidel.models.presets import PRESETS

SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}

State = dict[str, torch.Tensor]


def rewrite(folder: Path, change: Callable[[State], State]) -> None:
    """Replace the tensors of a saved model."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(change(tensors), path, metadata={"format": "pt"})


def configure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    ViTModel(ViTConfig(intermediate_size=64, **SMALL)).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.fixture
def mae(tmp_path: Path, nano: object) -> Path:
    save_encoder(build_mae(PRESETS["tiny"], torch.Generator().manual_seed(0)), tmp_path / "mae", 32)
    return tmp_path / "mae"


def timm_names(tensors: State) -> State:
    """As timm writes a ViT: one tensor for query, key and value, other names throughout."""
    names = {"embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed"}
    return {
        names.get(name, name.replace("encoder.layer.", "blocks.").replace("attention.", "attn.")): tensor
        for name, tensor in tensors.items()
        if "key" not in name and "value" not in name
    }


def broken(value: float) -> Callable[[State], State]:
    def change(tensors: State) -> State:
        tensors[next(name for name in tensors if "1.attention" in name)].view(-1)[0] = value
        return tensors

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (timm_names, r"lack \d+ \(.*\) tensors that the model needs"),
        (lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()}, r"lack 3\d"),
        (
            lambda tensors: {name: tensor for name, tensor in tensors.items() if "layer.1." not in name},
            r"lack 16 \(layers\.1\.attention",
        ),
        (lambda tensors: {"something": torch.zeros(2)}, "lack"),
        (broken(float("nan")), r"hold 1 \(layers\.1\.attention.*not finite"),
        (broken(float("inf")), "not finite"),
        (
            lambda tensors: {name: tensor[..., :16].contiguous() for name, tensor in tensors.items()},
            "fit its",
        ),
        (
            lambda tensors: (
                tensors
                | {name.replace("layer.1", "layer.2"): tensor.clone() for name, tensor in tensors.items()}
            ),
            r"hold 16 \(layers\.2\..*config\.json does not have",
        ),
    ],
    ids=["timm", "prefixed", "last-layer", "other", "nan", "inf", "narrow", "deeper"],
)
def test_weights_that_are_not_whole_are_refused(
    change: Callable[[State], State], message: str, vit: Path
) -> None:
    rewrite(vit, change)
    with pytest.raises(WeightsError, match=message):
        load_encoder(vit)


@pytest.mark.parametrize(
    "part", ["decoder.decoder_encoder.layer.0", "vit.encoder.layer.1", "decoder.mask_token"]
)
def test_a_masked_autoencoder_needs_its_decoder(part: str, mae: Path) -> None:
    rewrite(mae, lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name})
    with pytest.raises(WeightsError, match="lack"):
        load_mae(mae)


def test_what_no_result_depends_on_may_be_absent_or_brought(tmp_path: Path, mae: Path) -> None:
    ViTForImageClassification(ViTConfig(intermediate_size=64, **SMALL)).save_pretrained(
        tmp_path / "classifier"
    )
    Dinov2Model(Dinov2Config(**SMALL)).save_pretrained(tmp_path / "dinov2")
    rewrite(
        tmp_path / "dinov2",
        lambda tensors: {name: tensor for name, tensor in tensors.items() if "mask_token" not in name},
    )
    x = torch.zeros(1, 3, 32, 32)
    for folder in (tmp_path / "classifier", tmp_path / "dinov2", mae):
        first, second = (load_encoder(folder).eval()(x) for _ in range(2))
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_code_beside_the_weights_is_never_run(vit: Path) -> None:
    mark = vit / "it-ran"
    (vit / "evil.py").write_text(
        f"open({str(mark)!r}, 'w')\nfrom transformers import ViTConfig as C, ViTModel as M\n"
    )
    code = {"AutoConfig": "evil.C", "AutoModel": "evil.M"}
    configure(vit, auto_map=code)
    load_encoder(vit)
    configure(vit, auto_map=code, model_type="evil")
    with pytest.raises(
        WeightsError, match=r"code of its own \(auto_map in config.json\), which is never run"
    ):
        load_encoder(vit)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_channels": 1}, "takes images of 1 channels"),
        ({"patch_size": [8, 4]}, "only square models"),
        ({"hidden_size": "wide"}, "no model at"),
        ({"model_type": "nothing"}, "no model at"),
    ],
)
def test_configurations_that_cannot_be_used(changes: dict[str, object], message: str, vit: Path) -> None:
    configure(vit, **changes)
    with pytest.raises(WeightsError, match=message):
        load_encoder(vit)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"a": [1]}', b"\x00" * 64])
def test_damaged_files_end_in_a_sentence(damage: bytes, vit: Path) -> None:
    for name in ("preprocessor_config.json", "model.safetensors", "config.json"):
        path = vit / name
        before = path.read_bytes() if path.exists() else b"{}"
        path.write_bytes(damage)
        if not (name == "preprocessor_config.json" and damage == b'{"a": [1]}'):
            with pytest.raises(WeightsError):
                load_encoder(vit)
        path.write_bytes(before)
    (vit / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0, 1, 1]}')
    with pytest.raises(WeightsError, match="three means and three positive deviations"):
        load_encoder(vit)
