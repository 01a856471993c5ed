"""V-information under trained models: learning the answer drives H_V(Y|X) down."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import NANO, picture
from PIL import Image

from optidel.models.encoders import Encoder, build_encoder, normalise
from optidel.models.mae import build_mae, complementary_noise, masked_loss
from optidel.training.pretrain import PretrainOptions, pretrain
from optidel.vinformation import null_errors
from optidel.vinformation.models import (
    ROUNDING,
    mae_information,
    masked_values,
    own_null_errors,
    simclr_information,
)


def pictures(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.asarray(Image.fromarray(picture(rng)[0]).resize((32, 32))) for _ in range(count)])


def normalised(images: np.ndarray) -> np.ndarray:
    return (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def test_training_to_the_answer_drives_the_conditional_entropy_down(tmp_path: Path) -> None:
    images, others = pictures(6, 0), pictures(6, 1)
    untrained = build_mae(NANO, torch.Generator().manual_seed(0))
    options = [PretrainOptions(steps=steps, batch=6, lr=3e-3) for steps in (30, 300)]
    trained = [
        pretrain(images, None, NANO, one, seed=0, checkpoint=tmp_path / f"{one.steps}.pt")[0]
        for one in options
    ]
    found = [mae_information(model, images) for model in (untrained, *trained)]
    assert found[0].h_conditional > found[1].h_conditional > found[2].h_conditional
    assert len({one.h_null for one in found}) == 1
    assert found[2].information > 0
    unseen = mae_information(trained[1], others)
    assert unseen.information < found[2].information  # part of it was learnt by heart


def test_errors_are_those_of_the_training_loss() -> None:
    images = pictures(5, 2)
    model = build_mae(NANO, torch.Generator().manual_seed(0)).eval()
    found = mae_information(model, images, seed=3)
    assert found.values == masked_values(images.shape[1:]) == 0.75 * 32 * 32 * 3
    x = normalise(images, torch.device("cpu"))
    noise = complementary_noise(16, torch.Generator().manual_seed(3))
    with torch.no_grad():
        error = np.array(
            [np.mean([masked_loss(model, x[i : i + 1], row[None]).item() for row in noise]) for i in range(5)]
        )
    variance = np.array([np.delete(error, row).mean() for row in range(5)])
    np.testing.assert_allclose(
        found.conditional, found.values / 2 * (np.log(2 * np.pi * variance) + error / variance), rtol=1e-5
    )


def test_the_null_model_of_a_set_is_its_own_mean_image() -> None:
    images = pictures(9, 4)
    np.testing.assert_allclose(own_null_errors(images), null_errors(normalised(images)), rtol=1e-4)
    same = np.repeat(images[:1], 9, axis=0)
    alike = mae_information(build_mae(NANO, torch.Generator().manual_seed(0)), same)
    assert alike.h_null / alike.values == pytest.approx(0.5 * np.log(2 * np.pi * ROUNDING), abs=1e-3)


def test_contrastive_training_raises_the_information_within_its_bound(tmp_path: Path) -> None:
    images = pictures(24, 5)
    options = PretrainOptions(objective="simclr", steps=60, batch=24, lr=2e-3)
    kept, _ = pretrain(images, None, NANO, options, seed=0, checkpoint=tmp_path / "checkpoint.pt")
    encoders = build_encoder(NANO, torch.Generator().manual_seed(0)), Encoder(kept, NANO.size)
    before, after = (simclr_information(encoder, images, batch=12) for encoder in encoders)
    assert before.h_null == after.h_null == pytest.approx(np.log(23))
    assert before.information < after.information < after.h_null
    np.testing.assert_array_equal(
        after.conditional, simclr_information(encoders[1], images, batch=12).conditional
    )
