"""Test images in the pre-training corpus are found, told, shown in the report, and left out where the recipe
says so.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from nano import recipe
from PIL import Image

import optidel
from optidel.copies.concepts import FEW
from optidel.corpus.frames import Corpus
from optidel.errors import InputError
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps.clean import clean_step
from optidel.recipe import make_recipe
from optidel.report import write_report
from optidel.runs.collect import read_run

Make = Callable[..., Path]
COPIES = 3


def pipeline(images: Path, labelled: Path, out: Path, **changes: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, labelled, out, **changes)))


@pytest.fixture
def leaking(make_corpus: Make, labelled: Path, tmp_path: Path) -> dict[str, str]:
    """A corpus into which three test images were copied (one of them as a JPEG) and two training images;
    corpus file to test id.
    """
    folder = make_corpus()
    items = pipeline(folder, labelled, tmp_path / "scratch").task.table("items.parquet")
    tested = items.filter(pl.col("split") == "test")["id"].to_list()[:COPIES]
    planted = {}
    for number, name in enumerate(tested):
        target = folder / f"planted-{number}.png"
        shutil.copy(labelled / "images" / f"{name}.png", target)
        if number == COPIES - 1:
            Image.open(target).save(folder / "planted-jpeg.jpg", quality=92)
            target.unlink()
            target = folder / "planted-jpeg.jpg"
        planted[target.name] = name
    for name in items.filter(pl.col("split") == "train")["id"].to_list()[:2]:
        shutil.copy(labelled / "images" / f"{name}.png", folder / f"learnt-{name}.png")
    return planted


def test_found_told_and_shown(
    leaking: dict[str, str], nano: object, labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = optidel.run(recipe(tmp_path / "corpus", labelled, tmp_path / "run", methods=["random"]))
    artifact = read_run(tmp_path / "run").leaks
    assert artifact is not None
    table = artifact.table("leaks.parquet")
    found = {(train, test): kind for kind, test, train, _ in table.iter_rows()}
    for train, test in leaking.items():
        assert found[train, test] == ("perceptual" if train.endswith("jpg") else "exact")
    summary = artifact.json("summary.json")
    assert (summary["leaked"], summary["test"], summary["images"]["exact"]) == (COPIES, 8, COPIES - 1)
    told = f"{COPIES} of 8 test images were found in the pre-training corpus (2 exact, 1 perceptual)"
    assert told in " ".join(capfd.readouterr().err.split())
    page = result.report.read_text()
    assert page.count(told) == 2  # in the verdict and in its section
    assert f"29 of 29 frames: {FEW}" in page
    assert "planted-jpeg.jpg" in page
    assert "learnt-" not in page.partition('<section id="leaks">')[2].partition("</section>")[0]
    assert len(list((artifact.path / "pictures").glob("*.png"))) == 2 * COPIES
    # Frames stay where they are: warn changes no training set.
    assert len(Corpus.load(read_run(tmp_path / "run").index)) == 24 + COPIES + 2


def test_dropped_from_every_training_set(
    leaking: dict[str, str], nano: object, labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = pipeline(tmp_path / "corpus", labelled, tmp_path / "run", leaks="drop")
    assert not set(leaking) & {frame.id for frame in run.corpus.frames}
    assert len(run.corpus) == 26
    reasons = {item.source: item.reason for item in run.corpus.rejected}
    assert all(f"is the test image {test}" in reasons[train] for train, test in leaking.items())
    assert "their frames are left out of all training" in " ".join(capfd.readouterr().err.split())
    for method in ("full", "meddel", "optidel-paper"):
        ids = run.select(method, 0).table("selection.parquet")["id"].to_list()
        assert not [name for name in ids if name.partition("@")[0] in leaking]
    assert len(run.pixels.array("pixels.npy")) == len(run.embed.array("error.npy")) == 26
    index = run.index.json("index.json")
    assert (index["frames"], index["rejected"], index["leaks"]) == (26, 3, 3)
    assert len(run.index.table("quality.parquet")) == 26
    page = run.finish().report.read_text()
    assert "their frames are left out of all training" in page
    clean = pipeline(tmp_path / "clean", labelled, tmp_path / "other", leaks="off")
    shutil.copytree(tmp_path / "corpus", tmp_path / "clean")
    for name in leaking:
        (tmp_path / "clean" / name).unlink()
    assert clean.index.content == run.index.content  # as if the files had never been there


def test_leaks_of_several_tasks_are_counted_once(
    leaking: dict[str, str], nano: object, labelled: Path, tmp_path: Path
) -> None:
    run = pipeline(tmp_path / "corpus", labelled, tmp_path / "run", leaks="drop")
    found = run.leaks
    assert found is not None
    again = clean_step(run.store, run.index, found)
    assert again.content == run.index.content
    assert again.json("index.json") == run.index.json("index.json")
    assert again.table("rejected.parquet").equals(run.index.table("rejected.parquet"))


def test_nothing_found_nothing_dropped_and_off(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_corpus()
    run = pipeline(folder, labelled, tmp_path / "run", leaks="drop")
    assert run.index.content == run.listed.content
    told = " ".join(
        capfd.readouterr().err.split()
    )  # 24 frames: too few to tell a changed copy from a neighbour
    assert (
        "none of the 8 test images was found in the pre-training corpus "
        "(changed copies were looked for by points alone "
        f"among 24 of 24 frames: {FEW})" in told
    )
    assert pipeline(folder, labelled, tmp_path / "run", leaks="off").leaks is None
    without = recipe(folder, labelled, tmp_path / "run") | {"labelled": ""}
    assert Pipeline(make_recipe(without)).leaks is None
    shutil.copytree(labelled / "images", tmp_path / "same")
    tested = set(run.task.table("items.parquet").filter(pl.col("split") == "test")["id"])
    for path in (tmp_path / "same").iterdir():
        if path.stem not in tested:
            path.unlink()
    with pytest.raises(InputError, match="all 8 frames of the corpus are test images"):
        pipeline(tmp_path / "same", labelled, tmp_path / "run", leaks="drop").index  # noqa: B018


def test_an_unfinished_run_shows_the_clean_corpus(
    leaking: dict[str, str], nano: object, labelled: Path, tmp_path: Path
) -> None:
    run = pipeline(tmp_path / "corpus", labelled, tmp_path / "run", leaks="drop", methods=["random"])
    run.until("select")
    opened = read_run(tmp_path / "run")
    assert opened.index == run.index
    assert "left out of all training" in write_report(tmp_path / "run").read_text()
    assert not set(opened.frames["id"]) & set(leaking)
