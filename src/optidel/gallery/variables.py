"""What colours the map: everything that is known of the frames, as columns of codes or of numbers."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from optidel.arrays import Vectors
from optidel.corpus.names import Names
from optidel.features.clusters import cluster
from optidel.gallery.explained import explained_share

# Colours that can be told apart, also by the colour-blind; the commonest values get one each.
COLOURED = 11

# Values of a variable at the most: a variable with more names nearly every frame.
MOST_VALUES = 5000

# Clusters that are shown: about as many as colours can be told apart.
CLUSTERS = COLOURED

# Share of the map that a variable of where a frame comes from explains, above which the page warns. A half:
# then more of what is seen is the source than everything else together.
ALARM = 0.5

# Rows from which the explained shares are taken: they then scatter by about a hundredth.
SAMPLE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """A variable of names: ``codes`` int64 (n,) into ``values``, −1 where nothing is known.

    ``values`` are in falling order of how often they occur. ``source`` says whether it is where a frame comes
    from, and not what it shows. ``of_map`` and ``of_embedding`` are the shares of the variance that it
    explains, None where that says nothing.
    """

    name: str
    values: tuple[str, ...]
    codes: Int64[np.ndarray, "n"]
    source: bool
    of_map: float | None = None
    of_embedding: float | None = None

    @property
    def alarming(self) -> bool:
        """Whether the map shows where frames come from more than anything else."""
        return self.source and self.of_map is not None and self.of_map > ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A variable of numbers: ``values`` float32 (n,), NaN where nothing is known; ``unit`` in words."""

    name: str
    values: Float32[np.ndarray, "n"]
    unit: str


# Columns of an index that say where a frame comes from, in the order of the page; the rest describe it.
SOURCES = ("centre", "group", "patient", "study", "series", "video", "modality")
DESCRIPTIONS = ("label", "split", "flaw")

# Measured numbers of a frame: column, name, unit.
MEASURED = (
    ("mean", "brightness", "mean grey level, of 255"),
    ("sharpness", "sharpness", "variance of the Laplacian over that of the image"),
    ("entropy", "grey-level entropy", "bits"),
)


def categories(
    frames: pl.DataFrame,
    vectors: Vectors,
    points: Float32[np.ndarray, "n 2"],
    names: Names,
    rng: np.random.Generator,
) -> list[Categories]:
    """The variables of names of a corpus; those with a single value are left out.

    Args:
        frames: a table of :class:`~optidel.records.Frame`.
        vectors: float (n, d), their embedding.
        points: float32 (n, 2), the map.
        names: how folders and groups are called.
        rng: of the clusters.
    """
    ids = frames["id"].to_list()
    columns: list[tuple[str, Sequence[str | None], bool]] = [("folder", _folders(ids), True)]
    columns += [(name, _texts(frames, name), True) for name in SOURCES]
    columns.append(("image size", _sizes(frames), True))
    columns += [(name, _texts(frames, name), False) for name in DESCRIPTIONS]

    variables = []
    for name, labels, source in columns:
        shown: Callable[[str], str] = names if source and name not in ("image size", "modality") else str
        variable = _variable(name, labels, source, shown)
        if variable is not None:
            variables.append(_with_shares(variable, vectors, points))

    # Whitened or not, clusters are of what methods compare.
    k = min(CLUSTERS, len(ids))
    labels_of_clusters = [f"cluster {label + 1}" for label in cluster(vectors, k, rng=rng).labels.tolist()]
    clustered = _variable("cluster", labels_of_clusters, False, str)
    return [*variables, clustered] if clustered else variables


def numbers(quality: pl.DataFrame, difficulty: Float32[np.ndarray, "n"] | None) -> list[Numbers]:
    """The variables of numbers of a corpus.

    Args:
        quality: a table of :class:`~optidel.records.Quality`, in the order of the frames.
        difficulty: float32 (n,), reconstruction error; None without an embedding.
    """
    variables = []
    if difficulty is not None:
        variables.append(Numbers(name="difficulty", values=difficulty, unit="reconstruction error"))
    for column, name, unit in MEASURED:
        values = quality[column].to_numpy().astype(np.float32)
        variables.append(Numbers(name=name, values=values, unit=unit))
    return variables


def _folders(ids: Sequence[str]) -> list[str | None]:
    """The first folder of each id; None for a frame that lies in none."""
    return [name.split("/", 1)[0] if "/" in name else None for name in ids]


def _texts(frames: pl.DataFrame, column: str) -> list[str | None]:
    return [value or None for value in frames[column].to_list()]


def _sizes(frames: pl.DataFrame) -> list[str | None]:
    sizes = frames.select(pl.format("{} × {} px", "width", "height"))
    return [str(value) for value in sizes.to_series().to_list()]


def _variable(
    name: str, labels: Sequence[str | None], source: bool, shown: Callable[[str], str]
) -> Categories | None:
    """The variable; None where it tells nothing apart, or names nearly every frame."""
    counts = Counter(label for label in labels if label is not None)
    if len(counts) + (None in labels) < 2 or len(counts) > min(MOST_VALUES, len(labels) / 2):
        return None
    # Equal counts in the order of their names, so that the same corpus has the same colours.
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    code_of: dict[Any, int] = dict(zip(ordered, range(len(ordered)), strict=True))
    codes = np.array([code_of.get(label, -1) for label in labels], dtype=np.int64)
    return Categories(name=name, values=tuple(map(shown, ordered)), codes=codes, source=source)


def _with_shares(variable: Categories, vectors: Vectors, points: Float32[np.ndarray, "n 2"]) -> Categories:
    """The variable with what it explains; of a sample where frames are many."""
    count = len(variable.codes)
    rows = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(np.int64))
    labels = [str(code) if code >= 0 else None for code in variable.codes[rows].tolist()]
    return Categories(
        name=variable.name,
        values=variable.values,
        codes=variable.codes,
        source=variable.source,
        of_map=explained_share(points[rows], labels),
        of_embedding=explained_share(np.asarray(vectors[rows]), labels),
    )
