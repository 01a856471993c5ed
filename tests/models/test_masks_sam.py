from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SamConfig, SamModel, ViTConfig
from transformers.models.sam.configuration_sam import (
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from optidel.errors import WeightsError
from optidel.models import sam_transformers
from optidel.models.mask_generators import load_mask_generator
from optidel.models.masks import SCENE, Mask, mask_from_logits, sam_input
from optidel.models.sam_transformers import TransformersSam, load_sam

SIZE = 64


def tiny_sam() -> SamModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vision = SamVisionConfig(
            hidden_size=16,
            output_channels=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIZE,
            patch_size=8,
            mlp_dim=32,
            window_size=4,
            num_pos_feats=8,
            global_attn_indexes=[1],
        )
        prompt = SamPromptEncoderConfig(hidden_size=16, image_size=SIZE, patch_size=8, mask_input_channels=4)
        decoder = SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16
        )
        return SamModel(
            SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
        ).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sam")
    tiny_sam().save_pretrained(path)
    return path


IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
POINTS = np.array([[10, 10], [40, 30], [25.5, 20]], np.float32)


def test_the_batched_prompts_are_those_asked_one_by_one_of_transformers(folder: Path) -> None:
    """Reference: SamModel.forward on pixel values, one point a call, its logits enlarged the same way."""
    masks = load_sam(str(folder), every_mask=True)(IMAGE, POINTS)
    model = SamModel.from_pretrained(folder)
    assert len(masks) == 9
    for row, point in enumerate(POINTS):
        with torch.inference_mode():
            scaled = torch.tensor((point * SIZE / 56)[None, None, None].astype(np.float32))
            found = model(pixel_values=torch.from_numpy(sam_input(IMAGE, SIZE)), input_points=scaled)
        for each in range(3):
            reference = mask_from_logits(
                found.pred_masks[0, 0, each].numpy(), float(found.iou_scores[0, 0, each]), 40, 56, SIZE
            )
            assert (masks[3 * row + each].mask == reference.mask).mean() > 0.99
            assert masks[3 * row + each].predicted_iou == pytest.approx(reference.predicted_iou, abs=1e-4)


def test_one_mask_a_point_in_one_decoder_call(folder: Path, monkeypatch) -> None:
    sam = load_mask_generator("sam", str(folder))
    calls: list[int] = []
    decoder = sam.model.mask_decoder.forward
    monkeypatch.setattr(
        sam.model.mask_decoder,
        "forward",
        lambda *args, **kwargs: (calls.append(1), decoder(*args, **kwargs))[1],
    )
    masks = sam(IMAGE, POINTS)
    assert [mask.mask.shape for mask in masks] == [(40, 56)] * 3
    assert calls == [1]
    assert sam(IMAGE, np.zeros((0, 2), np.float32)) == []
    monkeypatch.setattr(sam_transformers, "PROMPTS", 2)
    again = sam(IMAGE, POINTS)
    assert calls == [1, 1, 1]
    assert all((one.mask == other.mask).mean() > 0.99 for one, other in zip(masks, again, strict=True))


def test_the_identity_is_the_content_and_not_the_path(folder: Path, tmp_path: Path) -> None:
    model = tiny_sam()
    model.save_pretrained(tmp_path / "copy")
    first = load_sam(str(folder))
    assert first.weights == load_sam(str(tmp_path / "copy")).weights
    assert first.weights.startswith("sha256:")
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.add_(1)
    model.save_pretrained(tmp_path / "other")
    assert load_sam(str(tmp_path / "other")).weights != first.weights
    assert isinstance(first, TransformersSam)


def test_a_region_is_preferred_to_a_surer_scene() -> None:
    def mask(share: float, iou: float) -> Mask:
        field = np.zeros((10, 10), dtype=bool)
        field.flat[: int(100 * share)] = True
        return Mask(mask=field, predicted_iou=iou, stability=1.0)

    scene, region, part = mask(SCENE + 0.1, 0.99), mask(SCENE - 0.1, 0.8), mask(0.1, 0.7)
    assert sam_transformers._best([scene, region, part]) is region
    assert sam_transformers._best([scene, mask(0.9, 1.0)]) is scene


def test_pickled_missing_foreign_and_partial_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no model at"):
        load_sam(str(tmp_path / "nowhere"))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((folder / "config.json").read_text())
    torch.save({"a": torch.zeros(1)}, pickled / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="no readable weights in safetensors"):
        load_sam(str(pickled))
    ViTConfig(hidden_size=8).save_pretrained(tmp_path / "vit")
    with pytest.raises(WeightsError, match="is a 'vit' model"):
        load_sam(str(tmp_path / "vit"))
    model = tiny_sam()
    state = {name: tensor for name, tensor in model.state_dict().items() if "mask_decoder" not in name}
    model.save_pretrained(tmp_path / "partial", state_dict=state)
    with pytest.raises(WeightsError, match="lack"):
        load_sam(str(tmp_path / "partial"))
