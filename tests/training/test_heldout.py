"""Held-out V-entropy: equal to a loop, comparable between encoders, with an interval that covers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import NANO, picture
from PIL import Image

from optidel.errors import InputError, RecipeError
from optidel.models.encoders import load_encoder, load_mae, save_encoder
from optidel.models.mae import complementary_noise
from optidel.training.heldout import held_out
from optidel.training.options import PretrainOptions
from optidel.training.pretrain import pretrain
from optidel.vinformation import Information, held_out_entropy
from optidel.vinformation.models import simclr_information

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def pictures(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.asarray(Image.fromarray(picture(rng)[0]).resize((32, 32))) for _ in range(count)])


def encoder(folder: Path, images: np.ndarray, steps: int, **changes: object) -> Path:
    options = PretrainOptions(steps=steps, batch=8, lr=3e-3, **changes)  # type: ignore[arg-type]
    model, _ = pretrain(images, None, NANO, options, seed=0, checkpoint=folder.with_suffix(".pt"))
    save_encoder(model, folder, NANO.size)
    return folder


def patches(image: np.ndarray, scaled: bool) -> np.ndarray:
    """One image as (patches, values), rows of patches first, as it is predicted."""
    pixels = (image / 255 - MEAN) / STD
    rows = []
    for top in range(0, 32, 8):
        for left in range(0, 32, 8):
            patch = pixels[top : top + 8, left : left + 8].ravel()
            rows.append((patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6) if scaled else patch)
    return np.stack(rows)


@pytest.mark.parametrize("target", ["pixels", "normalised"])
def test_entropies_are_those_of_a_loop(target: str, tmp_path: Path) -> None:
    images = pictures(5, 1)
    folder = encoder(tmp_path / "encoder", pictures(8, 0), 4, target=target)
    found = held_out(folder, images, "mae", seed=3)

    model = load_mae(folder).eval()
    truth = np.stack([patches(image, target == "normalised") for image in images])
    null = [np.square(truth[i] - np.delete(truth, i, axis=0).mean(axis=0)).mean() for i in range(5)]
    variance = np.mean(null)
    masks = complementary_noise(16, torch.Generator().manual_seed(3))
    for i in range(5):
        hidden: dict[int, list[float]] = {patch: [] for patch in range(16)}
        for noise in masks:
            x = torch.tensor(((images[i] / 255 - MEAN) / STD).transpose(2, 0, 1), dtype=torch.float32)[None]
            with torch.no_grad():
                output = model(pixel_values=x, noise=noise[None])
            for patch in np.flatnonzero(output.mask[0].numpy()):
                hidden[patch].append(np.square(output.logits[0, patch].numpy() - truth[i, patch]).mean())
        error = np.mean([np.mean(values) for values in hidden.values()])
        expected = 0.5 * (np.log(2 * np.pi * variance) + error / variance)
        assert found.per_image[i] == pytest.approx(expected, rel=1e-4)
    assert found.mean == pytest.approx(found.per_image.mean())
    assert found.null == pytest.approx(0.5 * (np.log(2 * np.pi * variance) + 1), rel=1e-4)


def test_a_better_encoder_has_less_entropy_under_the_same_null_model(tmp_path: Path) -> None:
    images, unseen = pictures(24, 0), pictures(12, 1)
    short, long = (encoder(tmp_path / str(steps), images, steps) for steps in (2, 300))
    worse, better = (held_out(folder, unseen, "mae") for folder in (short, long))
    assert better.mean < worse.mean
    assert better.null == worse.null
    assert better.low < better.mean < better.high
    again = held_out(long, unseen, "mae")
    np.testing.assert_array_equal(again.per_image, better.per_image)
    assert (again.low, again.high) == (better.low, better.high)


def test_simclr_is_asked_for_the_other_view(tmp_path: Path) -> None:
    folder, images = encoder(tmp_path / "simclr", pictures(16, 0), 30, objective="simclr"), pictures(12, 1)
    found = held_out(folder, images, "simclr", seed=2)
    assert found.null == pytest.approx(np.log(23))
    expected = simclr_information(load_encoder(folder), images, seed=2)
    np.testing.assert_allclose(found.per_image, expected.conditional)


def test_the_interval_covers_and_knows_groups() -> None:
    rng = np.random.default_rng(0)
    covered = {"each": 0, "groups": 0}
    groups = np.repeat(np.arange(20), 5)
    for _ in range(100):
        values = rng.normal(size=20)[groups] + 0.1 * rng.normal(size=100)  # images of a group are alike
        measured = Information(null=values, conditional=values, values=1)
        each = held_out_entropy(measured, rng)
        grouped = held_out_entropy(measured, rng, groups=groups.tolist())
        assert each.mean == grouped.mean == pytest.approx(values.mean())
        covered["each"] += each.low < 0 < each.high
        covered["groups"] += grouped.low < 0 < grouped.high
    assert covered["groups"] >= 86
    assert covered["each"] < 75


def test_refusals(tmp_path: Path) -> None:
    measured = Information(null=np.ones(3), conditional=np.ones(3), values=1)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="two groups or more"):
        held_out_entropy(measured, rng, groups=["a", "a", "a"])
    with pytest.raises(InputError, match="one group for each of 3 images, got 2"):
        held_out_entropy(measured, rng, groups=["a", "b"])
    with pytest.raises(InputError, match="level"):
        held_out_entropy(measured, rng, level=95)
    with pytest.raises(RecipeError, match="unknown objective"):
        held_out(tmp_path, pictures(2, 0), "nothing")
