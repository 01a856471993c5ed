"""The methods and their theory."""

import json
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
