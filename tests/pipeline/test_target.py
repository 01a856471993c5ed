"""Target-aware methods in a run and a bench: the target is embedded as the corpus is and never trained on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call
from killing import bytes_of, killed_run
from nano import recipe
from nano_bench import values
from pictures import fill
from PIL import Image as PillowImage

from optidel import methods
from optidel.benchmark import forecast, make_bench, run_bench
from optidel.errors import InputError, RecipeError
from optidel.methods import METHODS
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps import target as target_steps
from optidel.recipe import make_recipe

Make = Callable[..., Path]
METHODS_OF_TARGET = ("target-similarity", "target-importance", "target-transport")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Six pictures of the target; two of them are also in the corpus of the tests."""
    folder = tmp_path / "target"
    fill(folder, 6, seed=77)
    return folder


@pytest.fixture
def corpus(make_corpus: Make, target: Path) -> Path:
    """24 frames, two of them of the target, under other names and once as another file format."""
    folder = make_corpus(22)
    for number in (1, 4):
        image = PillowImage.open(target / f"image-{number:03d}.png")
        image.save(folder / f"other-{number}.bmp")
    return folder


def pipeline(images: Path, target: Path, out: Path, **changes: Any) -> Pipeline:
    selection = {"target": str(target)}
    usual: dict[str, Any] = {"methods": ["random", *METHODS_OF_TARGET], "selection": selection}
    return Pipeline(make_recipe(recipe(images, images, out, **(usual | changes))))


@pytest.mark.parametrize("post", ["none", "whiten"])
@pytest.mark.parametrize("method", METHODS_OF_TARGET)
def test_the_run_chooses_what_the_array_function_chooses(
    method: str, post: str, nano: object, corpus: Path, target: Path, tmp_path: Path
) -> None:
    run = pipeline(corpus, target, tmp_path / "run", features={"post": post})
    assert run.target_vectors is not None
    vectors = np.asarray((run.whitened or run.embed).array("vectors.npy"))
    aims = np.asarray(run.target_vectors.array("vectors.npy"))
    assert aims.shape == (6, vectors.shape[1])
    expected = methods.select(vectors, method, 3, target=aims)
    table = run.select(method, 0).table("selection.parquet").filter("kept").sort("rank")
    assert table["item"].to_list() == expected.indices.tolist()


