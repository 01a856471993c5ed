"""What the tests share: one thread, a nano model, small folders of pictures."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from PIL import Image

from optidel.models.presets import PRESETS, Preset

torch.set_num_threads(1)

NANO = Preset(size=32, patch=8, width=32, depth=2, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)


@pytest.fixture
def nano(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """Make the preset ``tiny`` one that trains in a second."""
    monkeypatch.setitem(PRESETS, "tiny", NANO)
    return NANO


def picture(rng: np.random.Generator, height: int = 72, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A textured tissue-like picture u8 (h, w, 3) with one bright blob, and the blob's mask bool (h, w)."""
    y, x = np.mgrid[:height, :width]
    wave = 20 * np.sin(x / rng.uniform(4, 9) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(4, 9))
    base = np.array([150, 80, 70]) + wave[..., None] + rng.normal(0, 4, (height, width, 1))
    centre, radius = rng.uniform([20, 20], [height - 20, width - 20]), rng.uniform(8, 14)
    blob = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
    base[blob] += [60, 70, 40]
    return base.clip(0, 255).astype(np.uint8), blob


def fill(folder: Path, count: int, seed: int = 0, ending: str = "png") -> None:
    """Write ``count`` pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(picture(rng)[0]).save(folder / f"image-{number:03d}.{ending}")


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Path]:
    """Write a corpus and return its folder."""

    def make(count: int = 24, name: str = "corpus", seed: int = 0) -> Path:
        fill(tmp_path / name, count, seed)
        return tmp_path / name

    return make


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A labelled set of 20 pictures."""
    rng = np.random.default_rng(99)
    root = tmp_path / "labelled"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(20):
        image, mask = picture(rng)
        Image.fromarray(image).save(root / "images" / f"{number:02d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{number:02d}.png")
    return root


@pytest.fixture
def load_script() -> Callable[[str], Any]:
    """Import a program of the repository that is no part of the package, by its path from the root."""

    def load(path: str) -> Any:
        file = Path(__file__).parents[1] / path
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
