"""Scores do not depend on how images are batched, and the null error is the mean image's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from optidel.errors import WeightsError
from optidel.features import embedding
from optidel.features.embedding import check_vectors, mean_image, null_errors, write_scores
from optidel.models.encoders import build_encoder, save_encoder
from optidel.models.mae import build_mae
from optidel.models.presets import PRESETS
from optidel.store import Workspace

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)


def test_mean_image_and_null_error() -> None:
    mean = mean_image(IMAGES, np.random.default_rng(0))
    np.testing.assert_allclose(mean, IMAGES.mean(axis=0) / 255, atol=1e-6)
    std = np.array([0.229, 0.224, 0.225])
    expected = [(((image / 255 - mean) / std) ** 2).mean() for image in IMAGES]
    np.testing.assert_allclose(null_errors(IMAGES, mean), expected, rtol=1e-4)


def test_block_size_changes_nothing(nano: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_encoder(build_mae(PRESETS["tiny"], torch.Generator().manual_seed(0)), tmp_path / "mae", 32)
    mean = mean_image(IMAGES, np.random.default_rng(0))
    pixels = tmp_path / "pixels.npy"
    np.save(pixels, IMAGES)
    for block in (4, 64):
        monkeypatch.setattr(embedding, "BLOCK", block)
        (tmp_path / str(block)).mkdir()
        write_scores(Workspace(tmp_path / str(block)), pixels, tmp_path / "mae", None, mean, 0)
    for name in ("vectors", "error", "null_error", "error_map"):
        one, two = (np.load(tmp_path / block / f"{name}.npy") for block in ("4", "64"))
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.mean(axis=(1, 2)), np.load(tmp_path / "4" / "error.npy"), rtol=1e-5)


def test_vectors_of_another_encoder(nano: object, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    save_encoder(build_mae(PRESETS["tiny"], generator), tmp_path / "mae", 32)
    other = build_encoder(PRESETS["tiny"], generator).eval()
    save_encoder(other.backbone, tmp_path / "other", 32)
    work = Workspace(tmp_path)
    mean = IMAGES.mean(0).astype(np.float32) / 255
    np.save(tmp_path / "pixels.npy", IMAGES)
    write_scores(work, tmp_path / "pixels.npy", tmp_path / "mae", str(tmp_path / "other"), mean, 0)
    with torch.no_grad():
        expected = other(other.normalise(IMAGES)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected, rtol=1e-4, atol=1e-5)


def test_a_collapsed_embedding_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    alike = np.ones((50, 8)) * rng.uniform(1, 2, (50, 1)) + 1e-5 * rng.normal(size=(50, 8))
    check_vectors(alike.astype(np.float32), "weights/mine")
    assert "50 images point one way" in capsys.readouterr().err
    check_vectors(np.zeros((3, 8), np.float32), "weights/mine")
    assert "weights/mine has collapsed" in capsys.readouterr().err
    check_vectors((np.ones((50, 8)) + 0.01 * rng.normal(size=(50, 8))).astype(np.float32), "weights/mine")
    check_vectors(np.ones((1, 8), np.float32), "weights/mine")
    assert not capsys.readouterr().err


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    vectors = np.ones((9000, 4), np.float32)
    vectors[8999, 1] = np.nan
    with pytest.raises(WeightsError, match="weights/mine gives vectors that are not finite"):
        check_vectors(vectors, "weights/mine")
