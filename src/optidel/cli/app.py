"""The application that the commands of this room register with."""

from typing import Annotated

import typer
from rich.console import Console
from typer.core import TyperGroup

# Exit code of a program that Ctrl-C ended: 128 and the number of the signal, as shells count.
INTERRUPTED = 130


class Commands(TyperGroup):
    """The commands; one that is interrupted says how to go on."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command, and end in one sentence where Ctrl-C ends it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Typer would take it for its own and say nothing
            say_interrupted()
            raise typer.Exit(INTERRUPTED) from None


def say_interrupted() -> None:
    """What a person who pressed Ctrl-C should know."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("optidel: interrupted; run the same command again, it continues")


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    # Installing completion would write into a person's shell profile.
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
