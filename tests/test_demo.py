"""The demo's corpus and labelled set: real anatomy, held out far from the corpus."""

from pathlib import Path

import numpy as np
from PIL import Image

import optidel
from optidel.demo import LABELLED, POSTERIOR, demo_recipe
from optidel.evaluation.tasks import load_task


def test_demo_data(tmp_path: Path) -> None:
    recipe = demo_recipe(tmp_path / "run", quick=True)
    corpus = optidel.index(recipe.images, axes=recipe.corpus.axes)
    assert len(corpus) == 140 + 197
    middle = next(i for i, frame in enumerate(corpus.frames) if frame.locator == "coronal:100")
    assert corpus.frames[middle].flaw == ""
    assert next(frame for frame in corpus.frames if frame.locator == "sagittal:0").flaw
    assert min(LABELLED["train"]) - POSTERIOR >= 10
    assert min(abs(test - train) for test in LABELLED["test"] for train in LABELLED["train"]) > 8
    task = load_task(Path(recipe.labelled), 64)
    assert task.classes == 3
    assert (task.split == "test").sum() == 22
    mask = np.asarray(Image.open(Path(recipe.labelled) / "train" / "masks" / "coronal-150.png"))
    shares = [float((mask == value).mean()) for value in range(3)]
    assert shares[0] > shares[1] > 0.1
    assert shares[2] > 0.05
    written = {path: path.stat().st_mtime_ns for path in Path(recipe.images).iterdir()}
    demo_recipe(tmp_path / "run")
    assert written == {path: path.stat().st_mtime_ns for path in Path(recipe.images).iterdir()}
