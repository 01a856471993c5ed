"""The methods and their theory."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from optidel.cli.app import app
from optidel.cli.options import Json, print_json

# Columns of the table of V-information where standard output is no terminal: the table's own width.
PIPED_WIDTH = 140

MEASURES = ("h_null", "h_conditional", "information", "log_det", "vendi")
INFORMATION_COLUMNS = (
    "method",
    "budget",
    "seed",
    "images",
    "H(Y|∅)",
    "H(Y|X)",
    "I_V",
    "log-det",
    "Vendi",
    "I_V gained",
    "mIoU",
)


@app.command(epilog="Example: `optidel methods --json`")
def methods(as_json: Json = False) -> None:
    """List the selection methods."""
    from optidel.methods import ALL_METHODS

    if as_json:
        rows = [
            {
                "name": name,
                "unit": method.unit,
                "summary": method.summary,
                "paper": method.paper,
                "cost": method.cost,
            }
            for name, method in ALL_METHODS.items()
        ]
        print_json(rows)
        return

    table = Table(
        "method",
        "what it keeps; cost with n items, m kept, k clusters, d dimensions; paper",
        box=None,
        header_style="bold",
    )
    for name, method in ALL_METHODS.items():
        # Most methods choose frames, so only another unit is worth a word.
        unit = "" if method.unit == "frame" else f" (chooses {method.unit}es)"
        texts = [text for text in (method.cost, method.paper) if text]
        source = "; ".join(texts)
        table.add_row(name, f"{method.summary}{unit}\n[dim]{source}[/dim]")
    Console(highlight=False).print(table)


@app.command(epilog="Example: `optidel theory --experiment angle --out theory/`")
def theory(
    experiment: Annotated[
        str, typer.Option("--experiment", help="angle, redundancy, shift or difficulty.")
    ] = "angle",
    out: Annotated[Path, typer.Option("--out", help="Folder for the table and the figure.")] = Path("theory"),
    size: Annotated[int, typer.Option("--size", min=2, max=10_000, help="Dimensions N of an example.")] = 30,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=1_000_000, help="Simulations of each cell.")
    ] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1)] = 0,
    as_json: Json = False,
) -> None:
    """When pruning pays, in a model that can be solved: a max-margin student of a teacher perceptron."""
    from optidel.store import make_folder
    from optidel.theory import figure, run_experiment

    table = run_experiment(experiment, size=size, repeats=repeats, seed=seed)
    # Made after the simulation: arguments out of range leave no empty folder.
    make_folder(out)
    paths = {"table": out / f"{experiment}.csv", "figure": out / f"{experiment}.html"}
    table.write_csv(paths["table"])
    # The page holds α and °, which not every system's own encoding has.
    paths["figure"].write_text(figure(table), encoding="utf-8")
    if as_json:
        print_json({name: str(path) for name, path in paths.items()})
        return
    for path in paths.values():
        print(path)


@app.command(epilog="Example: `optidel vinfo run --json`")
def vinfo(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run or a bench.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Measure the V-information and the diversity of every training set of a run, beside its mIoU."""
    from optidel.pipeline.vinfo import vinfo as measure
    from optidel.report import write_report
    from optidel.report.vinformation import compare, rows_of

    sets = measure(run_folder)
    report = None
    # A bench has no result of a single run, and its report is written by `optidel bench report`.
    if any(run_folder.glob("result-*")):
        report = write_report(run_folder)
    comparisons = compare(sets)
    rows = rows_of(sets)
    if as_json:
        comparison_rows = [asdict(comparison) for comparison in comparisons]
        print_json({"sets": rows, "comparisons": comparison_rows, "report": report and str(report)})
        return

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    Console(width=width).print(_information_table(rows))
    for comparison in comparisons:
        print(f"{comparison.title}: {comparison.sentence}")
    if report:
        print(f"report: {report}")


def _information_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in INFORMATION_COLUMNS:
        # Numbers line up at their last digit; a score is followed by the name of its protocol.
        is_text = column in ("method", "mIoU")
        table.add_column(column, justify="left" if is_text else "right")

    for row in rows:
        budget = f"{row['budget']:.3g}"
        seed = str(row["seed"])
        images = str(row["images"])
        measures = [f"{row[name]:.3f}" for name in MEASURES]
        gains = [f"{gain:+.3f}" for gain in row["gained"].values()]
        scores = [f"{miou:.3f} {protocol}" for protocol, miou in row["miou"].items()]
        # A set has several of each, one a line of its cell.
        stacked = ["\n".join(gains), "\n".join(scores)]
        table.add_row(row["method"], budget, seed, images, *measures, *stacked)
    return table
