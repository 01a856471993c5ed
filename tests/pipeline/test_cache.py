"""Pixels kept for every frame, or for those alone that are trained on: the same run, byte for byte."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from command import call
from nano import recipe

from optidel.corpus.frames import Corpus
from optidel.corpus.pixels import PIXELS, DecodedImages, images_at, where_images_are
from optidel.errors import PendingError
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps.pixels import keeps_all
from optidel.recipe import as_json, make_recipe
from optidel.store import MANIFEST, Artifact, Store

Make = Callable[..., Path]

# Every kind of step that reads the pixels of frames: warm-up, embedding, second passes, pre-training, whole
# frames shown unevenly, composites.
METHODS = ["random", "meddel", "optidel", "optidel-paper", "influence", "mixture"]
CHANGES: dict[str, Any] = {
    "methods": METHODS,
    "budget": 0.25,
    "encoder": {"steps": 4, "sample": 12},
    "selection": {"scorer": "learnability"},
    "mixture": {"proxies": 4, "steps": 1, "concepts": 2},
    "pretrain": {"steps": 4, "batch": 8, "sampling": "weighted"},
    "evaluate": {"protocols": ["ridge"], "train": 8, "test": 8},
}

# What differs by design: where pixels lie, what names artifacts, and measured seconds.
APART = ("pixels", "subset")
UNTOLD = (MANIFEST, "cost.json", "artifacts.json")


def pipeline(images: Path, out: Path, cache: str, **changes: Any) -> Pipeline:
    corpus = {"cache": cache, "holdout": 0.2}
    return Pipeline(make_recipe(recipe(images, images, out, **(CHANGES | {"corpus": corpus} | changes))))


def contents(run: Path) -> dict[str, list[bytes]]:
    """Step and file to the bytes of each such file, in one order."""
    found: dict[str, list[bytes]] = {}
    for folder in run.iterdir():
        step = folder.name.rpartition("-")[0]
        if not folder.is_dir() or not step or step in (*APART, "result"):
            continue
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in UNTOLD:
                found.setdefault(f"{step}/{path.relative_to(folder)}", []).append(path.read_bytes())
    return {name: sorted(values) for name, values in found.items()}


@pytest.mark.slow
def test_a_run_that_keeps_what_it_trains_on_is_the_run_that_keeps_everything(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus(40)
    results = {}
    for cache in ("all", "chosen"):
        whole = pipeline(images, tmp_path / cache, cache, labelled=str(labelled))
        results[cache] = whole.finish()
    everything, chosen = contents(tmp_path / "all"), contents(tmp_path / "chosen")
    assert everything.keys() == chosen.keys()
    # The summary of the embedding names the folder of its warm-up.
    assert [name for name in everything if everything[name] != chosen[name]] == ["embed/summary.json"]
    untimed = pl.exclude("^seconds.*$")
    assert results["all"].table.equals(results["chosen"].table)
    assert results["all"].cells.select(untimed).equals(results["chosen"].cells.select(untimed))
    assert "recipe.json" in {path.name for path in (tmp_path / "chosen").rglob("recipe.json")}

    # What is kept of the corpus are the frames of the warm-up and of the choices.
    store = Store(tmp_path / "chosen")
    [pixels] = store.artifacts("pixels")
    assert not (pixels.path / PIXELS).exists()
    subsets = [len(artifact.array(PIXELS)) for artifact in store.artifacts("subset")]
    assert max(subsets) == 12
    assert results["chosen"].report.exists()


def test_frames_are_decoded_as_rows_of_an_array(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    images = make_corpus(12)
    kept = pipeline(images, tmp_path / "all", "all").pixels.array(PIXELS)
    decoded = images_at(where_images_are(pipeline(images, tmp_path / "chosen", "chosen").pixels))
    assert isinstance(decoded, DecodedImages)
    assert decoded.shape == kept.shape
    assert len(decoded) == len(kept)
    some: list[Any] = [slice(2, 7), slice(None, None, -3), [3, 1], 4, -1]
    some += [np.array([5, 5, 0, 5]), np.empty(0, np.int64)]
    for rows in some:
        np.testing.assert_array_equal(decoded[rows], kept[rows])


def test_only_new_frames_are_embedded_when_images_come(
    nano: object, make_corpus: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = make_corpus(24)
    first = pipeline(images, tmp_path / "run", "chosen").embed
    extra = make_corpus(30)
    second = pipeline(extra, tmp_path / "run", "chosen").embed
    summary = second.json("summary.json")
    assert summary["copied_from"] == first.path.name
    assert summary["copied"] >= 18  # a fifth is held out, other frames as images come
    fresh = pipeline(
        extra, tmp_path / "fresh", "all", encoder={"steps": 4, "weights": _weights(second)}
    ).embed
    np.testing.assert_array_equal(second.array("error.npy"), fresh.array("error.npy"))


def _weights(embed: Artifact) -> str:
    store = Store(embed.path.parent)
    [warmup] = store.artifacts("warmup")
    return str(warmup.file("encoder"))


def test_shards_of_frames_that_are_not_kept_are_decoded_by_whoever_does_them(
    nano: object, make_corpus: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_corpus(24)
    whole = pipeline(images, tmp_path / "whole", "chosen", work={"shard": 16}).embed
    for step in ("index", "subset", "embed"):
        with pytest.raises(PendingError, match=f"optidel work .* --step {step}"):
            pipeline(images, tmp_path / "run", "chosen", work={"shard": 16, "executor": "slurm"}).embed  # noqa: B018
        for share in ("1/2", "0/2"):
            assert call(monkeypatch, "work", tmp_path / "run", "--step", step, "--shard", share) == 0
    parts = pipeline(images, tmp_path / "run", "chosen", work={"shard": 16, "executor": "slurm"}).embed
    for name in ("vectors.npy", "error.npy", "error_map.npy"):
        assert parts.file(name).read_bytes() == whole.file(name).read_bytes()


def test_a_small_corpus_is_kept_and_no_result_says_which(tmp_path: Path) -> None:
    assert keeps_all("auto", 1000, 224)
    assert not keeps_all("auto", 10_000_000, 64)
    told = [
        json.dumps(as_json(make_recipe(recipe(tmp_path, tmp_path, tmp_path, corpus={"cache": cache}))))
        for cache in ("auto", "all", "chosen")
    ]
    assert len(set(told)) == 1


def test_a_frame_that_changed_since_is_said(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    images = make_corpus(12)
    run = pipeline(images, tmp_path / "run", "chosen")
    decoded = images_at(where_images_are(run.pixels))
    source = Corpus.load(run.index).frames[3].source
    (images / source).unlink()
    with pytest.raises(Exception, match=f"{source} is gone"):
        decoded[3]
