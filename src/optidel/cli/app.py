"""The application that the commands of this room register with."""

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # a user's error is one sentence, a bug is a plain traceback to report
    help=(
        "Find, or make, the few per cent of a medical image corpus worth pre-training on, "
        "and measure whether that was enough."
    ),
    epilog="Start with `optidel demo`. Every command resumes where a killed one stopped.",
)


def _print_version(requested: bool) -> None:
    if requested:
        from optidel import __version__

        print(f"optidel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options that stand before a command."""
