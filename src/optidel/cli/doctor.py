"""What this machine can run."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from optidel.cli.app import app
from optidel.cli.options import Json, print_json


@app.command(epilog="Example: `optidel doctor --out /data/runs`")
def doctor(
    out: Annotated[Path, typer.Option("--out", help="Where runs will be written.")] = Path(),
    as_json: Json = False,
) -> None:
    """Say what is installed, what is missing for which step, and what this machine has."""
    from optidel.doctor import examine

    findings = examine(out)
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        # Brackets are text: an extra's name stands in them.
        name, state = finding.name.replace("[", "\\["), finding.state.replace("[", "\\[")
        table.add_row(f"[bold]{name}[/]", state)
        if finding.remedy:
            table.add_row("", f"→ {finding.remedy}".replace("[", "\\["))
    Console(highlight=False, soft_wrap=False).print(table)
