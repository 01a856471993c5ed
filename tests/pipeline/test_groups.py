"""Group rules of the recipe reach every method, and a run without them is the run it always was."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nano import recipe
from pictures import fill

from optidel.errors import RecipeError
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe
from optidel.store import Store

PATTERN = r"^(?P<patient>p\d+)/"
SIZES = {"p0": 14, "p1": 6, "p2": 4}


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Three patients, one of whom has more than half of the frames."""
    for number, (name, size) in enumerate(SIZES.items()):
        fill(tmp_path / "corpus" / name, size, seed=number)
    return tmp_path / "corpus"


def pipeline(
    folder: Path, groups: str, pattern: str | None = PATTERN, budget: float = 0.375, **changes: Any
) -> Pipeline:
    given = {"corpus": {"pattern": pattern}} if pattern else {}
    values = recipe(
        folder, folder, folder.parent / "run", selection={"groups": groups}, budget=budget, **given, **changes
    )
    return Pipeline(make_recipe(values))


def kept(run: Pipeline, method: str) -> Counter[str]:
    """How many chosen items each patient has."""
    table = run.select(method, 0).table("selection.parquet").filter("kept")
    return Counter(name.partition("/")[0] for name in table["id"])


@pytest.mark.parametrize("method", ["random", "meddel", "optidel-paper"])
def test_spread_takes_even_shares(method: str, nano: object, patients: Path) -> None:
    changes = {"optidel": {"grid": 1}} if method == "optidel-paper" else {}
    assert kept(pipeline(patients, "spread", **changes), method) == {"p0": 3, "p1": 3, "p2": 3}


def test_together_keeps_whole_patients(nano: object, patients: Path) -> None:
    found = kept(pipeline(patients, "together", budget=10 / 24), "meddel")
    assert found.total() == 10
    cut = [name for name, count in found.items() if count != SIZES[name]]
    assert len(cut) <= 1


def test_without_a_rule_nothing_changes(
    nano: object, patients: Path, make_corpus: Callable[..., Path]
) -> None:
    free = pipeline(patients, "none").select("meddel", 0)
    plain = pipeline(patients, "none", pattern=None).select("meddel", 0)
    assert free.fingerprint == plain.fingerprint  # groups alone, without a rule, are no part of a choice
    ruled = pipeline(patients, "spread").select("meddel", 0)
    assert ruled.fingerprint != free.fingerprint
    other = pipeline(patients, "spread", pattern=r"^(?P<patient>p[01])/").select("meddel", 0)
    assert other.fingerprint != ruled.fingerprint  # other groups, another choice
    assert len(list(Store(patients.parent / "run").root.glob("embed-*"))) == 1


def test_frames_without_a_group_are_alone(nano: object, patients: Path) -> None:
    run = pipeline(patients, "spread", pattern=r"^(?P<patient>p0)/", budget=0.5)
    frames = run.index.table("frames.parquet")
    assert frames["group"].null_count() == 10
    found = kept(run, "random")
    assert found == {
        "p0": 2,
        "p1": 6,
        "p2": 4,
    }  # shares are filled like water: the ten lone frames have one each, p0 the rest


def test_a_rule_without_groups_is_refused(nano: object, patients: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"selection.groups is 'spread', but no frame has a known group; .*corpus.pattern"
    ):
        pipeline(patients, "spread", pattern=None).select("meddel", 0)
    with pytest.raises(RecipeError, match=r"selection\.groups"):
        make_recipe({"images": "a", "out": "b", "selection": {"groups": "some"}})
