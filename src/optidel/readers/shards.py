"""Shards of Hugging Face datasets, Parquet or Arrow, as archives whose members are rows."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from optidel.errors import InputError
from optidel.readers.archives import MAX_MEMBER, Member
from optidel.readers.source import Source

BATCH = 16
"""Rows unpacked at a time."""

LABELS = ("label", "labels", "class")
SPLITS = re.compile(r"(?:^|/)(train|validation|valid|val|test)(?=[-./])")
"""Where a shard's path says its split: ``train-00000-of-00004.parquet`` or
``train/data-00000-of-00001.arrow``.
"""


def rows(source: Source, end: str) -> Iterator[Member]:
    """One member an image: ``row:17``, or ``row:17/left`` where a row holds several.

    Raises:
        InputError: no Parquet or Arrow, or no column of images.
    """
    try:
        with source.open() as raw:
            schema, batches = _parquet(raw) if end == ".parquet" else _arrow(raw)
            columns = [field.name for field in schema if _is_image(field.type)]
            if not columns:
                raise InputError(f"has no column of images, only {len(schema)} others")
            label = next((name for name in LABELS if name in schema.names), None)
            names = _class_names(schema, label)
            found = SPLITS.search(str(PurePosixPath(source.name)))
            number = 0
            for batch in batches(columns + ([label] if label else [])):
                for row in batch.to_pylist():
                    value = names.get(row[label], row[label]) if label else None
                    for column in columns:
                        place = f"row:{number}" if len(columns) == 1 else f"row:{number}/{column}"
                        yield _member(place, row[column], value, found and found.group(1))
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"is no {end.removeprefix('.').title()} file, or damaged ({type(error).__name__})"
        ) from error


def _parquet(raw: Any) -> tuple[pa.Schema, Any]:
    file = pq.ParquetFile(raw, page_checksum_verification=True)
    return file.schema_arrow, lambda columns: file.iter_batches(
        batch_size=BATCH, columns=columns, use_threads=False
    )


def _arrow(raw: Any) -> tuple[pa.Schema, Any]:
    file = pa.ipc.open_stream(raw)

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in file:
            batch.validate(full=True)
            chosen = batch.select(columns)
            for start in range(0, len(chosen), BATCH):
                yield chosen.slice(start, BATCH)

    return file.schema, batches


def _is_image(kind: pa.DataType) -> bool:
    """A struct with ``bytes``, as ``datasets.Image`` writes it, or plain bytes."""
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return bool(binary or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0))


def _class_names(schema: pa.Schema, label: str | None) -> Mapping[Any, str]:
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {number: str(name) for number, name in enumerate(described)} if isinstance(described, list) else {}


def _member(place: str, value: Any, label: Any, split: str | None) -> Member:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not data:
        return Member(
            name=place, reason="holds a path and no image; save the dataset with its images embedded"
        )
    if len(data) > MAX_MEMBER:
        return Member(name=place, reason=f"holds {len(data)} bytes, more than the limit of {MAX_MEMBER}")
    text = str(label)[:200] if isinstance(label, str | int) else None
    return Member(name=place, source=Source(name=place, data=data), label=text, split=split)
