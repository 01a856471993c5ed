"""A selection on disk: the table of an artifact of the step ``select``, and what is read from it."""

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from optidel.arrays import Indices
from optidel.records import Selection
from optidel.store import Artifact, digest

# Why an item went that a larger budget kept.
BELOW = "ranked below the budget"
# Why an item stayed that no method was asked about.
TAGGED = "kept: tagged keep"


def selection_table(ids: pl.Series, rows: Indices, selection: Selection) -> pl.DataFrame:
    """A selection as a table, one row an item: item, id, kept, rank, gain, twin, similarity, reason.

    Args:
        ids: (n,), of the items.
        rows: int64 (n,), what training reads of each item: its frame's row, or its key patch's.
        selection: the choice among the items.
    """
    count = len(ids)
    rank = np.full(count, -1, np.int64)
    gain = np.full(count, np.nan)
    rank[selection.indices] = np.arange(len(selection.indices))
    gain[selection.indices] = selection.gains
    # A row that is null gives a twin that is null.
    twin_rows = pl.Series(selection.kept_twin, dtype=pl.Int64)
    twins = ids.gather(twin_rows.set(twin_rows < 0, None))
    similarity = np.asarray(selection.similarity, np.float64)
    columns = {
        "item": np.asarray(rows, np.int64),
        "id": ids,
        "kept": rank >= 0,
        "rank": rank,
        "gain": gain,
        "twin": twins,
        "similarity": similarity,
        "reason": pl.Series(selection.reason.astype(str), dtype=pl.String),
    }
    table = pl.DataFrame(columns)
    # Arrays have NaN where there is no number; a table has null, which every reader of Parquet knows.
    return table.with_columns(pl.col("gain", "similarity").fill_nan(None))


def refused_table(ids: pl.Series, rows: Indices, reasons: pl.Series) -> pl.DataFrame:
    """Items that could not be chosen, as rows of a selection's table."""
    count = len(ids)
    no_twin, no_similarity = np.full(count, -1, np.int64), np.full(count, np.nan)
    nothing = Selection(
        indices=np.empty(0, np.int64),
        gains=np.empty(0),
        kept_twin=no_twin,
        similarity=no_similarity,
        reason=np.array(reasons.to_list(), dtype=str),
    )
    return selection_table(ids, rows, nothing)


def kept_first(ids: pl.Series, rows: Indices, kept: Indices, rest: pl.DataFrame) -> pl.DataFrame:
    """A selection's table with what a person keeps before what the method chose.

    Args:
        ids: of all items.
        rows: int64, what training reads of each of them.
        kept: int64 (k,), positions of the items that a person keeps.
        rest: the table of all other items.
    """
    count = len(kept)
    person = Selection(
        indices=np.arange(count),
        gains=np.full(count, np.nan),
        kept_twin=np.full(count, -1, np.int64),
        similarity=np.full(count, np.nan),
        reason=np.full(count, TAGGED),
    )
    table = selection_table(ids.gather(kept), rows[kept], person)
    later = pl.when("kept").then(pl.col("rank") + count).otherwise("rank")
    return pl.concat([table, rest.with_columns(rank=later)])


def cut(table: pl.DataFrame, count: int) -> pl.DataFrame:
    """A selection's table with only its first ``count`` rows kept; a row whose twin went has none."""
    kept = pl.col("rank").is_between(0, count - 1)
    kept_ids = table.filter(kept)["id"].to_list()
    twin_kept = pl.col("twin").is_in(kept_ids)
    lost = pl.col("kept") & ~kept

    rank = pl.when(kept).then("rank").otherwise(pl.lit(-1, pl.Int64))
    gain = pl.when(kept).then("gain")
    twin = pl.when(twin_kept).then("twin")
    similarity = pl.when(twin_kept).then("similarity")
    reason = pl.when(lost).then(pl.lit(BELOW)).otherwise("reason")
    return table.with_columns(
        kept=kept, rank=rank, gain=gain, twin=twin, similarity=similarity, reason=reason
    )


def kept_content(table: pl.DataFrame) -> str:
    """What training on a selection depends on: which items, in which order, and how often each is shown.

    Equal choices then share their encoder.
    """
    kept = table.filter("kept").sort("rank")
    items = kept["item"].to_numpy()
    # Little-endian bytes, so that the hash is the same on every machine.
    parts = [items.astype("<i8").tobytes()]
    for name, kind in (("weight", "<f8"), ("concept", "<i8")):
        if name in table.columns:
            parts.append(kept[name].to_numpy().astype(kind).tobytes())
    return digest(b"kept", *parts)


def kept_rows(selected: Artifact) -> Indices:
    """Rows of the items kept, int64 (m,), best first."""
    table = selected.table("selection.parquet")
    kept = table.filter("kept").sort("rank")
    return kept["item"].to_numpy().astype(np.int64)


def kept_frequencies(selected: Artifact) -> tuple[Float64[np.ndarray, "m"], Int64[np.ndarray, "m"] | None]:
    """How often each kept item is shown, best first: weights, and concepts where every batch is balanced.

    Args:
        selected: a choice that says so.
    """
    kept = selected.table("selection.parquet").filter("kept").sort("rank")
    weights = kept["weight"].to_numpy().astype(np.float64)
    concepts = kept["concept"].to_numpy().astype(np.int64) if "concept" in kept.columns else None
    return weights, concepts
