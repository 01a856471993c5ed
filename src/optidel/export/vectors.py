"""Exports that need the embedding: a map for Embedding Atlas, and sampling weights."""

import csv
import json
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64

from optidel.errors import InputError
from optidel.export.job import Job
from optidel.export.links import write_list
from optidel.export.tables import IMAGE, picture
from optidel.features.projection import principal_map
from optidel.methods.weights import represented_mass
from optidel.progress import say
from optidel.records import Selection

ATLAS: dict[str, Any] = {
    "x": pl.Float32,
    "y": pl.Float32,
    "image": IMAGE,
    "key": pl.String,
    "rank": pl.Int64,
    "reason": pl.String,
    "gain": pl.Float64,
    "height": pl.Int64,
    "width": pl.Int64,
    "label": pl.String,
    "modality": pl.String,
}


def write_atlas(job: Job) -> list[str]:
    """Write ``atlas-NUMBER.parquet``: x and y in [-1, 1], image (bytes, path), key, rank from 1, reason,
    gain, height and width (px), label, modality.

    The map is that of the gallery, of the whole corpus; a composite lies at the mean of its frames.

    Raises:
        InputError: nothing of the run is embedded.
    """
    points = _points(job)
    names = [f"atlas-{shard:05d}.parquet" for shard in job.shards]
    for start, stop in job.blocks():
        rows = []
        # The images of a block come file by file, so each is found again by its item.
        place = dict(zip(job.rows["item"][start:stop], points[start:stop].tolist(), strict=True))
        for row, content in job.images(start, stop):
            x, y = place[row["item"]]
            modality = None
            if not job.selection.compose:
                modality = job.corpus.frames[row["item"]].modality
            values = {name: row[name] for name in ("key", "reason", "gain", "height", "width", "label")}
            values |= {"x": x, "y": y, "image": picture(row["key"], content)}
            values |= {"rank": row["rank"] + 1, "modality": modality}
            rows.append(values)
        job.work.write_table(names[start], pl.DataFrame(rows, schema=ATLAS))
    return names


def _points(job: Job) -> Float32[np.ndarray, "n 2"]:
    """The place of every row of the manifest on the map."""
    embed = job.selection.embed
    if embed is None:
        raise InputError(_lacking(job, "a map"))
    of_frames = principal_map(embed.array("vectors.npy"))
    if not job.selection.compose:
        rows_of_frames = job.rows["item"].to_numpy()
        return np.asarray(of_frames[rows_of_frames], dtype=np.float32)

    row_of = {name: row for row, name in enumerate(job.corpus.column("id"))}
    points = np.empty((len(job.rows), 2), dtype=np.float32)
    for number, sources in enumerate(job.rows["sources"]):
        rows = [row_of[name] for name in json.loads(sources)]
        points[number] = of_frames[rows].mean(axis=0)
    return points


def write_weights(job: Job) -> list[str]:
    """Write ``weights.csv``: path of the original and weight, mean 1, best first.

    The weight of a frame is the share of the corpus that it stands for, as
    :func:`optidel.methods.weights.represented_mass` says; composites all weigh the same.

    Raises:
        InputError: nothing of the run is embedded.
    """
    names = write_list(job)
    ranks = job.rows["rank"].to_numpy()
    order = np.argsort(ranks)
    weights = _weights(job)
    with job.work.writing("weights.csv") as path, path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["path", "weight"])
        for row in order.tolist():
            writer.writerow([names[row], repr(float(weights[row]))])
    return names


def _weights(job: Job) -> Float64[np.ndarray, "n"]:
    """The weight of every row of the manifest."""
    count, whole = len(job.rows), len(job.corpus)
    if job.selection.compose:
        say("export: composites stand for no frames, so all weights are 1")
        return np.ones(count)
    # Each stands for itself; comparing all with all would take a day for a million.
    if count == whole:
        return np.ones(count)
    if job.selection.compared is None:
        raise InputError(_lacking(job, "a weight"))

    nothing = np.full(whole, -1, dtype=np.int64)
    selection = Selection(
        indices=job.rows["item"].to_numpy(),
        gains=np.zeros(count),
        kept_twin=nothing,
        similarity=np.full(whole, np.nan),
        reason=np.full(whole, ""),
    )
    return represented_mass(job.selection.compared.array("vectors.npy"), selection)


def _lacking(job: Job, thing: str) -> str:
    root = job.selection.select.path.parent
    return (
        f"the run {root} has no embedding of these images, and {thing} is made from it; "
        f"run `optidel embed IMAGES --out {root}` first"
    )
