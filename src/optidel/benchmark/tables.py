"""The tables of a bench: one record a cell on disk, gathered into one tidy table and one of every test image."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import polars as pl

from optidel.benchmark.plan import Bench, Cell, cells, key_of, make_bench
from optidel.errors import InputError
from optidel.store import read_artifact, replacing

RECORDS = "cells"
RESULTS, SCORES = "results.parquet", "scores.parquet"
KEYS = ("method", "budget", "seed", "objective", "protocol", "compute", "task")
FIGURES = {
    "n_images": pl.Int64,
    "kept": pl.Float64,
    "miou": pl.Float64,
    "dice": pl.Float64,
    "normdel": pl.Float64,
}
SECONDS = {"seconds_select": pl.Float64, "seconds_train": pl.Float64}
SCHEMA: dict[str, Any] = {
    "method": pl.String,
    "budget": pl.Float64,
    "seed": pl.Int64,
    **dict.fromkeys(("objective", "protocol", "compute", "task"), pl.String),
    **FIGURES,
    **SECONDS,
    "device": pl.String,
}
"""Columns of results.parquet; budget and kept are fractions, miou and dice in [0, 1], normdel null from
scratch.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How a cell ended: ``row`` of the results where done, else the ``reason``; ``artifacts`` are folder
    names by role.
    """

    cell: Cell
    state: Literal["done", "failed", "stopped"]
    reason: str
    row: dict[str, Any] | None
    artifacts: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """A gathered bench: ``results`` one row a finished cell, ``scores`` one a cell and test image, both in
    the order of the plan.
    """

    bench: Bench
    results: pl.DataFrame
    scores: pl.DataFrame
    failed: tuple[Record, ...]
    stopped: tuple[Record, ...]
    planned: int


def write_atomically(path: Path, text: str) -> None:
    """A text file: whole or not at all; two processes may write the same."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def read_record(root: Path, key: str) -> Record | None:
    """The record of a cell, or None; what other versions wrote beside it is passed over."""
    path = root / RECORDS / f"{key}.json"
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    known = {field.name: values[field.name] for field in fields(Record)}
    return Record(**known | {"cell": Cell(**values["cell"])})


def image_scores_of(root: Path, record: Record) -> pl.DataFrame:
    """IoU and Dice of every test image of a finished cell, the mean over its foreground classes: id, iou,
    dice, sorted by id.
    """
    name = record.artifacts["evaluate"]
    assert name is not None, "only finished cells have scores"
    folder = root / name
    if not (folder / "images.parquet").exists():
        raise InputError(
            f"{folder} is missing, though its cell is recorded as done; run `optidel bench` again, or copy the folder there"
        )
    table = read_artifact(folder).table("images.parquet")
    scores = table.with_columns(pl.col("iou", "dice").fill_nan(None)).group_by("id", maintain_order=True)
    return scores.agg(pl.col("iou", "dice").mean()).sort("id")


def collect(bench: Bench, root: Path) -> Tables:
    """Gather the records of the bench's cells; nothing is written."""
    planned = cells(bench)
    records = [record for cell in planned if (record := read_record(root, key_of(bench, cell)))]
    done = [record for record in records if record.state == "done"]
    results = pl.DataFrame([record.row for record in done if record.row], schema=SCHEMA)
    return Tables(
        bench=bench,
        results=results,
        scores=_scores(root, done),
        failed=tuple(record for record in records if record.state == "failed"),
        stopped=tuple(record for record in records if record.state == "stopped"),
        planned=len(planned),
    )


def write_tables(tables: Tables, root: Path) -> None:
    """Write ``results.parquet``, ``scores.parquet`` and ``results.json`` into the bench's folder."""
    for name, table in ((RESULTS, tables.results), (SCORES, tables.scores)):
        with replacing(root / name) as scratch:
            table.write_parquet(scratch)
    states = {
        state: [asdict(item.cell) | {"reason": item.reason} for item in getattr(tables, state)]
        for state in ("failed", "stopped")
    }
    summary = {
        "planned": tables.planned,
        "rows": tables.results.to_dicts(),
        **states,
        "bench": tables.bench.model_dump(mode="json"),
    }
    write_atomically(root / "results.json", json.dumps(summary, indent=1) + "\n")


def _scores(root: Path, done: list[Record]) -> pl.DataFrame:
    """All test images of all cells; float32 halves the file and loses nothing that matters of a mean over a
    few classes.
    """
    parts = [
        image_scores_of(root, record).select(
            *(pl.lit(getattr(record.cell, key), SCHEMA[key]).alias(key) for key in KEYS),
            "id",
            pl.col("iou", "dice").cast(pl.Float32),
        )
        for record in done
    ]
    kinds = {key: SCHEMA[key] for key in KEYS} | {"id": pl.String, "iou": pl.Float32, "dice": pl.Float32}
    return pl.concat(parts) if parts else pl.DataFrame(schema=kinds)


def open_bench(root: Path) -> Tables:
    """Gather a run folder of ``optidel bench``, also while it runs or after shards were copied together.

    Raises:
        InputError: the folder holds no bench.
    """
    path = root / "bench.json"
    if not path.exists():
        raise InputError(
            f"{root} holds no bench (no bench.json); pass the folder given to `optidel bench … --out`"
        )
    return collect(make_bench(json.loads(path.read_text())), root)
