"""What the page of a gallery knows, as one JSON value: columns are base64 of little-endian arrays, so that a
million rows open at once.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from optidel.arrays import Vectors
from optidel.corpus.names import Names
from optidel.errors import InputError
from optidel.features.projection import principal_map
from optidel.gallery.choices import FrameChoice, frame_choices
from optidel.gallery.variables import Categories, Numbers, categories, numbers
from optidel.runs.collect import Run
from optidel.store import Store

# Of the clusters that colour the map; fixed, so that the same run has the same gallery.
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryData:
    """The columns of a gallery: ``points`` float32 (n, 2) and everything that colours or describes them."""

    title: str
    ids: Sequence[str]
    labels: Sequence[str]
    points: Float32[np.ndarray, "n 2"]
    categories: Sequence[Categories]
    numbers: Sequence[Numbers]
    choices: Sequence[FrameChoice]

    @property
    def composites(self) -> list[tuple[FrameChoice, int]]:
        """Every composite of every choice, in the order of their small pictures."""
        return [(choice, number) for choice in self.choices for number in range(len(choice.composites))]


def gallery_data(run: Run, names: Names) -> GalleryData:
    """Read everything that the gallery of a run shows.

    Raises:
        InputError: nothing of the run is embedded yet, so there is no map.
    """
    if run.embed is None:
        raise InputError(
            f"the run {run.root} has no embedding yet, and the gallery is a map of it; "
            f"run `optidel embed IMAGES --out {run.root}` or `optidel run` first"
        )
    vectors = _compared(run)
    points = principal_map(run.embed.array("vectors.npy"))
    quality = _in_order(run.index.table("quality.parquet"), run.frames)
    difficulty = np.asarray(run.embed.array("error.npy"), dtype=np.float32)
    ids = run.frames["id"].to_list()
    return GalleryData(
        title=names.folder(run.root.resolve()),
        ids=ids,
        labels=[names(name) for name in ids],
        points=points,
        categories=categories(run.frames, vectors, points, names, np.random.default_rng(SEED)),
        numbers=numbers(quality, difficulty),
        choices=frame_choices(run),
    )


def _compared(run: Run) -> Vectors:
    """The vectors that methods compare: whitened where the run whitens them."""
    assert run.embed is not None
    for artifact in reversed(Store(run.root, look=True).artifacts("whiten")):
        if run.embed.content in artifact.inputs.values():
            return artifact.array("vectors.npy")
    return run.embed.array("vectors.npy")


def _in_order(quality: pl.DataFrame, frames: pl.DataFrame) -> pl.DataFrame:
    """The measurements of the frames, in their order."""
    return frames.select("id").join(quality, on="id", how="left", maintain_order="left")


def to_json(data: GalleryData, *, key: str, live: bool) -> dict[str, Any]:
    """The data as the page reads it.

    Args:
        data: of a run.
        key: tells galleries apart whose tags a browser remembers.
        live: whether a server makes the small pictures, and no sheets lie beside the page.
    """
    return {
        "title": data.title,
        "key": key,
        "live": live,
        "count": len(data.ids),
        "labels": list(data.labels),
        "x": base64_of(data.points[:, 0]),
        "y": base64_of(data.points[:, 1]),
        "categories": [_category(variable) for variable in data.categories],
        "numbers": [_number(variable) for variable in data.numbers],
        "choices": [_choice(choice) for choice in data.choices],
    }


def _category(variable: Categories) -> dict[str, Any]:
    return {
        "name": variable.name,
        "values": list(variable.values),
        "codes": base64_of(variable.codes.astype(np.int16)),
        "source": variable.source,
        "map": variable.of_map,
        "embedding": variable.of_embedding,
        "alarm": variable.alarming,
    }


def _number(variable: Numbers) -> dict[str, Any]:
    return {"name": variable.name, "unit": variable.unit, "values": base64_of(variable.values)}


def _choice(choice: FrameChoice) -> dict[str, Any]:
    composites = [
        {"id": composite.id, "rows": list(composite.rows), "boxes": [list(box) for box in composite.boxes]}
        for composite in choice.composites
    ]
    return {
        "name": choice.name,
        "unit": choice.unit,
        "rank": base64_of(choice.rank),
        "reason": base64_of(choice.reason.astype(np.int16)),
        "reasons": list(choice.reasons),
        "twin": base64_of(choice.twin),
        "similarity": base64_of(choice.similarity),
        "composites": composites,
    }


def base64_of(values: np.ndarray[Any, Any]) -> str:
    """An array as text: base64 of its little-endian bytes, row by row."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()
