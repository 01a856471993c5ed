"""The steps of a run, the run itself, the demo and the report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from optidel.cli.app import app
from optidel.cli.options import (
    Budget,
    Config,
    Executor,
    Images,
    Json,
    Labelled,
    Methods,
    Names,
    NameStyle,
    Out,
    PresetOption,
    Seeds,
    Settings,
    TagsFile,
    TargetFolder,
    Workers,
    print_json,
    recipe_of,
    say_next,
)

# The pipeline loads torch, so each command imports it when it runs: --help answers at once.
if TYPE_CHECKING:
    from optidel.pipeline.run import Result
    from optidel.recipe import Recipe

# Columns of the result table where standard output is no terminal: the table's own width, so that no row is
# broken in a log file.
PIPED_WIDTH = 150

# Frames in which the demo looks for burned-in text: with 200 it takes some ten seconds.
FULL_SAMPLE, QUICK_SAMPLE = 200, 20


def _run_until(step: str, recipe: "Recipe", as_json: bool) -> None:
    from optidel.pipeline.pipeline import Pipeline

    artifacts = Pipeline(recipe).until(step)
    if not as_json:
        for artifact in artifacts:
            print(artifact.path)
        say_next(step, recipe.out)
        return

    rows = [
        {
            "step": artifact.step,
            "path": str(artifact.path),
            "fingerprint": artifact.fingerprint,
            "seconds": artifact.seconds,
        }
        for artifact in artifacts
    ]
    print_json(rows)


@app.command(epilog="Example: `optidel embed scans/ --out run --preset tiny`")
def embed(
    images: Images = None,
    out: Out = None,
    preset: PresetOption = None,
    config: Config = None,
    settings: Settings = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Embed every frame and map what a masked autoencoder cannot predict of it."""
    recipe = recipe_of(
        images, out, preset=preset, config=config, settings=settings, executor=executor, workers=workers
    )
    _run_until("embed", recipe, as_json)


