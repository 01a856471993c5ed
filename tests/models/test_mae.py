"""The masked autoencoder is built as published, learns, and scores images the same whatever they are batched
with.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModel, ViTMAEForPreTraining

from optidel.models.encoders import save_encoder
from optidel.models.mae import build_mae, complementary_noise, masked_loss, score, sincos_positions
from optidel.models.presets import PRESETS, Preset


def reference_positions(grid: int, dim: int) -> np.ndarray:
    """The authors' get_2d_sincos_pos_embed, in its own words."""

    def one(d: int, pos: np.ndarray) -> np.ndarray:
        omega = 1.0 / 10000 ** (np.arange(d // 2, dtype=float) / (d / 2.0))
        out = np.einsum("m,d->md", pos.reshape(-1), omega)
        return np.concatenate([np.sin(out), np.cos(out)], axis=1)

    w, h = np.meshgrid(np.arange(grid, dtype=np.float32), np.arange(grid, dtype=np.float32))
    table = np.concatenate([one(dim // 2, w), one(dim // 2, h)], axis=1)
    return np.concatenate([np.zeros([1, dim]), table], axis=0)


def test_positions_are_the_published_ones() -> None:
    np.testing.assert_allclose(sincos_positions(8, 192)[0].numpy(), reference_positions(8, 192), atol=1e-6)


def test_built_model_is_not_the_all_zero_one() -> None:
    model = build_mae(PRESETS["tiny"], torch.Generator().manual_seed(0))
    for name in (
        "vit.embeddings.position_embeddings",
        "decoder.decoder_pos_embed",
        "vit.embeddings.cls_token",
        "decoder.mask_token",
    ):
        assert model.get_parameter(name).abs().sum() > 0, name
    bound = (6 / (192 + 768)) ** 0.5  # Xavier-uniform of the first MLP layer
    weight = model.vit.layers[0].mlp.fc1.weight
    assert 0.95 * bound < weight.abs().max() <= bound
    assert not model.get_parameter("vit.embeddings.position_embeddings").requires_grad


@pytest.mark.parametrize(("preset", "millions"), [("large", 304), ("huge", 632)])
def test_encoders_have_as_many_weights_as_published(preset: str, millions: int) -> None:
    with torch.device("meta"):  # shapes alone: nothing is allocated
        model = build_mae(PRESETS[preset], torch.Generator())
    weights = sum(parameter.numel() for parameter in model.vit.parameters())
    classes = 1000 * (PRESETS[preset].width + 1)  # the head of ImageNet, which the published counts include
    assert round((weights + classes) / 1e6) == millions
    decoder = model.config.decoder_hidden_size, model.config.decoder_num_hidden_layers
    assert decoder == (512, 8), "section 4.1 of MAE"


def test_weights_follow_from_the_generator_alone(nano: object) -> None:
    before = torch.random.get_rng_state()
    one, two = (build_mae(PRESETS["tiny"], torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
    assert torch.equal(before, torch.random.get_rng_state())


def test_loss_is_that_of_transformers(nano: object) -> None:
    generator = torch.Generator().manual_seed(0)
    model = build_mae(PRESETS["tiny"], generator).eval()
    x, noise = torch.randn(3, 3, 32, 32, generator=generator), torch.rand(3, 16, generator=generator)
    torch.testing.assert_close(masked_loss(model, x, noise), model(pixel_values=x, noise=noise).loss)


def test_masks_partition_the_patches() -> None:
    noise = complementary_noise(64, torch.Generator().manual_seed(0))
    visible = noise < 16
    assert (visible.sum(0) == 1).all()
    assert (visible.sum(1) == 16).all()


def test_scores_equal_a_slow_reference(nano: object) -> None:
    generator = torch.Generator().manual_seed(0)
    model = build_mae(PRESETS["tiny"], generator).eval()
    x, noise = torch.randn(5, 3, 32, 32, generator=generator), complementary_noise(16, generator)
    found = score(model, x, noise)
    for i in range(5):
        total, times = torch.zeros(16), torch.zeros(16)
        for row in noise:
            with torch.no_grad():
                out = model(pixel_values=x[i : i + 1], noise=row[None])
            error = (out.logits - model.patchify(x[i : i + 1])).square().mean(-1)[0]
            total += error * out.mask[0]
            times += out.mask[0]
        assert (times == 3).all()
        torch.testing.assert_close(found.error_map[i].flatten(), total / times, rtol=1e-4, atol=1e-5)


def test_saved_encoder_loads_with_automodel(tmp_path: object, nano: object) -> None:
    model = build_mae(PRESETS["tiny"], torch.Generator().manual_seed(0))
    save_encoder(model, tmp_path, 32)  # type: ignore[arg-type]
    loaded = AutoModel.from_pretrained(tmp_path)
    assert loaded.embeddings.position_embeddings.abs().sum() > 0
    torch.testing.assert_close(loaded.layers[0].mlp.fc1.weight, model.vit.layers[0].mlp.fc1.weight)
    whole = ViTMAEForPreTraining.from_pretrained(tmp_path)
    assert whole.decoder.decoder_pos_embed.abs().sum() > 0


def test_overfits_one_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    preset = Preset(
        size=32, patch=8, width=64, depth=2, heads=2, decoder_width=64, decoder_depth=2, decoder_heads=2
    )
    model = build_mae(preset, generator).train()
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    waves = [torch.sin(x / (2 + i) + i) * torch.cos(y / (3 + i)) for i in range(8)]
    images = torch.stack([wave.expand(3, -1, -1) for wave in waves])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    noise = torch.rand(8, 16, generator=generator)
    for _ in range(270):
        loss = masked_loss(model, images, noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    mean_image = (images - images.mean(0)).square().mean().item()
    assert loss.item() < 0.25 * mean_image
