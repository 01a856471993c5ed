"""The command line: parse, call, print. Progress and remarks go to standard error, results to standard
output.
"""

import errno
import io
import os
import sys
from typing import NoReturn

from rich.console import Console

from optidel.cli.app import INTERRUPTED, app, say_interrupted
from optidel.cli.together import leave, run_together, started_together
from optidel.errors import OptidelError, extras_named

# isort: split
# Importing registers the commands, in the order of the help page.
# isort: off
from optidel.cli import corpus, datasets, steps, gallery, predict, benchmark, science, check, doctor  # noqa: F401
# isort: on

__all__ = ["app", "main"]

# What the system says of a path that a person gave; of anything else it says, a traceback tells more.
CANNOT_BE_OPENED = (
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)

# Letters of a path in a message: a round number; nothing depends on it.
LONGEST_NAME = 200


def _fail(message: str) -> NoReturn:
    """End with one sentence on standard error."""
    # No markup, for a path may hold square brackets; no wrapping, for a log is searched line by line.
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(f"optidel: {message}")
    leave(2)


def main() -> None:
    """Run the command line; a user error is one sentence on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A redirected stream may be of a code page that lacks a letter of a file's name.
            stream.reconfigure(errors="backslashreplace")
    try:
        with extras_named():
            ranks = started_together()
            if ranks:
                run_together(*ranks)
            else:
                app()
    except OptidelError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in CANNOT_BE_OPENED or not error.filename:
            raise
        name = os.fsdecode(error.filename)
        if len(name) > LONGEST_NAME:
            name = f"{name[:LONGEST_NAME]}…"
        _fail(f"{name} cannot be used: {error.strerror}; pass another path")
    except KeyboardInterrupt:  # before a command began
        say_interrupted()
        sys.exit(INTERRUPTED)
