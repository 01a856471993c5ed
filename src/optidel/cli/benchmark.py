"""The bench: methods against each other over budgets and seeds, its report, and how much data is enough."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optidel.cli.app import app
from optidel.cli.options import Json, comma_separated, print_json, without_none

# Each command imports what it runs when it runs, so that --help answers without loading torch.
if TYPE_CHECKING:
    from optidel.benchmark import Bench
    from optidel.benchmark.forecast import Forecast


@app.command(
    epilog=(
        "Examples: `optidel bench bench.toml --images IMAGES --labelled DIR --out BENCH`, "
        "then `optidel bench report BENCH`"
    )
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
        str | None, typer.Option("--images", help="Corpus, instead of the file's.", show_default=False)
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
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any key of the bench file, such as `pretrain.steps=2000`; may be given again.",
            show_default=False,
        ),
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
    from optidel.benchmark import load_bench
    from optidel.errors import RecipeError

    writes_report = what == "report"
    target = folder if writes_report else out
    if target is None:
        raise RecipeError(
            "the bench's folder is missing; write `optidel bench report BENCH`, "
            "or `optidel bench BENCH.toml --out BENCH`"
        )
    if writes_report:
        _write_report(target, as_json)
        return

    options = {
        "images": images,
        "labelled": _labelled_sets(labelled),
        "seeds": comma_separated(seeds),
    }
    plan = load_bench(what, without_none(options), settings or ())
    part = _part(shard)
    if dry_run:
        _print_forecast(plan, target, part, pilot, as_json)
    else:
        _run(plan, target, part, as_json)


def _write_report(folder: Path, as_json: bool) -> None:
    from optidel.benchmark import write_bench_report

    page = write_bench_report(folder)
    if as_json:
        print_json({"report": str(page)})
    else:
        print(page)


def _run(plan: "Bench", folder: Path, part: tuple[int, int] | None, as_json: bool) -> None:
    """Run a bench, write its report, and end with exit code 1 where a cell failed."""
    from optidel.benchmark import run_bench, write_bench_report

    outcome = run_bench(plan, folder, shard=part)
    page = None
    # A report of no trial at all would be an error that hides why each of them failed.
    if outcome.done:
        page = write_bench_report(folder)
    if as_json:
        head = {"folder": str(folder), "report": page and str(page)}
        print_json(head | asdict(outcome))
    else:
        print(
            f"{outcome.done} of {outcome.cells} cells done, {len(outcome.failed)} failed, "
            f"{outcome.stopped} left out; report: {page or 'none'}"
        )

    if outcome.failed:
        count = len(outcome.failed)
        first = outcome.failed[0]
        sentence = f"{count} cells failed; the first, {first.cell.method}: {first.reason}"
        typer.echo(f"optidel: {sentence}", err=True)
        # 1, not 2: the command was right, and the other cells are done.
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

    answers = advise_on(folder, tolerance=tolerance)
    if as_json:
        # The sentence is a property, which asdict leaves out.
        rows = [asdict(answer) | {"sentence": answer.sentence} for answer in answers]
        print_json(rows)
        return
    for answer in answers:
        print(answer.sentence)


def _labelled_sets(texts: list[str] | None) -> Any:
    """Folders as they stand in a bench file: a list, or a table of names where each is typed ``NAME=DIR``."""
    if not texts:
        return None
    pairs = [text.partition("=") for text in texts]
    # One path with an equals sign among several without is a path, and stays one.
    if all(equals for _, equals, _ in pairs):
        return {name: path for name, _, path in pairs}
    return texts


def _part(shard: str | None) -> tuple[int, int] | None:
    """The value of ``--shard``: which part, of how many."""
    from optidel.errors import RecipeError

    if shard is None:
        return None
    index, slash, count = shard.partition("/")
    are_numbers = index.isdigit() and count.isdigit()
    # Whether the part exists is for the bench to say, which Python callers reach too.
    if not (slash and are_numbers):
        raise RecipeError(f"--shard must be i/n, got {shard!r}; the first of two parts is 0/2")
    return int(index), int(count)


def _print_forecast(
    plan: "Bench", folder: Path, part: tuple[int, int] | None, pilot: Path | None, as_json: bool
) -> None:
    from optidel.benchmark.forecast import forecast

    outlook = forecast(plan, folder, shard=part, pilot=pilot)
    if not as_json:
        _print_outlook(outlook)
        return

    cells = [asdict(cell) | {"done": is_done} for cell, is_done in outlook.cells]
    items = [asdict(item) for item in outlook.items]
    print_json(
        {
            "cells": cells,
            "items": items,
            "blocks": outlook.blocks,
            "seconds": outlook.seconds,
            "detectable": outlook.detectable,
        }
    )


def _print_outlook(outlook: "Forecast") -> None:
    from optidel.report.text import duration

    for cell, is_done in outlook.cells:
        percent = 100 * cell.budget
        # An encoder from scratch is trained on nothing, so it has no budget.
        budget = "" if cell.untrained else f" {percent:g} %"
        # Four letters or four blanks, so that the columns stay in line.
        mark = "done" if is_done else "    "
        setting = f"{cell.objective}, equal {cell.compute}, {cell.task}, {cell.protocol}"
        print(f"{mark}  seed {cell.seed}  {cell.method}{budget}, {setting}")

    print("\nshared and single work, done / all, seconds each")
    for item in outlook.items:
        origin = "measured" if item.measured else "rule of thumb"
        print(f"  {item.what:<36} {item.done:>4} / {item.total:<4} {item.seconds:>9.1f} s  {origin}")

    print("\nwhat is finished when")
    for block, seconds in outlook.blocks:
        print(f"  {block:<36} {duration(seconds)}")
    print(f"\nabout {duration(outlook.seconds)} to go on this machine")
    for sentence in outlook.detectable:
        print(sentence)
