"""Options that several commands share, and the recipe they make."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class PresetName(StrEnum):
    """Model sizes."""

    tiny = "tiny"
    small = "small"
    base = "base"


Images = Annotated[
    Path, typer.Argument(help="Folder of unlabelled images, searched through.", show_default=False)
]
Out = Annotated[
    Path, typer.Option("--out", help="Run folder; made if missing, continued if there.", show_default=False)
]
Labelled = Annotated[
    Path | None,
    typer.Option(
        "--labelled",
        help="Folder with images/ and masks/ of the same stem, or a known set.",
        show_default=False,
    ),
]
Methods = Annotated[
    str | None,
    typer.Option(
        "--methods", help="Comma-separated.  [default: full,random,meddel,optidel]", show_default=False
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
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]


def comma_separated(seeds: str | None) -> list[int] | None:
    """The value of ``--seeds``."""
    from optidel.errors import RecipeError

    try:
        return [int(seed) for seed in seeds.split(",")] if seeds is not None else None
    except ValueError:
        raise RecipeError(
            f"seeds must be whole numbers with commas between, got {seeds!r}; pass 0,1,2"
        ) from None


def recipe_of(
    images: Path | None,
    out: Path | None,
    labelled: Path | None,
    methods: str | None,
    budget: float | None,
    seeds: str | None,
    preset: PresetName | None,
    config: Path | None,
) -> Any:
    """The recipe of a command: the TOML file where given, the options typed on top."""
    from optidel.recipe import load_recipe, make_recipe

    given: dict[str, Any] = {
        "images": images and str(images),
        "out": out and str(out),
        "labelled": labelled and str(labelled),
    }
    given |= {"budget": budget, "preset": preset and preset.value}
    given["methods"] = (
        [name.strip() for name in methods.split(",") if name.strip()] if methods is not None else None
    )
    given["seeds"] = comma_separated(seeds)
    values = {name: value for name, value in given.items() if value is not None}
    return load_recipe(config, values) if config else make_recipe(values)
