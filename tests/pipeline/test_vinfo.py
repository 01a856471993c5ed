"""V-information of a run's training sets: what it measures, that it is measured once, and what the command
prints.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nano import recipe
from pictures import NANO, fill
from PIL import Image
from typer.testing import CliRunner

import optidel
from optidel.cli import app
from optidel.errors import InputError
from optidel.models.encoders import load_mae
from optidel.models.presets import PRESETS
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps.vinfo import vinfo_step
from optidel.pipeline.vinfo import vinfo
from optidel.recipe import make_recipe
from optidel.report import write_report
from optidel.runs.sets import TrainedSet, measured_sets, trained_sets
from optidel.store import Store
from optidel.vinformation import log_determinant, vendi
from optidel.vinformation.models import mae_information

QUICK: dict[str, Any] = {"steps": 1, "batch": 4, "train": 4, "test": 4}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of four methods, beside its ``corpus`` and ``labelled`` folders; the nano preset as long
    as it is used.
    """
    root = tmp_path_factory.mktemp("vinfo")
    fill(root / "corpus", 24)
    fill(root / "labelled" / "images", 8, seed=9)
    for path in (root / "labelled" / "images").iterdir():
        mask = np.zeros((72, 96), np.uint8)
        mask[20:50, 30:60] = 255
        (root / "labelled" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "labelled" / "masks" / path.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", NANO)
        changes: dict[str, Any] = {"methods": ["full", "random", "pvi", "optidel-paper"], "evaluate": QUICK}
        optidel.run(recipe(root / "corpus", root / "labelled", root / "run", **changes))
        yield root / "run"


def by_method(run: Path) -> dict[str, TrainedSet]:
    return {one.method: one for one in trained_sets(run)}


def test_every_training_set_is_measured_once(finished: Path) -> None:
    assert [one.method for one in trained_sets(finished)] == ["full", "optidel-paper", "pvi", "random"]
    found = vinfo(finished)
    folders = {path: path.stat().st_mtime_ns for path in finished.glob("vinfo-*/summary.json")}
    assert len(found) == len(folders) == 4
    assert vinfo(finished) == found == measured_sets(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.glob("vinfo-*/summary.json")} == folders
    for one, measured in found:
        assert measured.information == pytest.approx(measured.h_null - measured.h_conditional)
        assert set(measured.gained) == {"labelled"}
        assert set(one.scores) == {("labelled", "fine-tune"), ("labelled", "probe")}
        assert 1 <= measured.vendi <= measured.images


def test_sets_are_measured_under_the_model_that_scored_the_corpus(finished: Path) -> None:
    measured = {one.method: found for one, found in vinfo(finished)}
    store, sets = Store(finished), by_method(finished)
    [warmup] = store.artifacts("warmup")
    model = load_mae(warmup.path / "encoder")
    rows = sets["pvi"].select.table("selection.parquet").filter("kept").sort("rank")["item"].to_numpy()
    images = {
        "pvi": sets["pvi"].images.array("pixels.npy")[rows],
        "optidel-paper": sets["optidel-paper"].images.array("pixels.npy"),
    }
    for method, pixels in images.items():
        expected = mae_information(model, np.asarray(pixels))
        assert measured[method].images == len(pixels) == 3
        assert measured[method].h_null == pytest.approx(expected.h_null / expected.values, rel=1e-5)
        assert measured[method].h_conditional == pytest.approx(
            expected.h_conditional / expected.values, rel=1e-5
        )
    [embed] = store.artifacts("embed")
    vectors = embed.array("vectors.npy")
    assert measured["pvi"].vendi == pytest.approx(vendi(vectors[rows]))
    assert measured["full"].log_det == pytest.approx(log_determinant(vectors))


def test_gained_is_what_the_trained_encoder_knows_of_the_labelled_images(finished: Path) -> None:
    measured = {one.method: found for one, found in vinfo(finished)}
    one = by_method(finished)["random"]
    images = one.tasks["labelled"].array("images.npy")
    expected = mae_information(load_mae(one.pretrain.path / "encoder"), np.asarray(images))
    assert measured["random"].gained["labelled"] == pytest.approx(
        expected.information / expected.values, rel=1e-5
    )


def test_simclr_and_an_encoder_of_ones_own(finished: Path, tmp_path: Path) -> None:
    [warmup] = Store(finished).artifacts("warmup")
    changes: dict[str, Any] = {
        "methods": ["random", "optidel-paper"],
        "encoder": {"weights": str(warmup.path / "encoder")},
        "pretrain": {"steps": 2, "batch": 4, "objective": "simclr"},
        "evaluate": QUICK | {"protocols": ["probe"]},
    }
    run = tmp_path / "simclr"
    optidel.run(recipe(finished.parent / "corpus", finished.parent / "labelled", run, **changes))
    state = torch.random.get_rng_state()
    found = vinfo(run)
    assert torch.equal(state, torch.random.get_rng_state())
    assert {one.objective for one, _ in found} == {"simclr"}
    assert all(measured.gained["labelled"] < np.log(2 * 8 - 1) for _, measured in found)


def test_the_command_prints_the_table_and_the_page_shows_it(finished: Path) -> None:
    page = finished / "report.html"
    for folder in finished.glob("vinfo-*"):
        shutil.rmtree(folder)
    write_report(finished)
    assert "Not measured" in page.read_text(encoding="utf-8")
    done = CliRunner().invoke(app, ["vinfo", str(finished), "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert [row["method"] for row in printed["sets"]] == ["full", "optidel-paper", "pvi", "random"]
    assert {"n", "rho", "p", "low", "high", "quantity", "over"} <= set(
        printed["comparisons"][0]["correlations"][0]
    )
    text = page.read_text(encoding="utf-8")
    assert 'id="table-vinformation"' in text
    assert "Not measured" not in text
    plain = CliRunner().invoke(app, ["vinfo", str(finished)])
    assert "rank correlation of I_V with mIoU" in plain.stdout


def test_folders_without_a_training_set_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        vinfo(tmp_path / "nowhere")
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("pretrain-*", "result-*"))
    with pytest.raises(InputError, match=r"no encoder in .* is trained yet"):
        vinfo(run)


def test_a_run_that_needed_no_embedding_is_told_to_make_one(finished: Path, tmp_path: Path) -> None:
    images, labelled, run = finished.parent / "corpus", finished.parent / "labelled", tmp_path / "blind"
    changes: dict[str, Any] = {"methods": ["random"], "evaluate": QUICK | {"protocols": ["probe"]}}
    values = recipe(images, labelled, run, **changes)
    optidel.run(values)
    with pytest.raises(InputError, match=r"random looks at none, .*`optidel embed IMAGES --out"):
        vinfo(run)
    Pipeline(make_recipe(values)).until("embed")
    assert [one.method for one, _ in vinfo(run)] == ["random"]


def test_an_embedding_that_was_deleted_is_said_to_be_gone(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    # Of a folder with a result all artifacts must be there; a bench, or single steps, have none.
    for folder in [*run.glob("embed-*"), *run.glob("vinfo-*"), *run.glob("result-*")]:
        shutil.rmtree(folder)
    kept = [one for one in trained_sets(run) if one.method == "pvi"]
    with pytest.raises(InputError, match="was chosen with is no longer in"):
        vinfo_step(Store(run), kept[0])
