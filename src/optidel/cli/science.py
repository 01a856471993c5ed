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

PIPED_WIDTH = 140
"""Columns of the table of V-information where standard output is no terminal: the table's own width."""

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
    from optidel.methods import METHODS

    if as_json:
        rows = [
            {
                "name": name,
                "unit": method.unit,
                "summary": method.summary,
                "paper": method.paper,
                "cost": method.cost,
            }
            for name, method in METHODS.items()
        ]
        print_json(rows)
        return

    table = Table(
        "method",
        "what it keeps; cost with n items, m kept, k clusters, d dimensions; paper",
        box=None,
        header_style="bold",
    )
    for name, method in METHODS.items():
        unit = "" if method.unit == "frame" else f" (chooses {method.unit}es)"
        source = "; ".join(text for text in (method.cost, method.paper) if text)
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
    make_folder(out)
    paths = {"table": out / f"{experiment}.csv", "figure": out / f"{experiment}.html"}
    table.write_csv(paths["table"])
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
    report = write_report(run_folder) if any(run_folder.glob("result-*")) else None
    comparisons = compare(sets)
    rows = rows_of(sets)
    if as_json:
        print_json(
            {
                "sets": rows,
                "comparisons": [asdict(comparison) for comparison in comparisons],
                "report": report and str(report),
            }
        )
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
        table.add_column(column, justify="left" if column in ("method", "mIoU") else "right")
    for row in rows:
        measures = [f"{row[name]:.3f}" for name in MEASURES]
        gains = [f"{gain:+.3f}" for gain in row["gained"].values()]
        scores = [f"{miou:.3f} {protocol}" for protocol, miou in row["miou"].items()]
        table.add_row(
            row["method"],
            f"{row['budget']:.3g}",
            str(row["seed"]),
            str(row["images"]),
            *measures,
            "\n".join(gains),
            "\n".join(scores),
        )
    return table
