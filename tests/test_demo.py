"""The demo: real anatomy, held out far from the corpus, and only what its numbers support."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import optidel
from optidel.cli import app
from optidel.demo import demo_recipe, hospital_recipe
from optidel.demo.data import GAP, LABELLED, POSTERIOR, SLAB
from optidel.evaluation.tasks import load_task
from optidel.models.presets import Preset


def test_demo_data(tmp_path: Path) -> None:
    recipe = demo_recipe(tmp_path / "run", quick=True)
    corpus = optidel.index(recipe.images, pattern=recipe.corpus.pattern)
    slabs = (POSTERIOR - SLAB) // (SLAB + GAP) + 1 + (197 - SLAB) // (SLAB + GAP) + 1
    assert len(corpus) == slabs * SLAB
    assert len({frame.group for frame in corpus.frames}) == slabs
    middle = next(i for i, frame in enumerate(corpus.frames) if frame.source == "slab-coronal-10.nii")
    assert corpus.frames[middle].flaw == ""
    assert corpus.frames[0].width != corpus.frames[-1].width  # coronal and sagittal
    assert min(LABELLED["train"]) - POSTERIOR >= 10
    assert min(abs(test - train) for test in LABELLED["test"] for train in LABELLED["train"]) > 8
    task = load_task(Path(recipe.labelled), 64)
    assert task.classes == 3
    assert (task.split == "test").sum() == 22
    mask = np.asarray(Image.open(Path(recipe.labelled) / "train" / "masks" / "coronal-150.png"))
    shares = [float((mask == value).mean()) for value in range(3)]
    assert shares[0] > shares[1] > 0.1
    assert shares[2] > 0.05
    assert len(list(Path(hospital_recipe(tmp_path / "run").images).glob("*.dcm"))) > 50
    written = {path: path.stat().st_mtime_ns for path in Path(recipe.images).iterdir()}
    demo_recipe(tmp_path / "run")
    assert written == {path: path.stat().st_mtime_ns for path in Path(recipe.images).iterdir()}


@pytest.mark.slow
def test_the_demo_tells_what_its_numbers_support(nano: Preset, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--quick", "--out", str(tmp_path / "demo"), "--json"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert Path(values["gallery"]).is_file()
    assert Path(values["report"]).is_file()
    told = values["story"]
    broken, redundant, leaks, kept, encoders = told.values()
    assert any("emri_small_jpeg_2k_lossless_too_short.dcm" in line for line in broken)
    # The test files hold one scan in five encodings, ten frames each.
    frames = int(broken[0].split()[0])
    assert int(redundant[0].split()[0]) > frames / 4
    assert "No test image lies" in leaks[0]
    assert [line.split(":")[0] for line in kept] == ["random", "optidel"]
    assert encoders[-1] == "One seed supports no claim about methods."
