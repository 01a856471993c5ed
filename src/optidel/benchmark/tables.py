"""The tables of a bench: a record a trial on disk, gathered into a tidy table and one of all test images."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import polars as pl

from optidel.benchmark.bench import Bench
from optidel.benchmark.load import make_bench
from optidel.benchmark.plan import Trial, key_of, trials
from optidel.errors import InputError
from optidel.evaluation.table import image_means
from optidel.outcomes import OUTCOMES
from optidel.progress import say
from optidel.store import digest, read_artifact, replacing

RECORDS = "cells"  # folder of the records
RESULTS, SCORES = "results.parquet", "scores.parquet"

# What tells trials apart, in the order of the columns.
KEYS = {
    "method": pl.String,
    "budget": pl.Float64,
    "seed": pl.Int64,
    "objective": pl.String,
    "protocol": pl.String,
    "compute": pl.String,
    "task": pl.String,
}

# Budget and kept are fractions, outcomes in [0, 1], null where a labelled set has others; normdel is null
# from scratch. h is the held-out V-entropy, nats per value, null where the run holds nothing out.
MEASURES = {
    "n_images": pl.Int64,
    "kept": pl.Float64,
    **{outcome.name: pl.Float64 for outcome in OUTCOMES},
    "normdel": pl.Float64,
    "seconds_select": pl.Float64,
    "seconds_train": pl.Float64,
    "device": pl.String,
    "h": pl.Float64,
}

SCHEMA: dict[str, Any] = {**KEYS, **MEASURES}
# Half the size of what is computed, and nothing lost that matters of a mean.
SCORES_BY_IMAGE = {outcome.column: pl.Float32 for outcome in OUTCOMES}
SCORE_SCHEMA: dict[str, Any] = {**KEYS, "id": pl.String, **SCORES_BY_IMAGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How a trial (``cell``) ended: ``row`` of the results where done, else the ``reason``.

    ``artifacts`` are folder names by role.
    """

    cell: Trial
    state: Literal["done", "failed", "stopped"]
    reason: str
    row: dict[str, Any] | None
    artifacts: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """A gathered bench, in the order of the plan.

    ``results`` has one row a finished trial, ``scores`` one a trial and test image.
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
    """The record of a trial, or None; what other versions wrote beside it is passed over.

    A damaged one counts as none, aloud: the same bench makes it again from its artifacts.
    """
    path = root / RECORDS / f"{key}.json"
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_bytes())
        check = values.pop("check", None)
        if check not in (None, _check_of(values)):  # records of 0.1 have none
            raise ValueError("its own hash differs")
        # Only what this version knows: a later one may say more.
        entries = {field.name: values[field.name] for field in fields(Record)}
        entries["cell"] = Trial(**values["cell"])
        return Record(**entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        say(f"bench: the record {path.name} is damaged ({error}) and counts as none; run the bench again")
        return None


def write_record(root: Path, key: str, record: Record) -> None:
    """Write the record of a trial."""
    values = asdict(record)
    values["check"] = _check_of(values)
    text = json.dumps(values, indent=1, sort_keys=True)
    write_atomically(root / RECORDS / f"{key}.json", text + "\n")


def _check_of(values: dict[str, Any]) -> str:
    """A hash of a record, kept in it."""
    return digest(json.dumps(values, sort_keys=True).encode())


def image_scores_of(root: Path, record: Record) -> pl.DataFrame:
    """The outcomes of every test image of a finished trial, as :func:`~optidel.evaluation.table.image_means`.

    Raises:
        InputError: the artifact with the scores is gone.
    """
    name = record.artifacts["evaluate"]
    assert name is not None, "only finished trials have scores"
    folder = root / name
    if not (folder / "images.parquet").exists():
        raise InputError(
            f"{folder} is missing, though its cell is recorded as done; "
            "run `optidel bench` again, or copy the folder there"
        )
    return image_means(read_artifact(folder).table("images.parquet"))


def collect(bench: Bench, root: Path) -> Tables:
    """Gather the records of the bench's trials; nothing is written."""
    planned = trials(bench)
    records: dict[str, list[Record]] = {"done": [], "failed": [], "stopped": []}
    for trial in planned:
        record = read_record(root, key_of(bench, trial))
        if record is not None:
            records[record.state].append(record)

    finished = records["done"]
    rows = [record.row for record in finished if record.row]
    return Tables(
        bench=bench,
        results=pl.DataFrame(rows, schema=SCHEMA),
        scores=_scores(root, finished),
        failed=tuple(records["failed"]),
        stopped=tuple(records["stopped"]),
        planned=len(planned),
    )


def _scores(root: Path, finished: Sequence[Record]) -> pl.DataFrame:
    """All test images of all finished trials."""
    parts = []
    for record in finished:
        keys = [pl.lit(getattr(record.cell, key), kind).alias(key) for key, kind in KEYS.items()]
        means = image_scores_of(root, record)
        scores = [_column(means, name).cast(kind) for name, kind in SCORES_BY_IMAGE.items()]
        parts.append(means.select(*keys, "id", *scores))
    if not parts:
        return pl.DataFrame(schema=SCORE_SCHEMA)
    return pl.concat(parts)


def _column(table: pl.DataFrame, name: str) -> pl.Expr:
    """A column, or nulls of that name."""
    return pl.col(name) if name in table.columns else pl.lit(None).alias(name)


def write_tables(tables: Tables, root: Path) -> None:
    """Write ``results.parquet``, ``scores.parquet`` and ``results.json`` into the bench's folder."""
    for name, table in ((RESULTS, tables.results), (SCORES, tables.scores)):
        with replacing(root / name) as scratch:
            table.write_parquet(scratch)
    summary = {
        "planned": tables.planned,
        "rows": tables.results.to_dicts(),
        "failed": _reasons(tables.failed),
        "stopped": _reasons(tables.stopped),
        "bench": tables.bench.model_dump(mode="json"),
    }
    write_atomically(root / "results.json", json.dumps(summary, indent=1) + "\n")


def _reasons(records: Sequence[Record]) -> list[dict[str, Any]]:
    rows = []
    for record in records:
        row = asdict(record.cell)
        row["reason"] = record.reason
        rows.append(row)
    return rows


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
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); run the same `optidel bench` again") from error
    return collect(make_bench(values), root)
