import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from optidel.errors import InputError
from optidel.models.encoders import build_encoder
from optidel.models.presets import Preset
from optidel.training.segmentation import SCHEDULES, Schedule, jittered, predict, train_segmenter, turned

SMALL = Preset(
    size=32, patch=8, width=48, depth=2, heads=2, decoder_width=24, decoder_depth=1, decoder_heads=2
)
PROTOCOLS = ("fine-tune", "probe")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def squares(count, classes=2, seed=0):
    """Bright squares on noise, on the 8 px grid: (images, masks)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, size=(count, 32, 32, 3)).astype(np.uint8)
    masks = np.zeros((count, 32, 32), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        row, column = rng.integers(0, 3, size=2) * 8
        kind = rng.integers(1, classes)
        place = np.s_[row : row + 16, column : column + 16]
        image[place] = np.array([230, 120, 90]) if kind == 1 else np.array([60, 120, 240])
        mask[place] = kind
    return images, masks


def overlap(guess, truth):
    return ((guess > 0) & (guess == truth)).sum() / ((guess > 0) | (truth > 0)).sum()


@pytest.fixture
def encoder():
    return build_encoder(SMALL, generator())


def test_one_batch_can_be_overfitted(encoder):
    images, masks = squares(4)
    plan = Schedule(steps=80, batch=4, lr=5e-3, encoder_lr=2e-3)
    segmenter = train_segmenter(
        encoder, images, masks, 2, protocol="fine-tune", generator=generator(1), schedule=plan
    )
    assert overlap(predict(segmenter, images), masks) > 0.85


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_learnt_carries_to_other_images(encoder, protocol):
    plan = Schedule(steps=80, batch=8, lr=5e-3, encoder_lr=1e-3)
    segmenter = train_segmenter(
        encoder, *squares(24, classes=3), 3, protocol=protocol, generator=generator(1), schedule=plan
    )
    images, masks = squares(12, classes=3, seed=1)
    guess = predict(segmenter, images)
    assert guess.shape == masks.shape
    assert guess.dtype == np.uint8
    assert overlap(guess, masks) > 0.6


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_same_generator_same_weights(encoder, protocol):
    images, masks = squares(6)
    plan = replace(SCHEDULES[protocol], steps=4, batch=4)
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(states))  # the global generator must not matter
        segmenter = train_segmenter(
            encoder, images, masks, 2, protocol=protocol, generator=generator(seed), schedule=plan
        )
        states.append(segmenter.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_probe_leaves_the_encoder_as_it_is_and_fine_tuning_changes_a_copy(encoder):
    before = copy.deepcopy(encoder.state_dict())
    images, masks = squares(6)
    trained = {}
    for protocol in PROTOCOLS:
        plan = replace(SCHEDULES[protocol], steps=2, batch=4)
        trained[protocol] = train_segmenter(
            encoder, images, masks, 2, protocol=protocol, generator=generator(), schedule=plan
        )
        assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
        assert all(
            weight.requires_grad for name, weight in encoder.named_parameters() if "position" not in name
        )
    assert all(
        torch.equal(value, before[name]) for name, value in trained["probe"].encoder.state_dict().items()
    )
    assert any(
        not torch.equal(value, before[name])
        for name, value in trained["fine-tune"].encoder.state_dict().items()
    )
    assert not trained["fine-tune"].training


def test_the_frozen_encoder_runs_once_for_every_turn_of_an_image(encoder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        type(encoder),
        "tokens",
        lambda self, x: seen.append(len(x)) or torch.randn(len(x), 48, 4, 4, generator=generator()),
    )
    plan = replace(SCHEDULES["probe"], steps=20, batch=4)
    train_segmenter(encoder, *squares(5), 2, protocol="probe", generator=generator(), schedule=plan)
    assert sum(seen) == 8 * 5


def test_turned_gives_the_eight_symmetries_of_the_square():
    x = torch.arange(9).view(1, 1, 3, 3).expand(8, 1, 3, 3)
    found = turned(x, torch.arange(8))
    for turn in range(8):
        expected = np.rot90(np.arange(9).reshape(3, 3), turn % 4)
        np.testing.assert_array_equal(found[turn, 0], expected[:, ::-1] if turn >= 4 else expected)
    assert len({tuple(item.flatten().tolist()) for item in found}) == 8


def test_image_and_mask_are_turned_alike():
    images, masks = squares(16)
    turns = torch.arange(16) % 8
    bright = turned(torch.from_numpy(images).permute(0, 3, 1, 2), turns)[:, 0] > 200
    assert torch.equal(bright, turned(torch.from_numpy(masks), turns) > 0)


def test_jitter_is_light_and_differs_between_images():
    x = torch.ones(4, 3, 8, 8)
    changed = jittered(x, generator())
    assert (changed - x).abs().max() <= 0.4
    assert not torch.equal(changed[0], changed[1])
    assert torch.equal(changed, jittered(x, generator()))


def test_prediction_does_not_depend_on_how_images_are_grouped(encoder):
    images, masks = squares(70)
    plan = replace(SCHEDULES["probe"], steps=3, batch=4)
    segmenter = train_segmenter(
        encoder, images[:8], masks[:8], 2, protocol="probe", generator=generator(), schedule=plan
    )
    whole = predict(segmenter, images)
    assert (
        whole == np.concatenate([predict(segmenter, images[:9]), predict(segmenter, images[9:])])
    ).mean() > 0.999


def test_bad_arrays_are_named(encoder):
    images, masks = squares(3)
    with pytest.raises(InputError, match="read the labelled set at the encoder's 32 px"):
        train_segmenter(encoder, images[:, :16], masks[:, :16], 2, protocol="probe", generator=generator())
    with pytest.raises(InputError, match="n >= 1"):
        train_segmenter(encoder, images[:0], masks[:0], 2, protocol="probe", generator=generator())
    with pytest.raises(InputError, match="class 1, but classes is 1"):
        train_segmenter(encoder, images, masks, 1, protocol="probe", generator=generator())
