"""Options that several commands share, the recipe they make, and how results are printed."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optidel.cli.together import started_together

if TYPE_CHECKING:
    from optidel.recipe import Recipe


class PresetName(StrEnum):
    """Model sizes."""

    tiny = "tiny"
    small = "small"
    base = "base"
    large = "large"
    huge = "huge"


class NameStyle(StrEnum):
    """How pages and exports call images."""

    plain = "plain"
    hashed = "hashed"


# An option that stands in a recipe too has no default here: None leaves the recipe's value alone. Its help
# names the default of the recipe instead, and `show_default=False` keeps Typer from printing None.
Names = Annotated[
    NameStyle,
    typer.Option(
        "--names", help="hashed shows keyed hashes in place of file names, for what leaves this machine."
    ),
]
Images = Annotated[
    str | None,
    typer.Argument(
        help="Folder of unlabelled images, searched through, or its URL; may stand in the recipe.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Run folder; made if missing, continued if there.", show_default=False),
]
Labelled = Annotated[
    str | None,
    typer.Option(
        "--labelled",
        help="Folder with images/ and masks/ of the same stem, or a known set.",
        show_default=False,
    ),
]
Methods = Annotated[
    str | None,
    typer.Option(
        "--methods",
        help="Comma-separated.  [default: full,random,meddel,optidel,optidel-paper]",
        show_default=False,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option("--budget", help="Fraction of the corpus to keep.  [default: 0.05]", show_default=False),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="Comma-separated whole numbers.  [default: 0]", show_default=False),
]
PresetOption = Annotated[
    PresetName | None, typer.Option("--preset", help="Model size.  [default: tiny]", show_default=False)
]
Config = Annotated[
    Path | None, typer.Option("--config", help="Recipe in TOML; options given here win.", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any key of the recipe, such as `pretrain.steps=2000`; may be given again.",
        show_default=False,
    ),
]
TagsFile = Annotated[
    Path | None,
    typer.Option(
        "--tags",
        help="tags.csv as the gallery saves it: frames tagged drop go, those tagged keep stay.",
        show_default=False,
    ),
]
TargetFolder = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Folder with some tens of unlabelled images that the methods target-… aim at.",
        show_default=False,
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="Who does the shards: local, slurm, ray or ray://HOST:PORT.  [default: local]",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Processes or actors that do the shards.  [default: this process alone]",
        show_default=False,
        min=1,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]


# What a person would do after a step, with the run folder in place of the braces.
NEXT = {
    "index": "`optidel audit` with the same options says what is blank, burned in or there twice",
    "audit": "`optidel select` with the same options and --methods optidel --budget 0.05 chooses",
    "embed": "`optidel gallery {out}` shows a map of the images; `optidel select` chooses among them",
    "select": "`optidel gallery {out}` shows what was kept and why; `optidel export {out}` hands it on",
    "patches": "`optidel compose` with the same options makes new images of them",
    "compose": "`optidel gallery {out}` shows them beside their sources; `optidel export {out}` writes them",
    "pretrain": "`optidel evaluate` with --labelled DIR tests the encoders; each is a folder encoder/",
    "evaluate": "`optidel run` with the same options adds the table and the report",
    "run": "`optidel gallery {out}` shows what was kept and why; `optidel export {out}` hands it on",
}


def say_next(step: str, out: Path | str) -> None:
    """One line on standard error: what comes next."""
    from optidel.progress import say

    say(f"next: {NEXT[step].format(out=out)}")


def print_json(value: object) -> None:
    """One JSON value on one line of standard output, as ``--json`` promises."""
    print(json.dumps(value))


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were typed: an option left out is None and leaves the recipe's value alone."""
    present = {}
    for name, value in values.items():
        # None alone: 0 and an empty text were typed.
        if value is not None:
            present[name] = value
    return present


def comma_separated(seeds: str | None) -> list[int] | None:
    """The value of ``--seeds``.

    Raises:
        RecipeError: an entry is no whole number.
    """
    from optidel.errors import RecipeError

    if seeds is None:
        return None
    try:
        return [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise RecipeError(
            f"seeds must be whole numbers with commas between, got {seeds!r}; pass 0,1,2"
        ) from None


def recipe_of(
    images: str | None,
    out: Path | None,
    *,
    labelled: str | None = None,
    methods: str | None = None,
    budget: float | None = None,
    seeds: str | None = None,
    preset: PresetName | None = None,
    config: Path | None = None,
    settings: list[str] | None = None,
    tags: Path | None = None,
    target: str | None = None,
    executor: str | None = None,
    workers: int | None = None,
) -> "Recipe":
    """The recipe of a command: the TOML file where there is one, the options typed on top, ``--set`` last.

    Raises:
        RecipeError: the file or an option cannot be used, or processes cannot train it together.
    """
    from optidel.recipe import check_together, make_recipe, read_values, set_value

    names = None
    if methods is not None:
        stripped = [name.strip() for name in methods.split(",")]
        # A comma at the end, as a shell loop leaves it, names no method.
        names = [name for name in stripped if name]
    options = {
        "images": images,
        "out": out and str(out),
        "labelled": labelled,
        "methods": names,
        "budget": budget,
        "seeds": comma_separated(seeds),
        "preset": preset and preset.value,
    }
    values = read_values(config) if config else {}
    values = values | without_none(options)
    doing = without_none({"executor": executor, "workers": workers})
    if doing:
        values["work"] = {**values.get("work", {}), **doing}
    if tags is not None:
        values["corpus"] = {**values.get("corpus", {}), "tags": str(tags)}
    if target is not None:
        values["selection"] = {**values.get("selection", {}), "target": target}
    for setting in settings or []:
        set_value(values, setting)
    recipe = make_recipe(values)
    together = started_together()
    if together:
        check_together(recipe, together[1])
    return recipe
