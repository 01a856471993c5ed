"""Drawn pictures, and a model small enough to train in a second."""

from pathlib import Path

import numpy as np
from PIL import Image

from optidel.models.presets import Preset

NANO = Preset(
    size=32, patch=8, width=32, depth=2, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2
)


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
