"""What the tests share: one thread, a nano model, small folders of pictures."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import hypothesis
import numpy as np
import pytest
import torch
from pictures import NANO, fill, picture
from PIL import Image

from optidel.models.presets import PRESETS, Preset

torch.set_num_threads(1)

# Where a red run stops a landing, the same examples are tried each time; elsewhere new ones are looked for.
hypothesis.settings.register_profile("steady", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("steady")


@pytest.fixture
def nano(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """Make the preset ``tiny`` one that trains in a second."""
    monkeypatch.setitem(PRESETS, "tiny", NANO)
    return NANO


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
def load_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a program of the repository that is no part of the package, by its path from the root."""

    def load(path: str) -> Any:
        file = Path(__file__).parents[1] / path
        monkeypatch.syspath_prepend(str(file.parent))  # as when it is started: it finds what lies beside it
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
