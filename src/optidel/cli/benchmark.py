"""The bench: methods against each other over budgets and seeds, its report, and how much data is enough."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from optidel.cli.app import app
from optidel.cli.options import Json, comma_separated


@app.command(
    epilog="Examples: `optidel bench bench.toml --images IMAGES --labelled DIR --out BENCH`, then `optidel bench report BENCH`"
)
def bench(
    what: Annotated[
        str,
        typer.Argument(
            metavar="BENCH.toml|report", help="Bench file, or the word `report`.", show_default=False
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[BENCH]", help="With `report`: the bench's folder.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; made, or continued.", show_default=False)
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Corpus, instead of the file's.", show_default=False)
    ] = None,
    labelled: Annotated[
        list[str] | None,
        typer.Option(
            "--labelled",
            help="Labelled set, instead of the file's; NAME=DIR for one of several.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            help="Comma-separated whole numbers.  [default: the file's, else 0 to 4]",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="i/n: the i-th of n parts, from 0.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the cells, what they share and the time; compute nothing."),
    ] = False,
    pilot: Annotated[
        Path | None,
        typer.Option(
            "--pilot",
            help="With --dry-run: a bench whose spread says what can be detected.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run every method, budget and seed of a bench file, or write the report of a finished or unfinished
    bench.
    """
    from optidel.benchmark import load_bench, run_bench, write_bench_report
    from optidel.benchmark.forecast import forecast
    from optidel.errors import RecipeError

    overrides = {
        "images": images and str(images),
        "labelled": _labelled(labelled),
        "seeds": comma_separated(seeds),
    }
    plan = (
        None
        if what == "report"
        else load_bench(what, {name: value for name, value in overrides.items() if value is not None})
    )
    target = out if plan else folder
    if target is None:
        raise RecipeError(
            "the bench's folder is missing; write `optidel bench report BENCH`, or `optidel bench BENCH.toml --out BENCH`"
        )
    if plan is None:
        page = write_bench_report(target)
        print(json.dumps({"report": str(page)}) if as_json else page)
        return
    part = _part(shard)
    if dry_run:
        _forecast(forecast(plan, target, shard=part, pilot=pilot), as_json)
        return
    outcome = run_bench(plan, target, shard=part)
    written = write_bench_report(target) if outcome.done else None
    if as_json:
        print(json.dumps({"folder": str(target), "report": written and str(written), **asdict(outcome)}))
    else:
        counts = f"{outcome.done} of {outcome.cells} cells done, {len(outcome.failed)} failed, {outcome.stopped} left out"
        print(f"{counts}; report: {written or 'none'}")
    if outcome.failed:
        first = outcome.failed[0]
        typer.echo(
            f"optidel: {len(outcome.failed)} cells failed; the first, {first.cell.method}: {first.reason}",
            err=True,
        )
        raise typer.Exit(1)


@app.command(epilog="Example: `optidel advise BENCH --tolerance 0.01`")
def advise(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN|BENCH", help="Folder of a bench or of a run.", show_default=False)
    ],
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="mIoU that may be lost against full.")
    ] = 0.01,
    as_json: Json = False,
) -> None:
    """How much is enough: the smallest budget that is sure to lose little, or why the data cannot say."""
    from optidel.benchmark.advise import advise as advise_on

    found = advise_on(folder, tolerance=tolerance)
    print(
        json.dumps([asdict(item) | {"sentence": item.sentence} for item in found])
        if as_json
        else "\n".join(item.sentence for item in found)
    )


def _labelled(given: list[str] | None) -> Any:
    """Folders as they stand in a bench file: a list, or a table of names."""
    if not given:
        return None
    named = [text.partition("=") for text in given]
    return {name: path for name, _, path in named} if all(equals for _, equals, _ in named) else given


def _part(shard: str | None) -> tuple[int, int] | None:
    from optidel.errors import RecipeError

    if shard is None:
        return None
    index, slash, count = shard.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise RecipeError(f"--shard must be i/n, got {shard!r}; the first of two parts is 0/2")
    return int(index), int(count)


def _forecast(found: Any, as_json: bool) -> None:
    from optidel.report.page import duration

    if as_json:
        cells = [asdict(cell) | {"done": done} for cell, done in found.cells]
        items = [asdict(item) for item in found.items]
        print(
            json.dumps(
                {
                    "cells": cells,
                    "items": items,
                    "blocks": found.blocks,
                    "seconds": found.seconds,
                    "detectable": found.detectable,
                }
            )
        )
        return
    for cell, done in found.cells:
        budget = "" if cell.method == "scratch" else f" {100 * cell.budget:g} %"
        mark = "done" if done else "    "
        print(
            f"{mark}  seed {cell.seed}  {cell.method}{budget}, {cell.objective}, equal {cell.compute}, {cell.task}, {cell.protocol}"
        )
    print("\nshared and single work, done / all, seconds each")
    for item in found.items:
        origin = "measured" if item.measured else "rule of thumb"
        print(f"  {item.what:<36} {item.done:>4} / {item.total:<4} {item.seconds:>9.1f} s  {origin}")
    print("\nwhat is finished when")
    for name, seconds in found.blocks:
        print(f"  {name:<36} {duration(seconds)}")
    print(f"\nabout {duration(found.seconds)} to go on this machine")
    print("\n".join(found.detectable))
