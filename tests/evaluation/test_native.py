"""Scores at each image's own size: scaled logits, void pixels, and lesions smaller than the model's
pixels.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from optidel.arrays import VOID
from optidel.evaluation import native
from optidel.evaluation.metrics import score, score_each
from optidel.evaluation.native import classes_at, scaled
from optidel.evaluation.stored import open_task, score_native, write_task
from optidel.evaluation.tasks import load_task
from optidel.store import Store


@pytest.mark.parametrize("shape", [(16, 16), (37, 61), (9, 120), (7, 5), (1, 1)])
@pytest.mark.parametrize("stripe", [1 << 22, 200])
def test_scaled_logits_are_those_of_torch(
    shape: tuple[int, int], stripe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "STRIPE", stripe)
    logits = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], size=shape, mode="bilinear", align_corners=False
    )[0].numpy()
    stripes = list(scaled(logits, *shape))
    np.testing.assert_allclose(np.concatenate([part for _, part in stripes], axis=1), expected, atol=1e-5)
    assert stripes[0][0] == 0
    agreement = (classes_at(logits, *shape) == expected.argmax(axis=0)).mean()
    assert agreement > 0.999


def test_images_of_any_size_score_as_a_count_by_hand() -> None:
    rng = np.random.default_rng(1)
    pairs, by_hand = [], []
    for _ in range(12):
        shape = tuple(rng.integers(5, 30, 2))
        truth = rng.integers(0, 3, shape).astype(np.uint8)
        guess = np.where(rng.random(shape) < 0.4, rng.integers(0, 3, shape), truth).astype(np.uint8)
        truth[rng.random(shape) < 0.1] = VOID
        pairs.append((guess, truth))
        counted = truth != VOID
        overlaps = []
        for kind in (1, 2):
            shared = ((guess == kind) & (truth == kind) & counted).sum()
            either = (((guess == kind) | (truth == kind)) & counted).sum()
            overlaps.append(shared / either)
        by_hand.append(np.mean(overlaps))
    assert score_each(pairs, 3, void=VOID).miou == pytest.approx(np.mean(by_hand), abs=1e-12)


def test_void_counts_nowhere() -> None:
    truth = np.full((2, 8, 8), VOID, np.uint8)
    truth[0, :4], truth[0, 4] = 1, 0
    guess = np.ones((2, 8, 8), np.uint8)
    scores = score(guess, truth, 2, void=VOID)
    assert scores.image_iou.tolist() == [32 / 40, 1.0]  # an image that is void throughout has nothing to miss


def lesions(root: Path, count: int, side: int = 256) -> Path:
    rng = np.random.default_rng(1)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((side, side), np.uint8)
        y, x = rng.integers(10, side - 10, 2)
        mask[y : y + 2, x : x + 2] = 255
        grey = rng.integers(0, 60, (side, side), dtype=np.uint8) + mask // 2
        PillowImage.fromarray(grey).save(root / "images" / f"{number}.png")
        PillowImage.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def test_predicting_nothing_where_lesions_are_small_scores_zero(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = load_task(lesions(tmp_path / "set", 12), 32, train=4, test=8)
    assert not task.masks.all(axis=(1, 2)).any()
    assert "masks are empty there; scores are taken at each image's own size" in capfd.readouterr().err
    store = Store(tmp_path / "run")
    artifact = store.build("task", lambda work: write_task(work, task), version=1, config={})
    stored = open_task(artifact)
    tested = stored.rows("test")
    for row in tested:
        np.testing.assert_array_equal(stored.native_mask(row), task.native_mask(row))
        assert stored.native_mask(row).sum() == 4
    nothing = np.zeros((len(tested), 2, 32, 32), np.float32)
    nothing[:, 0] = 1
    assert score_native(stored, nothing).miou == 0
    assert score(np.zeros_like(task.masks[tested]), task.masks[tested], 2).miou > 0.5, "as it was before"
    assert artifact.table("items.parquet")["height"].to_list() == [256] * 12


def test_the_right_answer_at_the_models_size_scores_high_at_the_images_own(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    y, x = np.mgrid[:300, :200]
    for number in range(4):
        disc = (y - 140 - 3 * number) ** 2 + (x - 100) ** 2 < 60**2
        picture = np.where(disc, 200, 40 + number).astype(np.uint8)
        PillowImage.fromarray(picture).save(tmp_path / "set" / "images" / f"{number}.png")
        PillowImage.fromarray(disc.astype(np.uint8) * 255).save(tmp_path / "set" / "masks" / f"{number}.png")
    task = load_task(tmp_path / "set", 64, train=2, test=2)
    for row in range(4):
        truth = task.masks[row].astype(np.float32)
        logits = np.stack([1 - truth, truth])
        assert score_each([(classes_at(logits, 300, 200), task.native_mask(row))], 2).miou > 0.97
