"""The methods and their theory."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from optidel.cli.app import app
from optidel.cli.options import Json


@app.command(epilog="Example: `optidel methods --json`")
def methods(as_json: Json = False) -> None:
    """List the selection methods."""
    from optidel.methods import METHODS

    if as_json:
        listed = [
            {"name": name, "unit": m.unit, "summary": m.summary, "paper": m.paper, "cost": m.cost}
            for name, m in METHODS.items()
        ]
        print(json.dumps(listed))
        return
    table = Table(
        "method",
        "what it keeps; cost with n items, m kept, k clusters, d dimensions; paper",
        box=None,
        header_style="bold",
    )
    for name, method in METHODS.items():
        unit = "" if method.unit == "frame" else f" (chooses {method.unit}es)"
        table.add_row(
            name,
            f"{method.summary}{unit}\n[dim]{method.cost}{'; ' if method.paper else ''}{method.paper}[/dim]",
        )
    Console(highlight=False).print(table)


@app.command(epilog="Example: `optidel theory --experiment angle --out theory/`")
def theory(
    experiment: Annotated[
        str, typer.Option("--experiment", help="angle, redundancy, shift or difficulty.")
    ] = "angle",
    out: Annotated[Path, typer.Option("--out", help="Folder for the table and the figure.")] = Path("theory"),
    size: Annotated[int, typer.Option("--size", help="Dimensions N of an example.")] = 30,
    repeats: Annotated[int, typer.Option("--repeats", help="Simulations of each cell.")] = 50,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: Json = False,
) -> None:
    """When pruning pays, in a model that can be solved: a max-margin student of a teacher perceptron."""
    from optidel.store import make_folder
    from optidel.theory import figure, run_experiment

    table = run_experiment(experiment, size=size, repeats=repeats, seed=seed)
    make_folder(out)
    paths = {"table": out / f"{experiment}.csv", "figure": out / f"{experiment}.html"}
    table.write_csv(paths["table"])
    figure(table).write_html(paths["figure"])
    print(
        json.dumps({name: str(path) for name, path in paths.items()})
        if as_json
        else "\n".join(map(str, paths.values()))
    )


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
    comparisons, rows = compare(sets), rows_of(sets)
    if as_json:
        print(
            json.dumps(
                {
                    "sets": rows,
                    "comparisons": [asdict(one) for one in comparisons],
                    "report": report and str(report),
                }
            )
        )
        return
    table = Table(box=None, header_style="bold")
    for column in (
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
    ):
        table.add_column(column, justify="left" if column in ("method", "mIoU") else "right")
    for row in rows:
        measures = [
            f"{row[name]:.3f}" for name in ("h_null", "h_conditional", "information", "log_det", "vendi")
        ]
        gained = "\n".join(f"{value:+.3f}" for value in row["gained"].values())
        miou = "\n".join(f"{value:.3f} {where}" for where, value in row["miou"].items())
        table.add_row(
            row["method"],
            f"{row['budget']:.3g}",
            str(row["seed"]),
            str(row["images"]),
            *measures,
            gained,
            miou,
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for one in comparisons:
        print(f"{one.title}: {one.sentence}")
    if report:
        print(f"report: {report}")
