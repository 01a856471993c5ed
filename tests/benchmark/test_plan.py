import tomllib
from pathlib import Path
from typing import Any

import pytest

from optidel.benchmark.load import load_bench, make_bench
from optidel.benchmark.plan import key_of, recipe_of, trials
from optidel.errors import RecipeError
from optidel.recipe import load_recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
GIVEN: dict[str, Any] = {"images": "IMAGES", "labelled": "DIR"}


def trainings(**changes: Any) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(cell.training[:3] for cell in trials(make_bench(GIVEN | changes))))


def test_every_prefix_is_a_fair_answer() -> None:
    found = trainings(methods=["meddel", "random", "full"], budgets=[0.05, 0.01], seeds=[3, 1])
    one = [
        ("scratch", 0.0, 3),
        ("full", 1.0, 3),
        ("random", 0.05, 3),
        ("meddel", 0.05, 3),
        ("random", 0.01, 3),
        ("meddel", 0.01, 3),
    ]
    assert found == one + [(method, budget, 1) for method, budget, _ in one]


def test_further_grids_come_after_and_repeat_nothing() -> None:
    also = [{"methods": ["random", "meddel"], "budgets": [0.05, 0.2], "seeds": [0]}]
    found = trainings(methods=["full", "random"], budgets=[0.05], seeds=[0, 1], also=also)
    assert found[:6] == [
        (m, b, s) for s in (0, 1) for m, b in (("scratch", 0.0), ("full", 1.0), ("random", 0.05))
    ]
    assert found[6:] == [("meddel", 0.05, 0), ("random", 0.2, 0), ("meddel", 0.2, 0)]


def test_axes_multiply() -> None:
    bench = make_bench(
        GIVEN
        | {
            "labelled": ["A", "B"],
            "objectives": ["mae", "simclr"],
            "compute": ["steps", "epochs"],
            "protocols": ["fine-tune", "probe"],
            "seeds": [0],
            "methods": ["full"],
        }
    )
    assert (
        len(trials(bench)) == len(set(trials(bench))) == 2 * 2 * 2 * 2 * 2
    )  # scratch and full, 2 tasks, objectives, rules, protocols
    assert len({key_of(bench, cell) for cell in trials(bench)}) == 32


def test_a_task_may_be_held_out_and_name_its_protocols() -> None:
    tasks = {
        "polyps": {"labelled": "A"},
        "lungs": {"labelled": "B", "protocols": ["probe"]},
        "test": {"labelled": "C", "held_out": True},
    }
    given = {"images": "IMAGES", "tasks": tasks, "methods": ["full"], "seeds": [0]}
    given |= {"protocols": ["fine-tune", "probe"]}
    found = [(cell.method, cell.task, cell.protocol) for cell in trials(make_bench(given))]
    one = [("polyps", "fine-tune"), ("polyps", "probe"), ("lungs", "probe")]
    assert found == [(method, *pair) for method in ("scratch", "full") for pair in one]
    asked = trials(make_bench(given | {"also": [{"tasks": ["test"]}]}))
    assert [(cell.task, cell.protocol) for cell in asked[6:]] == [
        ("test", "fine-tune"),
        ("test", "probe"),
    ] * 2


