"""``manifest.csv``: which image of an export is which of the originals, and why it was kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from optidel.corpus.frames import Corpus
from optidel.corpus.names import Names
from optidel.corpus.tags import Tags
from optidel.export.selection import ExportedSelection
from optidel.records import Composite, from_table

FILE = "manifest.csv"

NO_TAGS = Tags()

COLUMNS = {
    "item": pl.Int64,
    "rank": pl.Int64,
    "reason": pl.String,
    "gain": pl.Float64,
    "id": pl.String,
    "source": pl.String,
    "locator": pl.String,
    "height": pl.Int64,
    "width": pl.Int64,
    "group": pl.String,
    "label": pl.String,
    "sha256": pl.String,
    "sources": pl.String,
    "boxes": pl.String,
}

# Columns that hold names of files or of people; `sources` holds names too, as a JSON list.
NAMES = ("id", "source", "locator", "group")

# Digits of a key: a million images sort by name as they sort by rank.
KEY_DIGITS = 6

# First characters that make a spreadsheet read a cell as a formula (OWASP, CSV injection).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def manifest(selection: ExportedSelection, corpus: Corpus, tags: Tags = NO_TAGS) -> pl.DataFrame:
    """A row an image, keyed by rank: 000001 is the best. What is tagged ``drop`` has none.

    Rows are in the order of the corpus, so that one pass over its files serves, or of the composites.

    Columns: item, key, rank, reason, gain, id, source, locator, height, width, group, label, sha256, sources,
    boxes; the last two, JSON, say for a composite which frames and boxes (x0, y0, x1, y1 px, ends exclusive)
    it is made of.
    """
    rows = _composite_rows(selection) if selection.compose else _frame_rows(selection, corpus, tags.keep)
    table = pl.DataFrame(rows, schema=COLUMNS)
    if tags.drop:
        table = _without(table, frozenset(tags.drop))

    most = str(len(rows))
    digits = max(KEY_DIGITS, len(most))
    keys = []
    for rank in table["rank"]:
        number = str(rank + 1)
        keys.append(number.zfill(digits))
    return table.with_columns(key=pl.Series(keys))


def _without(table: pl.DataFrame, dropped: frozenset[str]) -> pl.DataFrame:
    """The table without dropped frames and without composites that show one; ranks close up."""
    staying = []
    for name, sources in table.select("id", "sources").iter_rows():
        shown = json.loads(sources) if sources else [name]
        staying.append(dropped.isdisjoint(shown))
    rank = pl.col("rank").rank("ordinal").cast(pl.Int64) - 1
    return table.filter(pl.Series(staying, dtype=pl.Boolean)).with_columns(rank)


def _frame_rows(selection: ExportedSelection, corpus: Corpus, keep: Sequence[str]) -> list[dict[str, Any]]:
    # In the order of the corpus, so that each file is opened once.
    table = selection.select.table("selection.parquet")
    count = int(table["kept"].sum())
    # What a person keeps comes behind what the method chose, unless it chose that too.
    added = ~pl.col("kept") & pl.col("id").is_in(list(keep))
    kept = table.filter(pl.col("kept") | added).sort("item")
    behind = count + added.cum_sum() - 1
    kept = kept.with_columns(
        rank=pl.when(added).then(behind).otherwise("rank"),
        reason=pl.when(added).then(pl.lit("kept: tagged keep")).otherwise("reason"),
    )
    rows = []
    for row in kept.select("item", "rank", "reason", "gain").iter_rows(named=True):
        frame = corpus.frames[row["item"]]
        for name in ("id", "source", "locator", "height", "width", "group", "label", "sha256"):
            row[name] = getattr(frame, name)
        rows.append(row)
    return rows


def _composite_rows(selection: ExportedSelection) -> list[dict[str, Any]]:
    assert selection.compose is not None
    kept = selection.select.table("selection.parquet").filter("kept")
    reason_of = dict(kept.select("id", "reason").iter_rows())
    composites = from_table(Composite, selection.compose.table("composites.parquet"))
    rows = []
    for rank, composite in enumerate(composites):
        reasons = []
        for frame, box in zip(composite.sources, composite.boxes, strict=True):
            corners = ",".join(map(str, box))
            patch = f"{frame}@{corners}"
            # A frame that stays whole is no key patch, and has no reason of its own.
            if patch in reason_of:
                reasons.append(reason_of[patch])
        distinct = dict.fromkeys(reasons)
        row = {
            "item": rank,
            "rank": rank,
            "reason": "; ".join(distinct),
            "id": composite.id,
            "height": composite.side,
            "width": composite.side,
            "sources": json.dumps(composite.sources, ensure_ascii=False),
            "boxes": json.dumps(composite.boxes),
        }
        rows.append(row)
    return rows


def write_manifest(table: pl.DataFrame, paths: list[str], names: Names, target: Path) -> None:
    """Write the manifest by rank, from 1, with the path of every image.

    Args:
        table: of :func:`manifest`.
        paths: of each row, where its image lies.
        names: how the originals are called.
        target: the CSV file. A text that a spreadsheet would run as a formula has an apostrophe before it.
    """
    rank_from_1 = pl.col("rank") + 1
    table = table.with_columns(path=pl.Series(paths), rank=rank_from_1)
    if not names.plain:
        table = _renamed(table, names)
    columns = [name for name in table.columns if name not in ("item", "key", "path")]
    table = table.select("key", "path", *columns)
    texts = pl.col(pl.String).map_elements(inert, pl.String)
    written = table.sort("rank").with_columns(texts)
    written.write_csv(target)


def _renamed(table: pl.DataFrame, names: Names) -> pl.DataFrame:
    """The table with every name of an original in another form; composites have names of our own."""

    def rename_list(text: str) -> str:
        frames = json.loads(text)
        other_names = [names(frame) for frame in frames]
        return json.dumps(other_names)

    renamed = [pl.col("sources").map_elements(rename_list, pl.String)]
    composites = table["sources"].null_count() == 0
    if not composites:
        renamed.append(pl.col(NAMES).map_elements(names, pl.String))
    return table.with_columns(renamed)


def inert(text: str) -> str:
    """A text that no spreadsheet reads as a formula: an apostrophe goes before ``=``, ``+``, ``-``, ``@``."""
    if text.startswith(FORMULA_STARTS):
        return f"'{text}"
    return text
