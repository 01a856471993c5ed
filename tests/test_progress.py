import io
import sys

import pytest
from rich.console import Console

from optidel import progress
from optidel.errors import (
    BudgetError,
    InputError,
    OptidelError,
    RecipeError,
    StoreError,
    WeightsError,
    nearest,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_label_count_time_left_and_note_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(
        progress,
        "console",
        Console(stderr=True, force_terminal=True, width=120, height=20, _environ={"TERM": "xterm"}),
    )
    with progress.bar("pretrain", total=10, done=4) as advance:
        advance(2, note="loss [0.5]")
    shown = terminal.getvalue()
    assert "pretrain" in shown
    assert "6/10" in shown
    assert "left" in shown
    assert "loss [0.5]" in shown  # brackets are text, not markup


def test_nothing_is_drawn_where_standard_error_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track(iter("abc"), "index", total=3)) == ["a", "b", "c"]
    assert "index" not in "".join(capsys.readouterr())


def test_say_prints_the_message_as_it_is_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    message = "backend regions: no weights in folder[/red] [bold]x " + "long " * 60
    progress.say(message)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == message + "\n"


def test_every_user_error_is_an_optidel_error() -> None:
    for kind in (InputError, RecipeError, BudgetError, StoreError, WeightsError):
        assert issubclass(kind, OptidelError)


def test_nearest_name() -> None:
    assert nearest("medel", ["random", "meddel", "optidel"]) == "; did you mean 'meddel'?"
    assert nearest("zzz", ["random", "meddel"]) == ""
