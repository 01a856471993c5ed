"""Scorers that a recipe can choose: learnability from two states of the warm-up, and error over variance."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import bytes_of, killed_run
from nano import recipe
from nano_bench import values

from optidel import methods
from optidel.benchmark import forecast, make_bench, run_bench
from optidel.errors import InputError, RecipeError
from optidel.models.encoders import STD, load_mae
from optidel.pipeline.checkpoints import checkpoints, early_state
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps.hardness import patch_variance
from optidel.pipeline.weights import Weights
from optidel.recipe import as_json, make_recipe
from optidel.vinformation.models import masked_errors

Make = Callable[..., Path]
SCORERS = ("learnability", "scale-free")


def pipeline(images: Path, out: Path, scorer: str, **changes: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, images, out, selection={"scorer": scorer}, **changes)))


def test_learnability_is_the_share_of_the_early_error_that_the_warm_up_took_off(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(24), tmp_path / "run", "learnability", encoder={"steps": 12})
    images = np.asarray(run.pixels.array("pixels.npy"))
    folders = [Path(state.folder) for state in checkpoints(run.mae)]
    assert folders[0] == early_state(run.mae)
    early, late = (masked_errors(load_mae(folder).eval(), images, 0) for folder in (folders[0], folders[-1]))
    hardness = run.hardness("learnability")
    assert hardness is not None
    found = hardness.array("difficulty.npy")
    np.testing.assert_allclose(found, (early - late) / early, atol=1e-5)
    assert found.mean() > 0  # it learnt something


def test_scale_free_difficulty_is_that_of_patches_one_by_one(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(12), tmp_path / "run", "scale-free")
    images = np.asarray(run.pixels.array("pixels.npy")) / 255
    maps = np.asarray(run.embed.array("error_map.npy"), np.float64)
    hardness = run.hardness("scale-free")
    assert hardness is not None
    unit = np.mean(np.square(STD))
    for image, errors, value in zip(images, maps, hardness.array("difficulty.npy"), strict=True):
        terms = []
        for row in range(4):
            for column in range(4):
                patch = image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(-1, 3)
                variance = np.mean(patch.var(axis=0) / np.square(STD))
                if variance * unit > 1 / (12 * 255**2):
                    terms.append(np.log(errors[row, column] / variance) / 2)
        assert value == pytest.approx(np.mean(terms), abs=1e-6)


def test_the_variance_of_a_patch_is_that_of_its_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    found = patch_variance(images, 2)
    patch = images[1, 4:, :4].reshape(-1, 3) / 255
    assert found[1, 1, 0] == pytest.approx(np.mean(patch.var(axis=0) / np.square(STD)))


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_methods_that_read_a_difficulty_read_the_chosen_one(
    scorer: str, nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    run = pipeline(make_corpus(24), tmp_path / "run", scorer)
    hardness = run.hardness(scorer)  # type: ignore[arg-type]
    assert hardness is not None
    difficulty = np.asarray(hardness.array("difficulty.npy"))
    for method in ("hardest", "ccs", "optidel"):
        vectors = np.asarray(run.compared.array("vectors.npy"))
        expected = methods.select(vectors, method, 3, difficulty=difficulty)
        table = run.select(method, 0).table("selection.parquet").filter("kept").sort("rank")
        assert table["item"].to_list() == expected.indices.tolist()
    for method in ("meddel", "random"):  # which read none, share their choice with every other scorer
        usual = Pipeline(make_recipe(recipe(Path(run.recipe.images), Path("x"), tmp_path / "run")))
        assert run.select(method, 0) == usual.select(method, 0)
    assert "hardness" not in run.select("pvi", 0).inputs


@pytest.mark.parametrize("scorer", SCORERS)
def test_key_patches_can_be_chosen_by_them_too(
    scorer: str, nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    sections: dict[str, Any] = {"optidel": {"scorer": scorer, "grid": 1, "diversity": False}}
    folder = make_corpus(24)
    changes = {"methods": ["optidel-paper"], **sections}
    run = Pipeline(make_recipe(recipe(folder, labelled, tmp_path / "run", **changes)))
    assert run.patch_hardness is not None
    difficulty = np.asarray(run.patch_hardness.array("difficulty.npy"))
    if scorer == "learnability":
        crops = np.asarray(run.patches.array("pixels.npy"))
        states = checkpoints(run.mae)
        early, late = (masked_errors(load_mae(state.folder).eval(), crops, 0) for state in states[::2])
        np.testing.assert_allclose(difficulty, (early - late) / early, atol=1e-5)
    table = run.select("optidel-paper", 0).table("selection.parquet").filter("kept").sort("rank")
    assert table["item"].to_list() == np.argsort(-difficulty, kind="stable")[:3].tolist()
    run.finish()
    assert "reconstruction error of each key patch" in (tmp_path / "run" / "report.html").read_text()


def test_the_usual_scorer_is_no_part_of_a_choice(nano: object, make_corpus: Make, tmp_path: Path) -> None:
    folder = make_corpus(24)
    usual = Pipeline(make_recipe(recipe(folder, folder, tmp_path / "run")))
    named = pipeline(folder, tmp_path / "run", "error")
    assert usual.select("hardest", 0) == named.select("hardest", 0)
    assert "scorer" not in as_json(named.recipe)["selection"]
    assert as_json(pipeline(folder, tmp_path / "run", "pvi").recipe)["selection"]["scorer"] == "pvi"
    by_pvi = pipeline(folder, tmp_path / "run", "pvi").select("hardest", 0).table("selection.parquet")
    own = usual.select("pvi", 0).table("selection.parquet")
    assert by_pvi["kept"].to_list() == own["kept"].to_list()
    with pytest.raises(RecipeError, match=r"selection\.scorer: input should be 'error', 'pvi'"):
        make_recipe({"images": "a", "out": "b", "selection": {"scorer": "hard"}})


def test_without_an_early_state_learnability_says_what_to_do(
    nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"and somewhere is one state; leave encoder\.weights out"):
        early_state(Weights(name="somewhere"))
    run = pipeline(make_corpus(12), tmp_path / "run", "learnability", encoder={"steps": 1})
    with pytest.raises(InputError, match=r"warmup-\w+ holds no early state: .*; delete that folder"):
        run.select("hardest", 0)


def test_killed_in_the_step_the_same_bytes_come_out(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus(24)
    changes = {"methods": ["hardest"], "selection": {"scorer": "learnability"}}
    assert killed_run(corpus, tmp_path / "whole", changes, []) == ["done"]
    kills = ["hardness:1", "hardness:2"]
    assert killed_run(corpus, tmp_path / "killed", changes, kills) == ["killed"] * 2 + ["done"]
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_a_bench_compares_scorers_as_variants(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    variants = {
        name: {"method": "optidel", "selection": {"scorer": name}} for name in ("learnability", "scale-free")
    }
    lists = {"methods": ["random", "optidel", *variants], "seeds": [0], "budgets": [0.25]}
    bench = make_bench(values(make_corpus(24), labelled, variants=variants, **lists))
    items = {item.what: item.total for item in forecast.forecast(bench, tmp_path / "bench").items}
    assert items["hardness"] == 2
    outcome = run_bench(bench, tmp_path / "bench")
    assert (outcome.done, outcome.failed) == (5, ())
    assert len(list((tmp_path / "bench").glob("hardness-*"))) == 2
    assert len(list((tmp_path / "bench").glob("warmup-*"))) == 1