@pytest.mark.parametrize("post", ["none", "whiten"])
def test_target_images_get_the_vectors_that_they_have_as_frames(
    post: str, nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    """The reference is the embedding of the corpus itself: here the target is some of its frames."""
    folder = make_corpus(24)
    run = Pipeline(make_recipe(recipe(folder, folder, tmp_path / "run", features={"post": post})))
    (tmp_path / "some").mkdir()
    for number in (3, 11):
        data = (folder / f"image-{number:03d}.png").read_bytes()
        (tmp_path / "some" / f"{number}.png").write_bytes(data)
    images = target_steps.target_step(run.store, tmp_path / "some", run._reading, run.preset.size)
    whitened_by = run.index if post == "whiten" else None
    seed = run.recipe.encoder.seed
    made = target_steps.target_vectors_step(run.store, images, run.embed, run.mae, None, seed, whitened_by)
    of_frames = (run.whitened or run.embed).array("vectors.npy")
    ids = [frame.id for frame in run.corpus.frames]
    rows = [ids.index("image-011.png"), ids.index("image-003.png")]  # 11.png comes before 3.png
    np.testing.assert_array_equal(made.array("vectors.npy"), of_frames[rows])


def test_no_method_sees_a_target_image(nano: object, corpus: Path, target: Path, tmp_path: Path) -> None:
    run = pipeline(corpus, target, tmp_path / "run", methods=["full", *METHODS_OF_TARGET])
    assert len(run.corpus) == 22
    for method in run.recipe.methods:
        table = run.select(method, 0).table("selection.parquet")
        assert not [name for name in table["id"] if name.startswith("other-")]
    rejected = run.whole.table("rejected.parquet")
    reasons = dict(rejected.select("source", "reason").iter_rows())
    assert reasons["other-1.bmp"] == "is the target image image-001.png"
    assert run.mae.artifact is not None
    assert run.mae.artifact.inputs == {"pixels": run.pixels.content}
    assert len(run.pixels.array("pixels.npy")) == 22


def test_a_target_apart_from_the_corpus_leaves_every_step_as_it_was(
    nano: object, make_corpus: Make, target: Path, tmp_path: Path
) -> None:
    folder = make_corpus(24)
    without = Pipeline(make_recipe(recipe(folder, folder, tmp_path / "run", methods=["meddel"])))
    aiming = pipeline(folder, target, tmp_path / "run")
    assert aiming.index.content == without.index.content
    assert aiming.embed == without.embed
    assert aiming.select("meddel", 0) == without.select("meddel", 0)
    moved = tmp_path / "moved"
    target.rename(moved)
    later = pipeline(folder, moved, tmp_path / "run")
    assert later.target_vectors == aiming.target_vectors


@pytest.mark.parametrize("method", METHODS_OF_TARGET)
def test_the_methods_need_a_target(method: str) -> None:
    made = make_recipe({"images": "a", "out": "b", "methods": ["random", method]})
    with pytest.raises(RecipeError, match=rf"'{method}' needs images of the target; set selection\.target"):
        Pipeline(made)


def test_a_missing_folder_and_one_that_shows_nothing_are_told_before_anything_else(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    folder = make_corpus(12)
    missing = tmp_path / "nowhere"
    run = Pipeline(
        make_recipe(recipe(folder, labelled, tmp_path / "run", selection={"target": str(missing)}))
    )
    with pytest.raises(InputError, match=r"selection\.target: there is no folder .*nowhere; pass a folder"):
        run.finish()
    assert not list((tmp_path / "run").glob("pixels-*"))
    (tmp_path / "dark").mkdir()
    PillowImage.new("RGB", (64, 64)).save(tmp_path / "dark" / "black.png")
    with pytest.raises(InputError, match=r"none of the 1 images of .* shows anything"):
        pipeline(folder, tmp_path / "dark", tmp_path / "run").build("index")
    with pytest.raises(InputError, match="all 12 frames of the corpus are target images"):
        pipeline(folder, folder, tmp_path / "run").build("index")


def test_of_a_large_folder_evenly_spaced_images_are_read(
    nano: object, make_corpus: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_steps, "MOST", 4)
    folder = make_corpus(12)
    many = tmp_path / "many"
    fill(many, 10, seed=5)
    run = pipeline(folder, many, tmp_path / "run")
    assert run.target is not None
    names = run.target.table("frames.parquet")["id"].to_list()
    assert names == [f"image-{number:03d}.png" for number in (0, 3, 6, 9)]


def test_killed_in_every_step_the_same_bytes_come_out(corpus: Path, target: Path, tmp_path: Path) -> None:
    changes = {"methods": ["target-transport"], "selection": {"target": str(target)}}
    assert killed_run(corpus, tmp_path / "whole", changes, []) == ["done"]
    kills = ["target:1", "apart:2", "target-vectors:1"]
    assert killed_run(corpus, tmp_path / "killed", changes, kills) == ["killed"] * 3 + ["done"]
    expected = bytes_of(tmp_path / "whole")
    assert {name.partition("/")[0].rpartition("-")[0] for name in expected} >= {"target-vectors", "apart"}
    assert bytes_of(tmp_path / "killed") == expected


def test_a_run_from_the_command_line_has_them_in_table_and_report(
    nano: object, corpus: Path, target: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    (tmp_path / "recipe.toml").write_text(
        "budget = 0.125\n[encoder]\nsteps = 4\n[pretrain]\nsteps = 4\nbatch = 8\n"
        '[evaluate]\nsteps = 2\nbatch = 4\ntrain = 8\ntest = 8\nprotocols = ["probe"]\n'
    )
    names = ",".join(["random", *METHODS_OF_TARGET])
    options = ("--labelled", labelled, "--target", target, "--methods", names, "--out", out)
    assert call(monkeypatch, "run", corpus, "--config", tmp_path / "recipe.toml", *options) == 0
    page = (out / "report.html").read_text()
    assert all(method in page for method in METHODS_OF_TARGET)
    assert call(monkeypatch, "gallery", out) == 0


def test_a_bench_has_them_and_variants_may_aim_elsewhere(
    nano: object, corpus: Path, target: Path, labelled: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    fill(other, 4, seed=123)
    bench = make_bench(
        values(
            corpus,
            labelled,
            methods=["random", *METHODS_OF_TARGET, "elsewhere"],
            seeds=[0],
            budgets=[0.25],
            selection={"target": str(target)},
            variants={"elsewhere": {"method": "target-similarity", "selection": {"target": str(other)}}},
        )
    )
    items = {item.what: item.total for item in forecast.forecast(bench, tmp_path / "bench").items}
    assert items["target"] == 2
    outcome = run_bench(bench, tmp_path / "bench")
    assert (outcome.done, outcome.failed) == (6, ())
    assert len(list((tmp_path / "bench").glob("apart-*"))) == 2
    assert len(list((tmp_path / "bench").glob("target-vectors-*"))) == 2
    again = run_bench(bench, tmp_path / "bench")
    assert again == outcome


def test_the_table_of_methods_is_what_the_lists_were() -> None:
    assert list(methods.ALL_METHODS) == [*METHODS, *methods.GUIDED_METHODS]
