"""What a selection method chooses among: whole frames, key patches, or frames by their hardest key patch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Int64

from optidel.arrays import Indices, Scores, Vectors
from optidel.recipe import ScorerName
from optidel.records import KeyPatch, from_table
from optidel.store import Artifact
from optidel.vinformation import difficulty

Unit = Literal["frame", "key patch"]

NO_PATCH = "no key patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Items that cannot be chosen: ``rows`` int64 (r,) and ``ids`` as in :class:`Items`, and why."""

    rows: Indices
    ids: pl.Series
    reasons: pl.Series


NO_NAMES = pl.Series(dtype=pl.String)
NOTHING = Refused(rows=np.empty(0, np.int64), ids=NO_NAMES, reasons=NO_NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Items of a corpus, and those that cannot be chosen.

    ``unit`` is what an item is. Of the n items, ``rows`` int64 (n,) is what training reads of each (a row of
    the frames, or of the accepted key patches), ``ids`` (n,) their names, ``frames`` int64 (n,) the row of
    the frame that each is, or comes from. ``vectors`` float (n, d) and ``difficulty`` float (n,), higher is
    harder, are what methods read. ``refused`` are the items left out.
    """

    unit: Unit
    rows: Indices
    ids: pl.Series
    frames: Int64[np.ndarray, "n"]
    vectors: Vectors
    difficulty: Scores | None
    refused: Refused = NOTHING

    def __len__(self) -> int:
        """How many can be chosen."""
        return len(self.ids)

    def without(self, positions: Indices) -> "Items":
        """The items but those at some positions, int64 (k,), ascending."""
        mask = np.ones(len(self), dtype=bool)
        mask[positions] = False
        rest = np.flatnonzero(mask)
        return replace(
            self,
            rows=self.rows[rest],
            ids=self.ids.gather(rest),
            frames=self.frames[rest],
            vectors=self.vectors[rest],
            difficulty=None if self.difficulty is None else self.difficulty[rest],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What was measured of frames or key patches, by row.

    ``artifact`` holds their errors, from which ``scorer`` makes the difficulty; ``vectors`` float (n, d) are
    what methods compare. ``hardness`` holds the difficulty of scorers that need more than the errors.
    ``seed`` is that of the choice, from which the scorer ``random`` draws.
    """

    artifact: Artifact
    vectors: Vectors
    scorer: ScorerName
    hardness: Artifact | None = None
    seed: int = 0

    def difficulty(self, rows: Indices | slice = slice(None)) -> Scores:
        """Difficulty, float64 (m,), higher is harder, of some rows."""
        if self.scorer == "learnability" or self.scorer == "scale-free":
            assert self.hardness is not None, "the pipeline makes it for these scorers"
            return np.asarray(self.hardness.array("difficulty.npy")[rows], np.float64)

        if self.scorer == "random":
            drawn = np.random.default_rng(self.seed).random(len(self.vectors))
            return np.asarray(drawn[rows])

        error, null_error = self.artifact.array("error.npy"), self.artifact.array("null_error.npy")
        # In 64 bits before anything is subtracted: files hold 32.
        error = np.asarray(error[rows], np.float64)
        null_error = np.asarray(null_error[rows], np.float64)
        return difficulty(error, null_error, self.scorer)


def frame_items(frames: pl.DataFrame, scored: Scored | None, *, keep_flawed: bool) -> Items:
    """Whole frames.

    Args:
        frames: of the corpus, in the columns of its index.
        scored: their vectors and errors; None for methods that look at no image.
        keep_flawed: whether blank and dark frames can be chosen.
    """
    flawed = (frames["flaw"] != "").to_numpy() & (not keep_flawed)
    rows: Indices = np.flatnonzero(~flawed)
    vectors = scored.vectors if scored else _hash_vectors(frames["sha256"])
    if flawed.any():
        vectors = vectors[rows]  # else a memory map stays one
    return Items(
        unit="frame",
        rows=rows,
        ids=frames["id"].gather(rows),
        frames=rows,
        vectors=vectors,
        difficulty=scored.difficulty(rows) if scored else None,
        refused=_refused(frames, rows),
    )


def patch_items(frames: pl.DataFrame, scored: Scored) -> Items:
    """The accepted key patches; their ids say frame and box."""
    patches = accepted_patches(scored.artifact)
    row_of = _rows_by_id(frames)
    ids, frame_rows = [], []
    for patch in patches:
        box = ",".join(map(str, patch.box))
        ids.append(f"{patch.frame}@{box}")
        frame_rows.append(row_of[patch.frame])
    return Items(
        unit="key patch",
        rows=np.arange(len(patches)),
        ids=pl.Series(ids, dtype=pl.String),
        frames=np.array(frame_rows, np.int64),
        vectors=scored.vectors,
        difficulty=scored.difficulty(),
    )


def holder_items(frames: pl.DataFrame, scored: Scored) -> Items:
    """Whole frames, each represented by its hardest key patch; a frame without one cannot be chosen."""
    patches, scores = accepted_patches(scored.artifact), scored.difficulty()
    best = hardest_of_each(patches, scores)
    row_of = _rows_by_id(frames)
    # Training reads frames, the method reads the vectors of their patches.
    rows = np.array([row_of[patches[position].frame] for position in best], np.int64)
    vectors = np.asarray(scored.vectors[best])
    return Items(
        unit="frame",
        rows=rows,
        ids=frames["id"].gather(rows),
        frames=rows,
        vectors=vectors,
        difficulty=scores[best],
        refused=_refused(frames, rows, NO_PATCH),
    )


def _refused(frames: pl.DataFrame, rows: Indices, reason: str = "") -> Refused:
    """The frames that are not among ``rows``: their flaw is why, or, where they have none, ``reason``."""
    rest = np.setdiff1d(np.arange(len(frames)), rows)
    refused = frames[rest].select("id", flaw=pl.col("flaw").replace("", reason))
    return Refused(rows=rest, ids=refused["id"], reasons=refused["flaw"])


def hardest_of_each(patches: Sequence[KeyPatch], scores: Scores) -> Int64[np.ndarray, "f"]:
    """Position of the hardest patch of every frame that has any, the first at a tie; ascending."""
    best: dict[str, int] = {}
    for position, patch in enumerate(patches):
        if patch.frame not in best or scores[position] > scores[best[patch.frame]]:
            best[patch.frame] = position
    return np.array(sorted(best.values()), dtype=np.int64)


def accepted_patches(patched: Artifact) -> list[KeyPatch]:
    """Key patches that may be used, in the order of their vectors."""
    table = patched.table("patches.parquet")
    patches = from_table(KeyPatch, table)
    return [patch for patch in patches if not patch.refused]


def _rows_by_id(frames: pl.DataFrame) -> dict[str, int]:
    return dict(zip(frames["id"].to_list(), range(len(frames)), strict=True))


def _hash_vectors(hashes: pl.Series) -> Vectors:
    """Pixel hashes as rows, float32 (n, 32).

    A draw that follows them does not depend on the order of files and needs no embedding.
    """
    data = b"".join(hashes.str.decode("hex").to_list())
    digits = np.frombuffer(data, np.uint8).reshape(len(hashes), -1).astype(np.float32)
    return digits + np.float32(1)  # no row may be all zero
