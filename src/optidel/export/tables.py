"""Parquet shards, alone or with the card that makes a Hugging Face data set of them."""

from typing import Any

import polars as pl

from optidel.export.job import Job

# What makes `datasets.load_dataset` decode the column of pictures.
CARD = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: key
    dtype: string
  - name: rank
    dtype: int64
  - name: reason
    dtype: string
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---

A training set chosen by OptiDEL.
"""

# Bytes and a path are how a data set of Hugging Face stores a picture.
IMAGE = pl.Struct({"bytes": pl.Binary, "path": pl.String})

SCHEMA: dict[str, Any] = {
    "image": IMAGE,
    "key": pl.String,
    "rank": pl.Int64,
    "reason": pl.String,
}


def write_parquet(job: Job) -> list[str]:
    """Write ``images-NUMBER.parquet``: image (bytes, path), key, rank from 1, reason."""
    names = [f"images-{shard:05d}.parquet" for shard in job.shards]
    return _write_shards(job, names)


def write_hf_dataset(job: Job) -> list[str]:
    """Write ``data/train-NUMBER-of-COUNT.parquet`` and the card in ``README.md``."""
    with job.work.writing("README.md") as path:
        path.write_text(CARD)
    last = max(job.shards, default=-1)
    total = f"{last + 1:05d}"
    names = [f"data/train-{shard:05d}-of-{total}.parquet" for shard in job.shards]
    return _write_shards(job, names)


def _write_shards(job: Job, names: list[str]) -> list[str]:
    for start, stop in job.blocks():
        rows = []
        for row, content in job.images(start, stop):
            rows.append(_row(row, content))
        table = pl.DataFrame(rows, schema=SCHEMA)
        job.work.write_table(names[start], table)
    return names


def _row(row: dict[str, Any], content: bytes) -> dict[str, Any]:
    key = row["key"]
    rank = row["rank"] + 1
    return {"image": picture(key, content), "key": key, "rank": rank, "reason": row["reason"]}


def picture(key: str, content: bytes) -> dict[str, Any]:
    """A value of the column of pictures: :data:`IMAGE`."""
    return {"bytes": content, "path": f"{key}.png"}