def test_the_evidence_compares_on_the_tuning_split_and_holds_the_test_split_out() -> None:
    """And every prefix is fair: the first cells are those of all methods at 5 % and the first seed."""
    folders = {name: f"{name}-folder" for name in ("polyps", "polyps-test", "nuclei", "lungs")}
    bench = load_bench(EXAMPLES / "evidence.toml", {"images": "IMAGES", "labelled": folders})
    planned = trials(bench)
    assert not [cell for cell in planned if cell.task == "polyps-test"]
    first = list(dict.fromkeys((cell.method, cell.budget) for cell in planned if cell.seed == 0))[
        : 1 + len(bench.methods)
    ]
    assert first == [
        ("scratch", 0.0),
        ("full", 1.0),
        ("random", 0.05),
        *((m, 0.05) for m in bench.methods if m not in ("full", "random")),
    ]
    assert {"optidel-paper", "meddel"} <= set(bench.methods)
    assert len({*bench.methods} - {"full", "random"}) >= 8
    assert set(bench.seeds) == {cell.seed for cell in planned if cell.budget == 0.05}
    assert {0.01, 0.05, 0.1, 0.25} <= {cell.budget for cell in planned}
    assert {cell.protocol for cell in planned if cell.task in ("nuclei", "lungs")} == {"probe"}
    once = load_bench(
        EXAMPLES / "evidence.toml",
        {"images": "IMAGES", "labelled": folders, "also": [{"tasks": ["polyps-test"]}]},
    )
    assert len([cell for cell in trials(once) if cell.task == "polyps-test"]) == 2 * len(bench.seeds) * (
        1 + len(bench.methods)
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_can_be_read(path: Path) -> None:
    """A bench, or a recipe, whose options are all known and whose every cell has a recipe."""
    keys = tomllib.loads(path.read_text())
    overrides: dict[str, Any] = {"images": "IMAGES"}
    if "budget" in keys:
        assert load_recipe(path, overrides | {"out": "OUT"}).methods
        return
    tasks = keys.get("tasks", {"labelled": {}})
    if not all("labelled" in options for options in tasks.values()):
        overrides["labelled"] = dict.fromkeys(tasks, "DIR")
    planned = trials(load_bench(path, overrides))
    assert {"full", "random"} <= {trial.method for trial in planned}


@pytest.mark.parametrize("name", ["choosing-pays", "evidence-h"])
def test_the_references_come_before_what_they_judge(name: str) -> None:
    """Full and random have their seeds before anything is selected, and H is measured on whole groups."""
    bench = load_bench(EXAMPLES / f"{name}.toml")
    planned = trials(bench)
    first = next(number for number, trial in enumerate(planned) if trial.method == "optidel")
    references = {(trial.method, trial.budget, trial.seed) for trial in planned[:first]}
    for seed in (0, 1, 2):
        assert {("full", 1.0, seed), ("random", 0.01, seed), ("random", 0.002, seed)} <= references
    corpus, pretrain = bench.recipe["corpus"], bench.recipe["pretrain"]
    assert corpus["manifest"]
    assert corpus["holdout"] == 0.03
    assert pretrain["views"] == "flip-only"


@pytest.mark.parametrize("name", ["meddel-table3", "optidel-paper"])
def test_a_published_protocol_and_its_twin_ask_the_same(name: str) -> None:
    published = load_bench(EXAMPLES / f"{name}.toml", {"images": "IMAGES"})
    twin = load_bench(EXAMPLES / f"{name}-tiny.toml", {"images": "IMAGES"})
    for axis in ("methods", "budgets", "compute", "objectives", "protocols", "seeds", "also"):
        assert getattr(published, axis) == getattr(twin, axis)
    assert published.recipe.get("method") == twin.recipe.get("method")
    pretrain = published.recipe["pretrain"]
    assert published.recipe["preset"] == "base"
    assert (pretrain["batch"], pretrain["lr"]) == (16, 1.5e-4)
    assert pretrain["steps"] == 88_282 * 200 // 16  # equal compute


def test_a_cell_is_a_recipe() -> None:
    variant = {"by-pvi": {"method": "optidel-paper", "optidel": {"scorer": "pvi"}}}
    bench = make_bench(
        {
            "images": "IMAGES",
            "methods": ["by-pvi"],
            "budgets": [0.1],
            "seeds": [7],
            "variants": variant,
            "optidel": {"grid": 9},
        }
        | {
            "tasks": {"few": {"labelled": "DIR", "train": 50}},
            "evaluate": {"test": 30},
            "pretrain": {"steps": 10},
        }
    )
    cell = next(cell for cell in trials(bench) if cell.method == "by-pvi" and cell.protocol == "probe")
    recipe = recipe_of(bench, cell, "OUT")
    assert (recipe.methods, recipe.budget, recipe.seeds, recipe.labelled) == (
        ("optidel-paper",),
        0.1,
        (7,),
        "DIR",
    )
    assert (recipe.optidel.scorer, recipe.optidel.grid, recipe.pretrain.steps) == ("pvi", 9, 10)
    assert (recipe.evaluate.train, recipe.evaluate.test, recipe.evaluate.protocols) == (50, 30, ("probe",))


def test_a_variant_changes_parameters_of_its_method() -> None:
    bench = make_bench(
        GIVEN
        | {
            "methods": ["random", "meddel", "near"],
            "method": {"meddel": {"k": 5}, "k-center": {}},
            "variants": {"near": {"method": {"meddel": {"keep": "nearest"}}}},
        }
    )
    recipes = {cell.method: recipe_of(bench, cell, "OUT") for cell in trials(bench)}
    assert recipes["near"].methods == ("meddel",)
    assert recipes["near"].method["meddel"] == {"k": 5, "keep": "nearest"}
    assert recipes["meddel"].method["meddel"] == {"k": 5}
    keys = {cell.method: key_of(bench, cell) for cell in trials(bench) if cell.seed == 0}
    plain = make_bench(GIVEN | {"methods": ["random"]})
    # Parameters of another method leave a cell as it is.
    assert keys["random"] in {key_of(plain, cell) for cell in trials(plain)}
    assert keys["meddel"] != keys["near"]


def test_the_key_of_a_cell_knows_options_but_no_paths() -> None:
    def keys(**changes: Any) -> list[str]:
        bench = make_bench({"images": "IMAGES", "tasks": {"polyps": {"labelled": "DIR"}}} | changes)
        return [key_of(bench, cell) for cell in trials(bench)]

    assert keys() == keys(images="ELSEWHERE", tasks={"polyps": {"labelled": "OTHER"}})
    assert not set(keys()) & set(keys(pretrain={"steps": 801}))
    assert set(keys(seeds=[0])) < set(keys(seeds=[0, 1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metods": ["full"]}, "unknown key 'metods'; did you mean 'methods'"),
        ({"budget": 0.05}, "it is the list 'budgets' here"),
        ({"methods": ["medel"]}, "unknown method 'medel'; did you mean 'meddel'"),
        ({"methods": []}, "methods is empty"),
        ({"seeds": [1, 1]}, "seeds holds an entry twice"),
        ({"budgets": [5]}, r"budget must be in \(0, 1\], got 5"),
        ({"objectives": ["simclear"]}, "objectives.0"),
        ({"pretrain": {"stepps": 3}}, "unknown key 'pretrain.stepps'; did you mean 'steps'"),
        (
            {"tasks": {"few": {"labelled": "DIR", "trian": 3}}},
            "unknown key 'evaluate.trian'; did you mean 'train'",
        ),
        (
            {"tasks": {"few": {"labelled": "DIR", "protocols": ["prob"]}}},
            "unknown protocol 'prob'; did you mean 'probe'",
        ),
        ({"tasks": {"few": {"labelled": "DIR", "held_out": "yes"}}}, "held_out is true or false, got 'yes'"),
        ({"also": [{"seed": [1]}]}, "unknown key 'also.0.seed'; did you mean 'seeds'"),
        ({"also": [{"tasks": ["DIRR"]}]}, "unknown task 'DIRR'; did you mean 'DIR'"),
        ({"variants": {"random": {"method": "optidel-paper"}}}, "has the name of a method"),
        ({"variants": {"mine": {"method": "optidal"}}}, "did you mean 'optidel'"),
        ({"variants": {"mine": {"method": {"optidal": {}}}}}, "did you mean 'optidel'"),
        ({"variants": {"mine": {"method": {"meddel": {}, "d4": {}}}}}, "holds 2 methods"),
        (
            {"methods": ["mine"], "variants": {"mine": {"method": {"meddel": {"keeep": 1}}}}},
            "no parameter 'keeep'; did you mean 'keep'",
        ),
        ({"method": {"meddel": {"keep": "middle"}}}, r"method\.meddel\.keep: .*got 'middle'"),
        ({"images": ""}, "images is missing"),
        ({"labelled": ""}, "a labelled set is missing"),
        ({"labelled": None, "tasks": {"few": {"labelled": "DIR", "held_out": True}}}, "nothing to run"),
        (
            {
                "labelled": None,
                "protocols": ["fine-tune"],
                "tasks": {"few": {"labelled": "DIR", "protocols": ["probe"]}},
            },
            "nothing to run",
        ),
    ],
)
def test_refusals_name_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_bench(GIVEN | changes)


def test_settings_of_the_command_line_have_the_last_word(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text('images = "A"\nmethods = ["random"]\n[tasks.polyps]\nlabelled = "DIR"\n')
    settings = ["pretrain.steps=7", "seeds=[3, 4]", "tasks.polyps.train=12", "images=B"]
    bench = load_bench(path, {"seeds": [0]}, settings)
    assert (bench.images, list(bench.seeds)) == ("B", [3, 4])
    recipe = recipe_of(bench, trials(bench)[0])
    assert (recipe.pretrain.steps, recipe.evaluate.train) == (7, 12)
    with pytest.raises(RecipeError, match=r"unknown key 'pretrain\.stepz'; did you mean 'steps'"):
        load_bench(path, settings=["pretrain.stepz=7"])
    with pytest.raises(RecipeError, match=r"unknown key 'seedz'"):
        load_bench(path, settings=["seedz=[1]"])
    with pytest.raises(RecipeError, match=r"images is 'A' and holds no keys; it cannot take images\.deep=3"):
        load_bench(path, settings=["images.deep=3"])


def test_a_file_that_is_none() -> None:
    with pytest.raises(RecipeError, match="cannot read the bench file nowhere"):
        load_bench("nowhere")


def test_every_protocol_is_run_where_none_is_named() -> None:
    bench = make_bench(GIVEN | {"methods": ["full"], "seeds": [0]})
    assert [trial.protocol for trial in trials(bench)] == ["fine-tune", "probe", "ridge"] * 2
