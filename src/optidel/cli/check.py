"""Whether a run is as it was written."""

from pathlib import Path
from typing import Annotated

import typer

from optidel.cli.app import app
from optidel.cli.options import Json, print_json


@app.command(epilog="Example: `optidel check run`")
def check(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run or bench folder.")],
    as_json: Json = False,
) -> None:
    """Compare every file of a run with the hash that was noted when it was written, and name the folders to
    delete.

    The exit code is 1 where something is damaged.
    """
    from optidel.store import check as check_store

    damages = check_store(run_folder)
    if as_json:
        print_json([{"folder": str(item.folder), "reason": item.reason} for item in damages])
    else:
        for item in damages:
            print(item.reason)
        verdict = "every file is as it was written"
        if damages:
            verdict = f"{len(damages)} folders of {run_folder} are damaged"
        print(verdict)
    # A code of its own, so that a script can tell damage from a command that could not run.
    if damages:
        raise typer.Exit(1)
