import numpy as np
import pytest
import torch

from optidel.models.encoders import build_encoder
from optidel.models.presets import Preset
from optidel.models.segmenter import Segmenter

SMALL = Preset(
    size=32, patch=8, width=24, depth=1, heads=2, decoder_width=24, decoder_depth=1, decoder_heads=2
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def segmenter():
    return Segmenter(build_encoder(SMALL, generator()), 3, generator(1))


def test_images_become_logits_of_every_class_at_the_images_size(segmenter):
    images = np.random.default_rng(0).integers(0, 256, size=(2, 32, 32, 3)).astype(np.uint8)
    logits = segmenter(segmenter.encoder.normalise(images))
    assert logits.shape == (2, 3, 32, 32)
    assert logits.dtype == torch.float32


def test_gradients_reach_the_encoder(segmenter):
    segmenter(torch.randn(2, 3, 32, 32, generator=generator())).square().mean().backward()
    first = next(
        weight for name, weight in segmenter.encoder.named_parameters() if name.endswith("projection.weight")
    )
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_standardised_tokens_make_the_scale_of_the_encoder_irrelevant(segmenter):
    tokens = torch.randn(5, 24, 4, 4, generator=generator())
    segmenter.standardise(tokens)
    first = segmenter.decode(tokens)
    segmenter.standardise(tokens * 50 + 7)
    torch.testing.assert_close(segmenter.decode(tokens * 50 + 7), first, rtol=1e-3, atol=1e-4)


def test_a_constant_token_dimension_does_no_harm(segmenter):
    tokens = torch.randn(5, 24, 4, 4, generator=generator())
    tokens[:, 3] = 2.0
    segmenter.standardise(tokens)
    assert torch.isfinite(segmenter.decode(tokens)).all()


def test_the_head_depends_on_its_generator_alone():
    encoder = build_encoder(SMALL, generator())
    torch.manual_seed(1)
    first = Segmenter(encoder, 2, generator(5)).head.state_dict()
    torch.manual_seed(2)
    second, other = (Segmenter(encoder, 2, generator(seed)).head.state_dict() for seed in (5, 6))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
