"""A recipe is refused with the place, the value and the nearest name, or is complete."""

from pathlib import Path

import pytest

from optidel.errors import RecipeError
from optidel.recipe import load_recipe, make_recipe, set_value

BASE = {"images": "a", "labelled": "b", "out": "c"}


def test_defaults_and_presets() -> None:
    recipe = make_recipe(BASE)
    assert recipe.methods == ("full", "random", "meddel", "optidel", "optidel-paper")
    assert make_recipe({**BASE, "preset": "small"}).pretrain.steps == 8000
    assert make_recipe({**BASE, "preset": "small", "pretrain": {"steps": 7}}).pretrain.steps == 7
    assert make_recipe({**BASE, "preset": "huge"}).pretrain.lr == 1.5e-4 * 1024 / 256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgte": 0.1}, "unknown key 'budgte'; did you mean 'budget'?"),
        ({"pretrain": {"stepz": 1}}, "unknown key 'pretrain.stepz'; did you mean 'steps'?"),
        ({"budget": 0.0}, r"budget must be in \(0, 1\], got 0; pass 0.05"),
        ({"budget": 1.5}, r"got 1.5"),
        ({"pretrain": {"steps": 0}}, "pretrain.steps: input should be greater than or equal to 1, got 0"),
        ({"preset": "giant"}, "preset: .*got 'giant'"),
        ({"methods": []}, "methods is empty"),
        ({"seeds": [1, 1]}, "seeds holds an entry twice"),
    ],
)
def test_refusals(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_recipe({**BASE, **change})


def test_missing_key() -> None:
    with pytest.raises(RecipeError, match="images: is missing"):
        make_recipe({"out": "c"})


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('images = "a"\nout = "c"\nbudget = 0.2\n[optidel]\ngrid = 9\n')
    recipe = load_recipe(path, {"budget": 0.3})
    assert recipe.budget == 0.3
    assert recipe.optidel.grid == 9
    path.write_text("images = ")
    with pytest.raises(RecipeError, match="is no TOML"):
        load_recipe(path)
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(tmp_path / "gone.toml")


def test_a_setting_of_the_command_line() -> None:
    values: dict[str, object] = {**BASE, "pretrain": {"steps": 3}}
    for assignment in (
        "budget=0.2",
        "pretrain.lr = 1e-4",
        "methods=['random', 'meddel']",
        "method.meddel.keep=nearest",
        "method.hierarchical-kmeans.k=3",
        "corpus.manifest=data/files.csv",
        "patches.filter=false",
        'corpus.limits.seconds="3"',
    ):
        set_value(values, assignment)
    recipe = make_recipe(values)
    assert (recipe.budget, recipe.pretrain.steps, recipe.pretrain.lr) == (0.2, 3, 1e-4)
    assert recipe.methods == ("random", "meddel")
    assert recipe.method == {"meddel": {"keep": "nearest"}, "hierarchical-kmeans": {"k": 3}}
    assert recipe.corpus.manifest == "data/files.csv"
    assert recipe.corpus.limits.seconds == 3
    assert not recipe.patches.filter


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("budget", "a setting is KEY=VALUE, got 'budget'"),
        ("=3", "a setting is KEY=VALUE"),
        ("pretrain.stepz=3", r"unknown key 'pretrain\.stepz'; did you mean 'steps'\?"),
        ("pretain.steps=3", r"unknown key 'pretain'; did you mean 'pretrain'\?"),
        ("budget=[0.1", "is no TOML"),
        ("budget=0.1 0.2", "is no TOML"),
        ("budget=", "is no TOML"),
        ("images.deep=3", "images is 'a' and holds no keys"),
    ],
)
def test_settings_that_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        set_value(dict(BASE), assignment)
