"""Frames held out of the corpus: no method sees them, no model trains on them, encoders are measured on them.

Whole groups are held out (a patient, a video, a file, and what is a copy or near-copy of one of its frames):
an image that resembles a trained one says little about images that were never seen.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from optidel.arrays import Indices
from optidel.copies.hashes import hashes, neighbours
from optidel.corpus.frames import Corpus
from optidel.errors import RecipeError
from optidel.readers.decode import fit
from optidel.records import Frame, from_table
from optidel.runs.summaries import IndexSummary, read_summary
from optidel.store import Artifact, Store, Workspace, digest, rows_digest

# Share held out where the recipe names none.
#
# In a pilot 1,000 of 36,436 images were held out. Their mean entropy told encoders of 73 images from those of
# 364, and these from one of everything.
SHARE = 0.03

# Frames from which that share is held out unasked: of fewer, 3 % are too few to measure anything on.
LEAST = 1_000

# Bits of 256 in which the perceptual hashes of near-copies differ at most, as in the audit.
NEAR = 24

# Held-out images that are measured at most: their mean is then known to well under a per cent.
MOST = 4_000

# Held-out frames decoded between two marks; a round number.
BLOCK = 256


def share_of(share: float | None, frames: int) -> float:
    """The share to hold out of a number of frames: the recipe's, else :data:`SHARE` from :data:`LEAST` on."""
    if share is not None:
        return share
    return SHARE if frames >= LEAST else 0.0


def holdout_step(store: Store, indexed: Artifact, share: float) -> Artifact:
    """The index without the frames that are held out, and a table of those.

    Writes what an index holds, and ``held_out.parquet``: the frames with their ``unit``, the number of the
    group that was held out as one. Both are as they were where fewer than two groups fit into the share.

    Args:
        store: the run.
        indexed: the corpus.
        share: of its frames to hold out, in (0, 1).
    """

    def make(work: Workspace) -> None:
        table = indexed.table("frames.parquet")
        quality = indexed.table("quality.parquet")
        units = units_of(table, quality["phash"])
        rows = held_out_rows(table, units, share)
        mask = np.zeros(len(table), dtype=bool)
        mask[rows] = True
        units_column = pl.Series("unit", units[rows])
        staying = table.filter(~mask)
        work.write_table("held_out.parquet", table.filter(mask).with_columns(units_column))
        work.write_table("frames.parquet", staying)
        work.write_table("rejected.parquet", indexed.table("rejected.parquet"))
        work.write_table("quality.parquet", quality.filter(~mask))

        groups = rows_digest(staying["group"])
        summary = indexed.json(IndexSummary.FILE)
        summary |= {"frames": len(staying), "groups": groups, "held_out": len(rows)}
        work.write_json(IndexSummary.FILE, summary)
        # As an index that never listed the others: later steps depend on the frames that stay.
        work.content = rows_digest(staying.select("id", "sha256"))

    return store.build("holdout", make, version=1, config={"share": share}, inputs={"index": indexed})


def units_of(frames: pl.DataFrame, perceptual: pl.Series) -> Int64[np.ndarray, "n"]:
    """Number of the unit of each frame: a group, a file, and what is a copy of them belong together.

    Args:
        frames: of the corpus, in the columns of its index.
        perceptual: (n,), their perceptual hashes as hex digits.
    """
    count = len(frames)
    # A file is a video or a volume: its frames are alike even where no group is known.
    alone = pl.lit("\0") + pl.col("source")
    known = pl.when(pl.col("group") != "").then("group")
    belongings = frames.select("source", pl.coalesce(known, alone).alias("group"), "sha256")
    edges = [np.stack([np.arange(count), _first_rows(column)]) for column in belongings]

    # A blank frame resembles every other blank frame, and says nothing about what else they share.
    sound = np.flatnonzero((frames["flaw"] == "").to_numpy())
    if len(sound):
        keys = hashes(perceptual.gather(sound).to_list())
        for query, near, _ in neighbours(keys, keys, NEAR):
            # Each pair comes from both of its sides, and a frame is its own neighbour.
            earlier = near[near < query]
            if len(earlier):
                edges.append(np.stack([np.full(len(earlier), sound[query]), sound[earlier]]))

    heads, tails = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(heads), np.int8), (heads, tails)), shape=(count, count))
    _, units = connected_components(graph, directed=False)
    return np.asarray(units, dtype=np.int64)


def _first_rows(keys: pl.Series) -> Int64[np.ndarray, "n"]:
    """For each key the first row that holds the same one."""
    numbered = keys.to_frame("key").with_row_index("row")
    first = numbered.select(pl.col("row").first().over("key"))["row"]
    return first.to_numpy().astype(np.int64)


def held_out_rows(frames: pl.DataFrame, units: Int64[np.ndarray, "n"], share: float) -> Indices:
    """Rows to hold out, ascending: whole units in the order of a hash, those that fit into the share.

    The hash is of a unit's pixels, so the draw depends on no order of files, and most units stay on their
    side when the corpus grows. Worthless frames hold nothing to measure: units of such frames alone are left
    in. None are held out where it would be fewer than two units, which have no interval.
    """
    table = frames.select("sha256", sound=pl.col("flaw") == "").with_columns(unit=pl.Series(units))
    members = table.group_by("unit").agg(pl.col("sha256").min(), pl.col("sound").any(), size=pl.len())
    orders = [digest(b"holdout", first.encode()) for first in members["sha256"]]
    # Of equal pixels, which are in one unit but where a caller says otherwise, the lower unit comes first.
    members = members.with_columns(order=pl.Series(orders, dtype=pl.String)).sort("order", "unit")

    left = round(share * len(frames))
    held_units = []
    for unit, sound, size in members.select("unit", "sound", "size").iter_rows():
        if sound and size <= left:
            held_units.append(unit)
            left -= size

    if len(held_units) < 2:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.isin(units, held_units))


def check_holdout(holdout: Artifact, share: float) -> None:
    """Refuse a share that was asked for and cannot be held out.

    Raises:
        RecipeError: fewer than two groups of frames fit into it.
    """
    summary = read_summary(holdout, IndexSummary)
    if not summary.held_out:
        raise RecipeError(
            f"corpus.holdout = {share:g} of {summary.frames} frames is {round(share * summary.frames)}, and "
            "fewer than two groups of frames that belong together fit into it; raise it, or set it to 0"
        )


def unseen_step(store: Store, holdout: Artifact, size: int) -> Artifact:
    """Sound held-out frames at the model's size, at most :data:`MOST`, evenly spaced.

    Writes ``pixels.npy`` u8 (n, size, size, 3) and ``items.parquet`` (id, unit).
    """

    corpus = Corpus.load(holdout)

    def make(work: Workspace) -> None:
        table = holdout.table("held_out.parquet").filter(pl.col("flaw") == "")
        positions = np.linspace(0, len(table) - 1, min(len(table), MOST))
        items = table[np.unique(positions.round().astype(np.int64))]
        # Read as the corpus is, its crop and its window included.
        unseen = replace(corpus, frames=from_table(Frame, items.drop("unit")), rejected=[])

        pixels = work.open_array("pixels.npy", (len(items), size, size, 3), np.uint8)
        for start, stop in work.blocks(len(items), BLOCK, "held-out frames"):
            for row, image in unseen.images(range(start, stop)):
                pixels[row] = fit(image, size)
        work.write_table("items.parquet", items.select("id", "unit"))

    config: dict[str, Any] = {"size": size}
    if corpus.window is not None:
        config["window"] = corpus.window  # earlier versions read these frames without it
    return store.build("unseen", make, version=1, config=config, inputs={"holdout": holdout})
