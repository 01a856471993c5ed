"""The command line: parse, call, print. Progress and remarks go to standard error, results to standard
output.
"""

import io
import sys

from rich.console import Console

from optidel.cli.app import INTERRUPTED, app, say_interrupted
from optidel.errors import OptidelError

# isort: split
# Importing registers the commands, in the order of the help page.
# isort: off
from optidel.cli import corpus, datasets, steps, predict, benchmark, science, check  # noqa: F401
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; a user error is one sentence on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A redirected stream may be of a code page that lacks a letter of a file's name.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except OptidelError as error:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"optidel: {error}")
        sys.exit(2)
    except KeyboardInterrupt:  # before a command began
        say_interrupted()
        sys.exit(INTERRUPTED)
