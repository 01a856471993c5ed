"""The command line: parse, call, print. Progress and remarks go to standard error, results to standard output."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from optidel.errors import OptidelError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Find, or make, the few per cent of a medical image corpus worth pre-training on, and prove it.",
    epilog="Start with `optidel demo`. Every command resumes where a killed one stopped.",
)


def _version(asked: bool) -> None:
    if asked:
        from optidel import __version__

        print(f"optidel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Options that stand before a command."""


class PresetName(StrEnum):
    """Model sizes."""

    tiny = "tiny"
    small = "small"
    base = "base"


Images = Annotated[Path, typer.Argument(help="Folder of unlabelled images, searched through.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="Run folder; made if missing, continued if there.", show_default=False)]
Labelled = Annotated[Path | None, typer.Option("--labelled", help="Folder with images/ and masks/ of the same stem.", show_default=False)]
Methods = Annotated[
    str | None, typer.Option("--methods", help="Comma-separated.  [default: full,random,meddel,optidel]", show_default=False)
]
Budget = Annotated[float | None, typer.Option("--budget", help="Fraction of the corpus to keep.  [default: 0.05]", show_default=False)]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Comma-separated whole numbers.  [default: 0]", show_default=False)]
PresetOption = Annotated[PresetName | None, typer.Option("--preset", help="Model size.  [default: tiny]", show_default=False)]
Config = Annotated[Path | None, typer.Option("--config", help="Recipe in TOML; options given here win.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]


def _recipe(
    images: Path | None,
    out: Path | None,
    labelled: Path | None,
    methods: str | None,
    budget: float | None,
    seeds: str | None,
    preset: PresetName | None,
    config: Path | None,
) -> Any:
    from optidel.errors import RecipeError
    from optidel.recipe import load_recipe, make_recipe

    given: dict[str, Any] = {"images": images and str(images), "out": out and str(out), "labelled": labelled and str(labelled)}
    given |= {"budget": budget, "preset": preset and preset.value}
    given["methods"] = [name.strip() for name in methods.split(",") if name.strip()] if methods is not None else None
    try:
        given["seeds"] = [int(seed) for seed in seeds.split(",")] if seeds is not None else None
    except ValueError:
        raise RecipeError(f"seeds must be whole numbers with commas between, got {seeds!r}; pass 0,1,2") from None
    values = {name: value for name, value in given.items() if value is not None}
    return load_recipe(config, values) if config else make_recipe(values)


def _steps(step: str, recipe: Any, as_json: bool) -> None:
    from optidel.pipeline import Pipeline

    artifacts = Pipeline(recipe).until(step)
    if as_json:
        print(json.dumps([{"step": a.step, "path": str(a.path), "fingerprint": a.fingerprint, "seconds": a.seconds} for a in artifacts]))
    else:
        for artifact in artifacts:
            print(artifact.path)


@app.command(epilog="Example: `optidel index scans/ --out run --json`")
def index(images: Images, out: Out, config: Config = None, as_json: Json = False) -> None:
    """List the frames of a folder; quarantine what cannot be read, with the reason."""
    from optidel.corpus.index import Corpus
    from optidel.pipeline import Pipeline

    artifact = Pipeline(_recipe(images, out, None, None, None, None, None, config)).index
    corpus = Corpus.load(artifact)
    rejected = [{"source": item.source, "reason": item.reason} for item in corpus.rejected]
    flaws = [frame for frame in corpus.frames if frame.flaw]
    if as_json:
        print(json.dumps({"path": str(artifact.path), "frames": len(corpus), "flawed": len(flaws), "rejected": rejected}))
        return
    print(f"{len(corpus)} frames, {len(flaws)} of them blank or dark; {len(rejected)} files quarantined")
    for item in rejected:
        print(f"  {item['source']}: {item['reason']}")
    print(artifact.path)


@app.command(epilog="Example: `optidel embed scans/ --out run --preset tiny`")
def embed(images: Images, out: Out, preset: PresetOption = None, config: Config = None, as_json: Json = False) -> None:
    """Embed every frame and map what a masked autoencoder cannot predict of it."""
    _steps("embed", _recipe(images, out, None, None, None, None, preset, config), as_json)


@app.command(epilog="Example: `optidel select scans/ --out run --methods meddel --budget 0.05`")
def select(
    images: Images,
    out: Out,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Choose what is worth training on: `selection.parquet` says why each item stayed or went."""
    _steps("select", _recipe(images, out, None, methods, budget, seeds, preset, config), as_json)


@app.command(epilog="Example: `optidel patches scans/ --out run`")
def patches(images: Images, out: Out, preset: PresetOption = None, config: Config = None, as_json: Json = False) -> None:
    """Cut key patches out of the frames; refused ones are listed with their reason."""
    _steps("patches", _recipe(images, out, None, None, None, None, preset, config), as_json)


@app.command(epilog="Example: `optidel compose scans/ --out run --budget 0.05`")
def compose(
    images: Images,
    out: Out,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compose the hardest, diverse key patches into new images."""
    _steps("compose", _recipe(images, out, None, "optidel", budget, seeds, preset, config), as_json)


@app.command(epilog="Example: `optidel pretrain scans/ --out run --methods optidel`")
def pretrain(
    images: Images,
    out: Out,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Pre-train an encoder on what each method keeps; each artifact holds a Hugging Face folder `encoder/`."""
    _steps("pretrain", _recipe(images, out, None, methods, budget, seeds, preset, config), as_json)


@app.command(epilog="Example: `optidel evaluate scans/ --labelled polyps/ --out run`")
def evaluate(
    images: Images,
    out: Out,
    labelled: Labelled = None,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Fine-tune and probe each encoder on a labelled set."""
    _steps("evaluate", _recipe(images, out, labelled, methods, budget, seeds, preset, config), as_json)


@app.command(epilog="Example: `optidel run scans/ --labelled polyps/ --methods full,random,meddel,optidel --budget 0.05 --out run`")
def run(
    images: Annotated[Path | None, typer.Argument(help="Folder of unlabelled images; may stand in the recipe.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder; made if missing, continued if there.", show_default=False)] = None,
    labelled: Labelled = None,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Everything: from images to a table and a report."""
    from optidel.pipeline import run as run_recipe

    _show(run_recipe(_recipe(images, out, labelled, methods, budget, seeds, preset, config)), as_json)


@app.command(epilog="Example: `optidel demo --out demo-run`")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the training steps: shows that it runs, not what it is worth.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The whole path on a brain volume that comes with nilearn: nothing to download, a few minutes."""
    from optidel.demo import demo_recipe
    from optidel.pipeline import run as run_recipe

    _show(run_recipe(demo_recipe(out, quick=quick)), as_json)


@app.command(epilog="Example: `optidel report run`")
def report(run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")], as_json: Json = False) -> None:
    """Write the page of a run again from its artifacts."""
    from optidel.report import write_report

    path = write_report(run_folder)
    print(json.dumps({"report": str(path)}) if as_json else path)


@app.command(epilog="Example: `optidel methods --json`")
def methods(as_json: Json = False) -> None:
    """List the selection methods."""
    from optidel.methods import METHODS

    if as_json:
        listed = [{"name": name, "unit": m.unit, "summary": m.summary, "paper": m.paper, "cost": m.cost} for name, m in METHODS.items()]
        print(json.dumps(listed))
        return
    table = Table("method", "chooses", "what", "cost", "paper", box=None, header_style="bold")
    for name, method in METHODS.items():
        table.add_row(name, method.unit, method.summary, method.cost, method.paper or "–")
    Console().print(table)


@app.command(epilog="Example: `optidel theory --experiment angle --out theory/`")
def theory(
    experiment: Annotated[str, typer.Option("--experiment", help="angle, redundancy, shift or difficulty.")] = "angle",
    out: Annotated[Path, typer.Option("--out", help="Folder for the table and the figure.")] = Path("theory"),
    size: Annotated[int, typer.Option("--size", help="Dimensions N of an example.")] = 30,
    repeats: Annotated[int, typer.Option("--repeats", help="Simulations of each cell.")] = 50,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: Json = False,
) -> None:
    """When pruning pays, in a model that can be solved: a max-margin student of a teacher perceptron."""
    from optidel.theory import figure, run_experiment

    table = run_experiment(experiment, size=size, repeats=repeats, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    paths = {"table": out / f"{experiment}.csv", "figure": out / f"{experiment}.html"}
    table.write_csv(paths["table"])
    figure(table).write_html(paths["figure"])
    print(json.dumps({name: str(path) for name, path in paths.items()}) if as_json else "\n".join(map(str, paths.values())))


def _show(result: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"report": str(result.report), "table": result.table.to_dicts(), "cells": result.cells.to_dicts()}))
        return
    table = Table(box=None, header_style="bold")
    for column in ("protocol", "method"):
        table.add_column(column)
    for column in ("images", "mIoU", "95 % interval", "Dice", "NormDEL", "vs random", "vs scratch"):
        table.add_column(column, justify="right")
    for row in result.table.iter_rows(named=True):
        table.add_row(
            row["protocol"],
            row["method"],
            str(row["n_images"] or "–"),
            f"{row['miou']:.3f}",
            f"{row['miou_low']:.3f} – {row['miou_high']:.3f}",
            f"{row['dice']:.3f}",
            "–" if row["normdel"] is None else f"{row['normdel']:.3f}",
            _difference(row, "difference"),
            _difference(row, "difference_scratch"),
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(f"report: {result.report}")


def _difference(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    return f"{row[name]:+.3f} ({row[f'{name}_low']:+.3f} to {row[f'{name}_high']:+.3f})"


def main() -> None:
    """Run the command line; a user error is one sentence on standard error and exit code 2."""
    try:
        app()
    except OptidelError as error:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"optidel: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("optidel: interrupted; run the same command again, it continues")
        sys.exit(130)
