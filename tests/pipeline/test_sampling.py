"""Weights in the choice's artifact, and pre-trainings that show frames unevenly by them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from killing import bytes_of, killed_run
from nano import recipe
from nano_bench import values

from optidel.benchmark import make_bench, run_bench
from optidel.features.clusters import cluster
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import as_json, make_recipe
from optidel.runs.sets import trained_sets

Make = Callable[..., Path]
TRAINING = {"steps": 4, "batch": 8}


def pipeline(images: Path, out: Path, sampling: str, **changes: Any) -> Pipeline:
    usual: dict[str, Any] = {"budget": 0.25, "pretrain": {**TRAINING, "sampling": sampling}}
    return Pipeline(make_recipe(recipe(images, images, out, **(usual | changes))))


def kept_of(run: Pipeline, method: str) -> pl.DataFrame:
    return run.select(method, 0).table("selection.parquet").filter("kept").sort("rank")


@pytest.mark.parametrize("method", ["random", "meddel", "optidel", "full"])
def test_weights_count_the_frames_that_each_kept_one_stands_for(
    method: str, nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(24), tmp_path / "run", "weighted")
    table = run.select(method, 0).table("selection.parquet")
    kept = kept_of(run, method)
    assert table.filter(~pl.col("kept"))["weight"].null_count() == len(table) - len(kept)
    vectors = np.asarray(run.compared.array("vectors.npy"), np.float64)
    picks = kept["item"].to_list()
    stands_for = dict.fromkeys(picks, 0)
    for row in vectors:
        similar = [(row @ vectors[pick]).round(5) for pick in picks]
        stands_for[picks[int(np.argmax(similar))]] += 1
    mass = np.array([stands_for[pick] for pick in picks]) * len(picks) / len(vectors)
    weights = kept["weight"].to_numpy()
    assert weights.mean() == pytest.approx(1)
    assert weights.max() <= 4
    if mass.max() <= 4:
        np.testing.assert_allclose(weights, mass)


def test_balanced_weights_are_those_of_concepts_of_the_choice(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(32), tmp_path / "run", "balanced")
    kept = kept_of(run, "random")
    vectors = np.asarray(run.compared.array("vectors.npy"))[kept["item"].to_numpy()]
    labels = cluster(vectors, rng=np.random.default_rng(0)).labels
    assert kept["concept"].to_list() == labels.tolist()
    totals = kept.group_by("concept").agg(pl.col("weight").sum())["weight"]
    if kept["weight"].max() < 4:  # type: ignore[operator]
        assert totals.to_numpy() == pytest.approx(len(kept) / len(totals))


def test_what_is_kept_is_the_same_and_what_is_trained_is_not(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    folder = make_corpus(32)
    runs = {name: pipeline(folder, tmp_path / "run", name) for name in ("uniform", "balanced", "weighted")}
    for method in ("random", "k-center", "meddel"):
        kept = [kept_of(run, method)["item"].to_list() for run in runs.values()]
        assert kept[0] == kept[1] == kept[2]
    encoders = [run.pretrain("meddel", 0) for run in runs.values()]
    assert len({encoder.path for encoder in encoders}) == 3
    logs = [encoder.table("log.parquet")["loss"].to_list() for encoder in encoders]
    assert logs[0] != logs[1] != logs[2] != logs[0]


def test_uniform_is_the_run_it_always_was(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    folder = make_corpus(24)
    named = pipeline(folder, tmp_path / "run", "uniform")
    usual = Pipeline(
        make_recipe(recipe(folder, folder, tmp_path / "run", budget=0.25, pretrain=dict(TRAINING)))
    )
    assert named.pretrain("random", 0) == usual.pretrain("random", 0)
    assert "weight" not in kept_of(named, "random").columns
    assert "sampling" not in as_json(named.recipe)["pretrain"]
    assert not list((tmp_path / "run").glob("embed-*"))  # random still looks at no image


def test_composites_are_shown_alike(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    folder = make_corpus(24)
    even = pipeline(folder, tmp_path / "run", "uniform", optidel={"grid": 1})
    uneven = pipeline(folder, tmp_path / "run", "weighted", optidel={"grid": 1})
    assert even.pretrain("optidel-paper", 0) == uneven.pretrain("optidel-paper", 0)
    frames = pipeline(folder, tmp_path / "run", "weighted", optidel={"composition": False}, budget=0.125)
    assert kept_of(frames, "optidel-paper")["weight"].mean() == pytest.approx(1)


def test_killed_in_the_choice_and_the_training_the_same_bytes_come_out(
    make_corpus: Make, tmp_path: Path
) -> None:
    corpus = make_corpus(24)
    changes = {"methods": ["random"], "budget": 0.25, "pretrain": {**TRAINING, "sampling": "balanced"}}
    assert killed_run(corpus, tmp_path / "whole", changes, []) == ["done"]
    assert killed_run(corpus, tmp_path / "killed", changes, ["select:1", "pretrain:1"])[-1] == "done"
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_a_bench_compares_samplings_as_variants_and_a_ranking_serves_both(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    variants = {
        name: {"method": "k-center", "pretrain": {"sampling": name}} for name in ("balanced", "weighted")
    }
    lists = {"methods": ["random", "k-center", *variants], "seeds": [0], "budgets": [0.25, 0.125]}
    bench = make_bench(values(make_corpus(32), labelled, variants=variants, **lists))
    outcome = run_bench(bench, tmp_path / "bench")
    assert (outcome.done, outcome.failed) == (9, ())
    names = {trained.method for trained in trained_sets(tmp_path / "bench")}
    assert {"balanced", "weighted", "k-center"} <= names
