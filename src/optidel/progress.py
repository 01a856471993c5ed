"""Progress with time left, on standard error so that ``--json`` output stays clean."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")
console = Console(stderr=True, highlight=False)


class Advance(Protocol):
    """Move the bar on by ``steps`` and, where given, show ``note`` behind it."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Advance."""
        ...


@contextmanager
def bar(label: str, total: int, done: int = 0) -> Iterator[Advance]:
    """A bar of ``total`` steps of which ``done`` were finished before (a resumed step). Silent where stderr
    is no terminal.
    """
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    # A log file wants no bars; remarks go there all the same.
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(label, total=total, completed=done, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            progress.update(task, advance=steps, note=note)

        yield advance


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Yield ``items`` under a bar."""
    with bar(label, total) as advance:
        for item in items:
            yield item
            advance()


def say(message: str) -> None:
    """One line to the person, on standard error; brackets are text, for paths hold them."""
    console.print(message, soft_wrap=True, markup=False)