@app.command(epilog="Example: `optidel select scans/ --out run --methods meddel --budget 0.05`")
def select(
    images: Images = None,
    out: Out = None,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    settings: Settings = None,
    tags: TagsFile = None,
    target: TargetFolder = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Choose what is worth training on: `selection.parquet` says why each item stayed or went."""
    recipe = recipe_of(
        images,
        out,
        methods=methods,
        budget=budget,
        seeds=seeds,
        preset=preset,
        config=config,
        settings=settings,
        executor=executor,
        workers=workers,
        tags=tags,
        target=target,
    )
    _run_until("select", recipe, as_json)


@app.command(epilog="Example: `optidel patches scans/ --out run`")
def patches(
    images: Images = None,
    out: Out = None,
    preset: PresetOption = None,
    config: Config = None,
    settings: Settings = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Cut key patches out of the frames; refused ones are listed with their reason."""
    recipe = recipe_of(
        images, out, preset=preset, config=config, settings=settings, executor=executor, workers=workers
    )
    _run_until("patches", recipe, as_json)


@app.command(epilog="Example: `optidel compose scans/ --out run --budget 0.05`")
def compose(
    images: Images = None,
    out: Out = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    settings: Settings = None,
    tags: TagsFile = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Compose the hardest, diverse key patches into new images."""
    recipe = recipe_of(
        images,
        out,
        methods=_composing_methods(),
        budget=budget,
        seeds=seeds,
        preset=preset,
        config=config,
        settings=settings,
        executor=executor,
        workers=workers,
        tags=tags,
    )
    _run_until("compose", recipe, as_json)


def _composing_methods() -> str:
    """Methods that choose key patches, comma-separated: the others compose nothing."""
    from optidel.methods import ALL_METHODS

    names = []
    for name, method in ALL_METHODS.items():
        if method.unit == "key patch":
            names.append(name)
    return ",".join(names)


@app.command(epilog="Example: `optidel pretrain scans/ --out run --methods optidel`")
def pretrain(
    images: Images = None,
    out: Out = None,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    settings: Settings = None,
    tags: TagsFile = None,
    target: TargetFolder = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Pre-train an encoder on what each method keeps; each artifact holds a Hugging Face folder
    `encoder/`.
    """
    recipe = recipe_of(
        images,
        out,
        methods=methods,
        budget=budget,
        seeds=seeds,
        preset=preset,
        config=config,
        settings=settings,
        executor=executor,
        workers=workers,
        tags=tags,
        target=target,
    )
    _run_until("pretrain", recipe, as_json)


@app.command(epilog="Example: `optidel evaluate scans/ --labelled polyps/ --out run`")
def evaluate(
    images: Images = None,
    out: Out = None,
    labelled: Labelled = None,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    settings: Settings = None,
    tags: TagsFile = None,
    target: TargetFolder = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Fine-tune and probe each encoder on a labelled set."""
    recipe = recipe_of(
        images,
        out,
        labelled=labelled,
        methods=methods,
        budget=budget,
        seeds=seeds,
        preset=preset,
        config=config,
        settings=settings,
        executor=executor,
        workers=workers,
        tags=tags,
        target=target,
    )
    _run_until("evaluate", recipe, as_json)


@app.command(
    epilog=(
        "Example: `optidel run scans/ --labelled polyps/ --methods full,random,meddel,optidel "
        "--budget 0.05 --out run`"
    )
)
def run(
    images: Images = None,
    out: Out = None,
    labelled: Labelled = None,
    methods: Methods = None,
    budget: Budget = None,
    seeds: Seeds = None,
    preset: PresetOption = None,
    config: Config = None,
    settings: Settings = None,
    tags: TagsFile = None,
    target: TargetFolder = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Everything: from images to a table and a report."""
    from optidel.pipeline.run import run as run_recipe

    recipe = recipe_of(
        images,
        out,
        labelled=labelled,
        methods=methods,
        budget=budget,
        seeds=seeds,
        preset=preset,
        config=config,
        settings=settings,
        executor=executor,
        workers=workers,
        tags=tags,
        target=target,
    )
    result = run_recipe(recipe)
    _print_result(result, as_json)
    if not as_json:
        say_next("run", recipe.out)


@app.command(epilog="Example: `optidel demo --out demo-run`")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/demo"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="A tenth of the training steps: shows that it runs, not what it is worth."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """The whole path on real images that come with two packages: nothing to download, some five minutes."""
    from optidel.demo import demo_recipe, hospital_recipe, story
    from optidel.gallery import write_gallery
    from optidel.pipeline.audit import audit
    from optidel.pipeline.run import run as run_recipe
    from optidel.report import write_report

    recipe = demo_recipe(out, quick=quick)
    looked = audit(hospital_recipe(out), sample=QUICK_SAMPLE if quick else FULL_SAMPLE)
    result = run_recipe(recipe)
    page = write_gallery(out)
    write_report(out)  # again: now it leads to the gallery
    chapters = story(out, looked)
    if as_json:
        told = {chapter.title: list(chapter.lines) for chapter in chapters}
        print_json({**_result_values(result), "gallery": str(page), "story": told})
        return
    for chapter in chapters:
        print(f"\n{chapter.title}")
        for line in chapter.lines:
            print(f"  {line}")
    print("\nWhat a segmenter makes of each encoder")
    _print_result(result, as_json=False)
    print(f"gallery: {page}")
    print("next: open the gallery in a browser; then `optidel audit YOUR-IMAGES --out RUN`")


@app.command(epilog="Example: `optidel work run --step embed --shard 0/4`")
def work(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    step: Annotated[
        str, typer.Option("--step", help="Which step: index, pixels, prints, embed or patches.")
    ] = "embed",
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="Share i/n of the shards, i from 0.  [default: what Slurm says, else all]",
            show_default=False,
        ),
    ] = None,
    executor: Executor = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Do a share of the shards of a step that another command has begun, on this or another machine."""
    from optidel.mapping import Plan
    from optidel.pipeline.work import work_step

    plan = Plan(executor=executor or "local", workers=workers)
    done = work_step(run_folder, step, shard, plan)
    if as_json:
        print_json({"step": step, "shards": done.shards, "missing": done.missing})
    else:
        print(f"{step}: {done.shards} shards done, {done.missing} are missing")


@app.command(epilog="Example: `optidel report run --names hashed`")
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    names: Names = NameStyle.plain,
    as_json: Json = False,
) -> None:
    """Write the page of a run again from its artifacts."""
    from optidel.report import write_report

    path = write_report(run_folder, names=names.value)
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)


def _result_values(result: "Result") -> dict[str, Any]:
    return {
        "report": str(result.report),
        "table": result.table.to_dicts(),
        "cells": result.cells.to_dicts(),
    }


def _print_result(result: "Result", as_json: bool) -> None:
    if as_json:
        print_json(_result_values(result))
        return

    table = Table(box=None, header_style="bold")
    for column in ("protocol", "method"):
        table.add_column(column)
    from optidel.outcomes import outcomes_in

    first, second = outcomes_in(result.table.columns)
    heads = ("images", first.label, "95 % interval", second.label, "NormDEL", "vs random", "vs scratch")
    for column in heads:
        table.add_column(column, justify="right")

    for row in result.table.iter_rows(named=True):
        # An encoder from scratch is trained on no image.
        images = str(row["n_images"] or "–")
        normdel = "–" if row["normdel"] is None else f"{row['normdel']:.3f}"
        interval = f"{row[f'{first.name}_low']:.3f} – {row[f'{first.name}_high']:.3f}"
        scores = [f"{row[first.name]:.3f}", interval, f"{row[second.name]:.3f}", normdel]
        versus_random = _difference(row, "difference")
        versus_scratch = _difference(row, "difference_scratch")
        table.add_row(row["protocol"], row["method"], images, *scores, versus_random, versus_scratch)

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    Console(width=width).print(table)
    print(f"report: {result.report}")


def _difference(row: dict[str, Any], name: str) -> str:
    """A difference with its interval, or why there is none; a dash where there is no difference."""
    from optidel.evaluation.claims import MIN_IMAGES, lack_of_data

    difference = row[name]
    if difference is None:
        return "–"
    low = row[f"{name}_low"]
    high = row[f"{name}_high"]
    if low is None or high is None:
        # The images are left out of the question here: the table does not say how many were tested.
        reason = lack_of_data(row["seeds"], MIN_IMAGES)
        return f"{difference:+.3f} ({reason or 'no interval'})"
    return f"{difference:+.3f} ({low:+.3f} to {high:+.3f})"
