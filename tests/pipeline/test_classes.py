"""A run and a bench on a labelled set of classes: scores equal scikit-learn's, kill and resume, refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from nano import recipe
from PIL import Image as PillowImage
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import optidel
from optidel.benchmark.load import make_bench
from optidel.benchmark.report import write_bench_report
from optidel.benchmark.runner import run_bench
from optidel.benchmark.tables import open_bench
from optidel.errors import RecipeError
from optidel.store import read_artifact

Make = Callable[..., Path]

PROTOCOLS = ["fine-tune", "probe", "knn"]


@pytest.fixture
def skin(tmp_path: Path) -> Path:
    """Two classes that differ in their brightness, 24 images each."""
    root = tmp_path / "skin"
    rng = np.random.default_rng(0)
    for name, level in (("benign", 90), ("malignant", 150)):
        (root / name).mkdir(parents=True)
        for number in range(24):
            pixels = np.clip(rng.normal(level, 60, size=(24, 32, 1)), 0, 255).astype(np.uint8)
            PillowImage.fromarray(pixels.repeat(3, axis=2)).save(root / name / f"{name}{number}.png")
    return root


def options(**changes: Any) -> dict[str, Any]:
    return {"protocols": PROTOCOLS, "train": 16, "test": 24, "steps": 3, "batch": 4, **changes}


def test_a_run_scores_every_protocol_and_says_so(
    nano: object, make_corpus: Make, skin: Path, tmp_path: Path
) -> None:
    values = recipe(make_corpus(), skin, tmp_path / "run", methods=["full", "random"], seeds=[0, 1])
    result = optidel.run(values | {"evaluate": options()})
    table = result.table
    assert set(table["protocol"]) == set(PROTOCOLS)
    assert "miou" not in table.columns
    assert table["normdel"].null_count() == len(table)
    page = result.report.read_text()
    assert "AUROC − random" in page
    assert "balanced accuracy" in page
    assert "Nearest neighbours" in page
    assert "classes: benign, malignant;" in page
    assert "Segmentation of test images" not in page

    for folder in sorted((tmp_path / "run").glob("evaluate-*")):
        artifact = read_artifact(folder)
        summary, images = artifact.json("summary.json"), artifact.table("images.parquet")
        chances = artifact.array("probabilities.npy")
        truth = np.array([name.startswith("malignant") for name in images["id"]])
        # Stored in single precision, which may tie what was apart.
        area = roc_auc_score(truth, chances[:, 1])
        assert summary["auroc"] == pytest.approx(area, abs=0.01)
        assert summary["balanced"] == pytest.approx(balanced_accuracy_score(truth, chances.argmax(1)))
        assert images["auroc"].mean() == pytest.approx(summary["auroc"])
        np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)

    # The table is the mean over seeds, and the same command finds everything done.
    for row in table.iter_rows(named=True):
        seeds = result.cells.filter(
            (pl.col("method") == row["method"]) & (pl.col("protocol") == row["protocol"])
        )
        assert row["auroc"] == pytest.approx(seeds["auroc"].mean())
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    again = optidel.run(values | {"evaluate": options()})
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before
    assert again.table.equals(table)


def test_brightness_is_learnt(nano: object, make_corpus: Make, skin: Path, tmp_path: Path) -> None:
    values = recipe(make_corpus(), skin, tmp_path / "run", methods=["full"])
    wanted = options(protocols=["fine-tune", "probe"], steps=60, batch=8)
    table = optidel.run(values | {"evaluate": wanted}).table
    assert table.filter(pl.col("protocol") == "probe")["auroc"].min() > 0.9
    assert table.filter(pl.col("protocol") == "fine-tune")["auroc"].min() > 0.9


def test_labels_that_are_not_known_of_several_columns(
    nano: object, make_corpus: Make, skin: Path, tmp_path: Path
) -> None:
    rows = []
    for number, path in enumerate(sorted(skin.rglob("*.png"))):
        source = path.relative_to(skin).as_posix()
        bright = "" if number % 5 == 0 else int("malignant" in source)
        rows.append(f"{source},{bright},{number % 2},p{number // 2}")
    table = tmp_path / "findings.csv"
    table.write_text("path,bright,odd,patient\n" + "\n".join(rows) + "\n")
    values = recipe(make_corpus(), skin, tmp_path / "run", methods=["full"])
    result = optidel.run(values | {"evaluate": options(labels=str(table), test=16)})
    assert result.table["auroc"].null_count() == 0
    [task] = (tmp_path / "run").glob("task-*")
    summary = json.loads((task / "summary.json").read_text())
    assert summary["labels"] == ["bright", "odd"]
    assert summary["exclusive"] is False
    items = read_artifact(task).table("items.parquet")
    sides = items.group_by("group").agg(pl.col("split").n_unique())
    assert sides["split"].max() == 1


def test_what_sets_of_classes_have_not_is_refused_before_anything_is_trained(
    nano: object, make_corpus: Make, skin: Path, labelled: Path, tmp_path: Path
) -> None:
    values = recipe(make_corpus(), skin, tmp_path / "run", methods=["full"])
    with pytest.raises(RecipeError, match="is a set of classes, and the protocol 'ridge' reads masks"):
        optidel.run(values | {"evaluate": options(protocols=["ridge"])})
    with pytest.raises(RecipeError, match=r"which has no evaluate\.keep; leave it out"):
        optidel.run(values | {"evaluate": options(keep=True)})
    with pytest.raises(RecipeError, match="the protocol 'knn' is for sets of classes"):
        optidel.run(values | {"labelled": str(labelled), "evaluate": {"protocols": ["knn"]}})
    assert not list((tmp_path / "run").glob("pretrain-*"))


def test_a_bench_of_masks_and_classes(
    nano: object, make_corpus: Make, skin: Path, labelled: Path, tmp_path: Path
) -> None:
    values = recipe(make_corpus(), labelled, tmp_path / "none")
    for key in ("labelled", "out", "budget", "methods", "seeds"):
        values.pop(key, None)
    small = {"train": 6, "test": 6, "steps": 3, "batch": 4}
    values |= {
        "methods": ["full", "random"],
        "budgets": [0.2],
        "seeds": [0, 1, 2],
        "protocols": ["probe"],
        "tasks": {
            "polyps": {"labelled": str(labelled), **small},
            "skin": {"labelled": str(skin), **small, "test": 24, "protocols": ["probe", "knn"]},
        },
    }
    out = tmp_path / "bench"
    run_bench(make_bench(values), out)
    tables = open_bench(out)
    assert not tables.failed
    of_skin = tables.results.filter(pl.col("task") == "skin")
    assert of_skin["auroc"].null_count() == 0
    assert of_skin["miou"].null_count() == len(of_skin)
    assert tables.results.filter(pl.col("task") == "polyps")["miou"].null_count() == 0
    write_bench_report(out)
    text = (out / "report" / "tables.md").read_text()
    assert "| AUROC | balanced accuracy |" in text
    assert "| mIoU | Dice |" in text
    assert "points of AUROC above" in (out / "report" / "report.html").read_text()
