"""Whitened vectors: made once for all methods, of the frames that can be chosen, and compared by every
method.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import recipe
from PIL import Image as PillowImage

from optidel.features.whitening import fit
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps.whiten import mean_cosine
from optidel.recipe import make_recipe

Make = Callable[..., Path]


def pipeline(images: Path, out: Path, **changes: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, images, out, **changes)))


def test_mean_cosine_is_that_of_all_pairs() -> None:
    vectors = np.random.default_rng(0).normal(1, 1, (40, 7)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [units[one] @ units[two] for one in range(40) for two in range(one)]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert mean_cosine(vectors[:1]) == 0.0


def test_axes_are_those_of_the_sound_frames(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    folder = make_corpus(23)
    PillowImage.new("RGB", (96, 72)).save(folder / "black.png")
    run = pipeline(folder, tmp_path / "run")
    assert run.whitened is not None
    vectors = np.asarray(run.embed.array("vectors.npy"))
    sound = np.array([not frame.flaw for frame in run.corpus.frames])
    assert sound.sum() == 23
    whitening = fit(vectors[sound])
    np.testing.assert_array_equal(run.whitened.array("vectors.npy"), whitening.transform(vectors))
    summary = run.whitened.json("summary.json")
    assert summary["axes"] == len(whitening.scale)
    assert summary["cosine_before"] == pytest.approx(mean_cosine(vectors[sound]))
    assert abs(summary["cosine_after"]) < summary["cosine_before"]


def test_every_method_that_looks_compares_them(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    folder = make_corpus(24)
    run, raw = (
        pipeline(folder, tmp_path / "run"),
        pipeline(folder, tmp_path / "run", features={"post": "none"}),
    )
    assert raw.whitened is None
    for method in ("meddel", "k-center", "optidel", "optidel-paper"):
        assert "whiten" in run.select(method, 0).inputs
        assert "whiten" not in raw.select(method, 0).inputs
    assert run.select("random", 0) == raw.select("random", 0)
    assert run.embed == raw.embed
    assert len(list((tmp_path / "run").glob("whiten-*"))) == 2  # of frames, and of key patches
