"""Frames as packed columns: a sequence of records that are made when they are asked for.

A record takes 650 bytes of memory, a packed row some 130: columns of one value are kept as that value, texts
that repeat as numbers, hashes as bytes, and an id that follows from file and locator not at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, overload

import polars as pl

from optidel.records import Frame, from_table, to_table

# Rows made into records at once, and kept until others are asked for: a millisecond's work. A round number.
BLOCK = 256

# Share of different texts below which numbers are smaller: a number is 4 bytes, a text 16 and its letters.
REPEATED = 0.5

# Bytes with which Arrow says where a text lies.
VIEW = 16

COLUMNS = tuple(field.name for field in fields(Frame))


class FrameTable(Sequence[Frame]):
    """Frames of a table ``frames.parquet``, read column by column.

    Example:
        >>> from pathlib import Path
        >>> from optidel.corpus.frame_table import FrameTable
        >>> FrameTable(Path("RUN/index-0123456789abcdef/frames.parquet"))[0].source  # doctest: +SKIP
        'image-000.png'
    """

    def __init__(self, path: Path) -> None:
        """Read and pack.

        Args:
            path: Parquet, a column for each field of :class:`~optidel.records.Frame`.
        """
        self._count = int(pl.scan_parquet(path).select(pl.len()).collect().item())
        self._values: dict[str, Any] = {}
        self._packed: dict[str, pl.Series] = {}
        self._block: tuple[int, list[Frame]] = (-1, [])
        # The id last, so that it can be compared with what it follows from.
        for name in (*(name for name in COLUMNS if name != "id"), "id"):
            self._add(pl.read_parquet(path, columns=[name])[name])

    def _add(self, column: pl.Series) -> None:
        """Keep a column, as small as it goes."""
        name = column.name
        if self._count == 0 or column.null_count() == self._count or column.n_unique() == 1:
            self._values[name] = column[0] if self._count else None
        elif name == "id" and column.equals(self._ids(0, self._count)):
            return
        elif name == "sha256" and column.str.contains(r"^([0-9a-f]{2})+$").all():
            self._packed[name] = column.str.decode("hex")
        elif column.dtype == pl.String:
            repeats = column.n_unique() < REPEATED * self._count
            self._packed[name] = column.cast(pl.Categorical) if repeats else column
        else:
            # Floats would be rounded.
            self._packed[name] = column.shrink_dtype() if column.dtype == pl.Int64 else column

    def column(self, name: str, start: int = 0, stop: int | None = None) -> pl.Series:
        """Some rows of a field, typed as in the table."""
        end = self._count if stop is None else stop
        dtype = _TYPES[name]
        if name in self._values:
            return pl.Series(name, [self._values[name]], dtype=dtype).new_from_index(0, end - start)
        if name not in self._packed:
            return self._ids(start, end)
        packed = self._packed[name][start:end]
        return packed.bin.encode("hex") if packed.dtype == pl.Binary else packed.cast(dtype)

    def _ids(self, start: int, stop: int) -> pl.Series:
        """Source, and the locator behind it where there is one."""
        table = pl.DataFrame([self.column("source", start, stop), self.column("locator", start, stop)])
        source, locator = pl.col("source"), pl.col("locator")
        joined = pl.when(locator == "").then(source).otherwise(source + "#" + locator)
        return table.select(joined.alias("id"))["id"]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed columns."""
        total = 0
        for column in self._packed.values():
            total += int(column.estimated_size())
            if column.dtype in (pl.String, pl.Binary):
                total += VIEW * len(column)  # which Polars leaves out
        return total

    def _records(self, start: int, stop: int) -> list[Frame]:
        columns = [self.column(name, start, stop) for name in COLUMNS]
        return from_table(Frame, pl.DataFrame(columns))

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...

    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        """One frame, or a list of some."""
        if isinstance(index, slice):
            return [self[row] for row in range(self._count)[index]]
        row = range(self._count)[index]
        number, block = self._block
        if number != row // BLOCK:
            number = row // BLOCK
            block = self._records(number * BLOCK, min((number + 1) * BLOCK, self._count))
            self._block = (number, block)
        return block[row % BLOCK]

    def __iter__(self) -> Iterator[Frame]:
        """All frames in order, a block in memory at a time."""
        for start in range(0, self._count, BLOCK):
            yield from self._records(start, min(start + BLOCK, self._count))

    def __len__(self) -> int:
        """Number of frames."""
        return self._count

    def __eq__(self, other: object) -> bool:
        """Whether another sequence holds equal frames."""
        if not isinstance(other, Sequence) or len(other) != self._count:
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


# As ``to_table`` types the fields.
_TYPES = dict(to_table(Frame, []).schema)
