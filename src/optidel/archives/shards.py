"""Shards of Hugging Face datasets, Parquet or Arrow, as archives whose members are rows."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from optidel.archives.member import MAX_LABEL, MAX_MEMBER, Member
from optidel.errors import InputError
from optidel.readers.source import Source

# Bytes of a shard that fits into a decoding process many times over.
SMALL = 64 << 20

# Rows unpacked at a time: enough to hide the cost of a call, few enough to hold 16 large pictures.
BATCH = 16

# Before the length of a message in an Arrow stream (the format's specification, encapsulated messages).
CONTINUATION = b"\xff" * 4

# Columns to the rows of a shard, some at a time.
Batches = Callable[[list[str]], Iterator[pa.RecordBatch]]

LABELS = ("label", "labels", "class")
# Where a shard's path says its split: ``train-00000-of-00004.parquet`` or
# ``train/data-00000-of-00001.arrow``.
SPLITS = re.compile(r"(?:^|/)(train|validation|valid|val|test)(?=[-./])")


def rows(source: Source, end: str) -> Iterator[Member]:
    """One member an image: ``row:17``, or ``row:17/left`` where a row holds several.

    Args:
        source: the shard.
        end: ``.parquet`` or ``.arrow``.

    Raises:
        InputError: no Parquet or Arrow, or no column of images.
    """
    try:
        with source.open() as raw:
            schema, batches = _parquet(raw) if end == ".parquet" else _arrow(raw)
            yield from _members(schema, batches, _split(source.name))
    except (pa.ArrowException, OSError, MemoryError) as error:
        # A small file that asks for more memory than there is declares lengths that are not true.
        if isinstance(error, MemoryError) and source.size > SMALL:
            raise
        kind = end.removeprefix(".").title()
        raise InputError(f"is no {kind} file, or damaged ({type(error).__name__})") from error


def _members(schema: pa.Schema, batches: Batches, split: str | None) -> Iterator[Member]:
    columns = [field.name for field in schema if _is_image(field.type)]
    if not columns:
        raise InputError(f"has no column of images, only {len(schema)} others")
    label = next((name for name in LABELS if name in schema.names), None)
    classes = _class_names(schema, label)

    number = 0
    for batch in batches([*columns, label] if label else columns):
        for row in batch.to_pylist():
            value = row[label] if label else None
            for column in columns:
                name = f"row:{number}" if len(columns) == 1 else f"row:{number}/{column}"
                yield _member(name, row[column], _class(classes, value), split)
            number += 1


def _split(name: str) -> str | None:
    match = SPLITS.search(str(PurePosixPath(name)))
    return match.group(1) if match else None


def _parquet(raw: Any) -> tuple[pa.Schema, Batches]:
    file = pq.ParquetFile(raw, page_checksum_verification=True)

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        yield from file.iter_batches(batch_size=BATCH, columns=columns, use_threads=False)

    return file.schema_arrow, batches


def _arrow(raw: Any) -> tuple[pa.Schema, Batches]:
    # The length of the schema stands first, behind a mark since version 0.15, and is allocated as it stands:
    # any file would do.
    head = raw.read(8)
    length = int.from_bytes(head[4:] if head[:4] == CONTINUATION else head[:4], "little", signed=True)
    if not 0 < length <= raw.seek(0, os.SEEK_END):
        raise pa.ArrowInvalid("the schema is longer than the file")
    raw.seek(0)
    file = pa.ipc.open_stream(raw)

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in file:
            # Offsets of a damaged file would read beyond its buffers.
            batch.validate(full=True)
            narrow = batch.select(columns)
            # A writer may put all rows into one batch.
            for start in range(0, len(narrow), BATCH):
                yield narrow.slice(start, BATCH)

    return file.schema, batches


def _is_image(kind: pa.DataType) -> bool:
    """A struct with ``bytes``, as ``datasets.Image`` writes it, or plain bytes."""
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return bool(binary or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0))


def _class_names(schema: pa.Schema, label: str | None) -> list[str]:
    """Names of the classes by their number, from the metadata that ``datasets`` writes; empty where there are
    none.
    """
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        names = described["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _class(classes: list[str], value: Any) -> str | None:
    """A label as text: the name of its class where the shard names its classes."""
    if isinstance(value, int) and 0 <= value < len(classes):
        return classes[value][:MAX_LABEL]
    return str(value)[:MAX_LABEL] if isinstance(value, str | int) else None


def _member(name: str, value: Any, label: str | None, split: str | None) -> Member:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not data:
        reason = "holds a path and no image; save the dataset with its images embedded"
        return Member(name=name, reason=reason)
    if len(data) > MAX_MEMBER:
        return Member(name=name, reason=f"holds {len(data)} bytes, more than the limit of {MAX_MEMBER}")
    return Member(name=name, source=Source(name=name, data=data), label=label, split=split)
