"""One select step for every method: it is called under its own name, with its own parameters, and says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from nano import recipe

from optidel import methods
from optidel.errors import RecipeError
from optidel.features.whitening import fit
from optidel.methods import METHODS, Method
from optidel.methods.outcome import outcome
from optidel.pipeline import parameters as method_parameters
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.selections import cut
from optidel.pipeline.steps.select import VERSION
from optidel.recipe import as_json, make_recipe
from optidel.records import Selection
from optidel.store import MANIFEST, Artifact, Workspace

Make = Callable[..., Path]


def pipeline(images: Path, labelled: Path, out: Path, **changes: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, labelled, out, **changes)))


def kept_ids(artifact: Artifact) -> list[str]:
    table = artifact.table("selection.parquet").filter("kept").sort("rank")
    return table["id"].to_list()


def easiest(
    vectors: np.ndarray[Any, Any], count: int, *, difficulty: np.ndarray[Any, Any], skip: int = 0
) -> Selection:
    """The easiest items, without the first ``skip``."""
    order = np.argsort(difficulty, kind="stable")[skip : skip + count]
    return outcome(len(vectors), order, -difficulty[order], dropped="not easy")


EASIEST = Method(
    select=easiest, unit="key patch", summary="easiest", paper="", cost="O(n)", needs="difficulty"
)


def test_a_second_method_of_key_patches_is_called_under_its_own_name(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "easiest", EASIEST)
    changes: dict[str, Any] = {"methods": ["optidel-paper", "easiest"], "optidel": {"diversity": False}}
    run = pipeline(make_corpus(), labelled, tmp_path / "run", **changes)
    result = run.finish()
    error = np.asarray(run.patches.array("error.npy"), np.float64)
    chosen = run.select("easiest", 0)
    table = chosen.table("selection.parquet").filter("kept").sort("rank")
    assert table["item"].to_list() == np.argsort(error, kind="stable")[:12].tolist()
    assert chosen.json("summary.json")["method"] == "easiest"
    assert set(kept_ids(chosen)) != set(kept_ids(run.select("optidel-paper", 0)))
    assert set(result.table["method"]) == {"scratch", "optidel-paper", "easiest"}
    encoders = [run.pretrain(method, 0).path for method in ("optidel-paper", "easiest")]
    assert encoders[0] != encoders[1]


def test_parameters_of_the_recipe_reach_the_method(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "easiest", EASIEST)
    folder = make_corpus()
    usual = pipeline(folder, labelled, tmp_path / "run").select("easiest", 0)
    changes = {"method": {"easiest": {"skip": 3}}}
    other = pipeline(folder, labelled, tmp_path / "run", **changes).select("easiest", 0)
    assert kept_ids(other)[:-3] == kept_ids(usual)[3:]
    assert other.json(MANIFEST)["config"]["params"] == {"skip": 3}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("meddel", {"keep": "nearest", "border": 0.0, "k": 2}),
        ("k-center", {}),
        ("ccs", {}),
        ("semdedup", {}),
        ("hierarchical-kmeans", {}),
    ],
)
@pytest.mark.parametrize("post", ["none", "whiten"])
def test_the_run_chooses_what_the_array_function_chooses(
    post: str,
    method: str,
    params: dict[str, Any],
    nano: object,
    make_corpus: Make,
    labelled: Path,
    tmp_path: Path,
) -> None:
    changes = {"method": {method: params}, "features": {"post": post}}
    run = pipeline(make_corpus(), labelled, tmp_path / "run", **changes)
    vectors = np.asarray(run.embed.array("vectors.npy"))
    if post == "whiten":
        vectors = fit(vectors).transform(vectors)
    expected = methods.select(
        vectors,
        method,
        3,
        difficulty=np.asarray(run.embed.array("error.npy"), np.float64),
        **params,
    )
    table = run.select(method, 0).table("selection.parquet").filter("kept").sort("rank")
    assert table["item"].to_list() == expected.indices.tolist()


def test_a_parameter_at_its_default_is_no_part_of_a_choice(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    folder = make_corpus()
    fingerprints = [
        pipeline(folder, labelled, tmp_path / "run", method=tables).select("meddel", 0).fingerprint
        for tables in ({}, {"meddel": {"keep": "farthest"}}, {"random": {}}, {"meddel": {"keep": "nearest"}})
    ]
    assert len(set(fingerprints[:3])) == 1
    assert fingerprints[3] != fingerprints[0]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"medel": {}}, r"method: unknown method 'medel'; did you mean 'meddel'\?"),
        ({"meddel": {"keeep": "nearest"}}, r"has no parameter 'keeep'; did you mean 'keep'\?"),
        (
            {"meddel": {"keep": "middle"}},
            r"method\.meddel\.keep: input should be 'farthest' or 'nearest', got 'middle'",
        ),
        ({"meddel": {"border": "wide"}}, r"method\.meddel\.border: .*valid number.*got 'wide'"),
        ({"meddel": {"k": [1]}}, r"method\.meddel\.k: .*got \[1\]"),
        ({"random": {"seed": 1}}, r"has no parameter 'seed' \(it has none\)"),
        ({"meddel": {"rng": 1}}, r"has no parameter 'rng'"),
    ],
)
def test_parameters_are_checked_before_anything_is_computed(
    tables: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        pipeline(tmp_path / "none", tmp_path / "none", tmp_path / "run", method=tables)


def test_infinity_and_lists_are_parameters_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def windowed(vectors: object, count: int, *, window: tuple[float, float] = (0.0, 1.0)) -> Selection:
        raise NotImplementedError

    monkeypatch.setitem(
        METHODS, "windowed", Method(select=windowed, unit="frame", summary="", paper="", cost="")
    )
    tables = {"optidel-paper": {"quota_slack": float("inf")}, "windowed": {"window": [0.7, 1]}}
    made = make_recipe({"images": "a", "out": "b", "method": tables})
    assert method_parameters.parameters(made, "optidel-paper") == {"quota_slack": float("inf")}
    assert method_parameters.parameters(made, "windowed") == {"window": (0.7, 1.0)}
    stored = json.loads(json.dumps(as_json(made), allow_nan=False))
    assert make_recipe(stored) == made


def test_a_choice_of_an_earlier_version_is_made_anew_and_says_so(
    nano: object,
    make_corpus: Make,
    labelled: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = make_corpus()
    first = pipeline(folder, labelled, tmp_path / "run").select("random", 0)
    assert "earlier version" not in capfd.readouterr().err

    def write_as_before(work: Workspace) -> None:
        work.write_table("selection.parquet", first.table("selection.parquet"))
        work.write_json("summary.json", first.json("summary.json"))

    run = pipeline(folder, labelled, tmp_path / "other")
    old = run.store.build("select", write_as_before, version=VERSION - 2, config={}).path
    again = run.select("random", 0)
    assert (
        f"select random: {old.name} was made by an earlier version and is made anew" in capfd.readouterr().err
    )
    assert again.content == first.content


def test_what_is_cut_from_a_ranking_keeps_its_first_rows() -> None:
    table = pl.DataFrame(
        {
            "item": [0, 1, 2, 3],
            "id": list("abcd"),
            "kept": [True, True, False, False],
            "rank": [1, 0, -1, -1],
            "gain": [0.5, 0.9, None, None],
            "twin": [None, None, "a", "b"],
            "similarity": [None, None, 0.8, 0.7],
            "reason": ["kept", "kept", "close", "close"],
        }
    )
    first = cut(table, 1)
    assert first["kept"].to_list() == [False, True, False, False]
    assert first["rank"].to_list() == [-1, 0, -1, -1]
    assert first["twin"].to_list() == [None, None, None, "b"]
    assert first["reason"].to_list() == ["ranked below the budget", "kept", "close", "close"]


def test_a_method_that_needs_what_a_run_does_not_have_is_refused_before_it_starts() -> None:
    made = make_recipe({"images": "a", "out": "b", "methods": ["random", "target-importance"]})
    with pytest.raises(RecipeError, match=r"needs images of the target; set selection\.target to a folder"):
        method_parameters.check_methods(made)
