"""The nouns of the project: what one step hands to the next. All are frozen, slotted and keyword-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import polars as pl
from jaxtyping import Float, Int64, Shaped

# x0, y0, x1, y1 in pixels of the source frame; x1 and y1 are exclusive.
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One 2-D image: a file, or one slice or frame inside a file.

    ``id`` is ``source`` or ``source#locator`` and is unique in a corpus; ``source`` is a POSIX path relative
    to the corpus root; ``locator`` says where in the file (``axial:57``) or is empty; ``height`` and
    ``width`` are pixels; ``sha256`` is of the decoded pixels and of their intensity rule, so equal hashes are
    equal images; ``flaw`` is why the frame is worthless (``blank``), or empty. ``group`` is what must stay on
    one side of a split; ``patient``, ``study``, ``series``, ``video`` and ``centre`` are what is known of it,
    keyed hashes where they come from a DICOM file. ``seconds`` is the time in a video; ``rule`` says how
    values became intensities.
    """

    id: str
    source: str
    locator: str
    height: int
    width: int
    channels: int
    group: str | None
    modality: str | None
    sha256: str
    flaw: str
    patient: str | None = None
    study: str | None = None
    series: str | None = None
    video: str | None = None
    centre: str | None = None
    label: str | None = None
    split: str | None = None
    seconds: float | None = None
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file that could not become a frame, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What was measured of one frame, and its perceptual hash; the marks that follow from it depend on
    thresholds.

    ``flaw`` is why the frame is worthless (``blank``, ``dark``, ``saturated``), or empty. Levels are of 255:
    ``mean`` and ``deviation`` of grey; ``structure`` is the deviation after averaging over 1/32 of the sides,
    what noise does not have. ``dark`` and ``saturated`` are fractions of the frame, black in every channel
    and white in every channel; ``laplacian`` is the variance of the Laplacian in the lit area, levels², and
    ``sharpness`` the same in units of the area's variance, so that contrast does not count; ``entropy`` is of
    the grey histogram, bits; ``border`` is the fraction of the frame before the first and behind the last lit
    sample of each row; ``colour`` is the mean difference of red and blue, levels. ``phash`` is 256 bits as 64
    hex digits.
    """

    flaw: str
    mean: float
    deviation: float
    structure: float
    dark: float
    saturated: float
    laplacian: float
    sharpness: float
    entropy: float
    border: float
    colour: float
    phash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPatch:
    """A square crop of one frame around a region proposed by a mask generator.

    ``box`` is in pixels of the frame; ``area`` is the mask's area in px²; ``predicted_iou`` and ``stability``
    are the generator's own (1.0 where it has none); ``refused`` is why the patch may not be used (``border``,
    ``overlay``, ``glare``, ``flat``, ``nested``, ``small``), or empty. ``frame`` is the frame's id.
    """

    frame: str
    box: Box
    area: int
    predicted_iou: float
    stability: float
    refused: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """One new image made of M key patches in a square grid; enough to rebuild it byte for byte.

    ``sources`` are frame ids and ``boxes`` their crops, in row-major grid order; ``side`` is the side of the
    square image in pixels.
    """

    id: str
    sources: tuple[str, ...]
    boxes: tuple[Box, ...]
    side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a method chose, and why each item stayed or went.

    Args:
        indices: int64 (m,), rows of the input, best first.
        gains: float64 (m,), the method's own objective gained by each, in its own unit.
        kept_twin: int64 (n,), for a dropped item the row that stands in for it, else -1.
        similarity: float64 (n,), cosine similarity to that twin, else NaN.
        reason: str (n,), why the item stayed (begins with ``kept``) or went.
        weights: float64 (m,), how much each kept item counts, with mean 1; None where all count the same.

    Example:
        >>> import numpy as np
        >>> import optidel
        >>> vectors = np.random.default_rng(0).standard_normal((100, 16))
        >>> selection = optidel.select(vectors, method="random", budget=0.05)
        >>> len(selection.indices), len(selection.reason)
        (5, 100)
    """

    indices: Int64[np.ndarray, "m"]
    gains: Float[np.ndarray, "m"]
    kept_twin: Int64[np.ndarray, "n"]
    similarity: Float[np.ndarray, "n"]
    reason: Shaped[np.ndarray, "n"]
    weights: Float[np.ndarray, "m"] | None = None


Record = TypeVar("Record", Frame, Rejected, Quality, KeyPatch, Composite)


def to_table(kind: type[Record], records: Sequence[Record]) -> pl.DataFrame:
    """Records to a table, one column a field; tuples become lists. Columns have the fields' types even when
    empty or all null.
    """
    schema = {name: _column_type(hint) for name, hint in get_type_hints(kind).items()}
    # Columns are typed by the record, not by their values: a column of nulls stays one of texts.
    return pl.DataFrame(
        {name: [getattr(record, name) for record in records] for name in schema}, schema=schema
    )


def _column_type(hint: Any) -> pl.DataType:
    if hint in _SCALARS:
        return _SCALARS[hint]
    inner = _column_type(get_args(hint)[0])
    return (
        pl.List(inner) if get_origin(hint) is tuple else inner
    )  # the other hint with arguments is ``… | None``


_SCALARS: dict[Any, pl.DataType] = {str: pl.String(), int: pl.Int64(), float: pl.Float64()}


def from_table(kind: type[Record], table: pl.DataFrame) -> list[Record]:
    """The inverse of :func:`to_table`."""

    def thaw(value: Any) -> Any:
        return tuple(thaw(item) for item in value) if isinstance(value, list) else value

    return [kind(**{name: thaw(value) for name, value in row.items()}) for row in table.iter_rows(named=True)]
