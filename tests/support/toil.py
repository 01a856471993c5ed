"""Workers for the tests of mapping: they square numbers, and some kill their process."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from optidel.errors import InputError
from optidel.mapping import Make, Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """Squares row numbers.

    Rows in ``deadly`` kill the process each time; row ``shaky`` only while ``mark`` does not exist; row
    ``bad`` is an error of the user's. With ``replace`` a deadly row gets a row of its own. A
    ``broken`` worker never gets to a row.
    """

    deadly: tuple[int, ...] = ()
    shaky: int = -1
    bad: int = -1
    mark: str = ""
    replace: bool = True
    broken: bool = False

    def open(self) -> Make:
        if self.broken:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.make

    def make(self, rows: range, tick: Tick) -> pl.DataFrame:
        if self.shaky in rows and not Path(self.mark).exists():
            Path(self.mark).write_text("died")
            os.kill(os.getpid(), signal.SIGKILL)
        if any(row in rows for row in self.deadly):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.bad in rows:
            raise InputError(f"row {self.bad} is no number; take it out")
        tick(len(rows))
        numbers = np.arange(rows.start, rows.stop)
        return pl.DataFrame({"row": numbers, "square": numbers**2})

    def stand_in(self, row: int) -> pl.DataFrame | None:
        return pl.DataFrame({"row": [row], "square": [-1]}) if self.replace else None
