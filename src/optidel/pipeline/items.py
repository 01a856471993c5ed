"""What a selection method chooses among: whole frames, key patches, or frames by their hardest key patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64

from optidel.arrays import Indices, Scores, Vectors
from optidel.records import Frame, KeyPatch, from_table
from optidel.store import Artifact
from optidel.vinformation import Scorer, difficulty

Unit = Literal["frame", "key patch"]

NO_PATCH = "no key patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Items of a corpus, and those that cannot be chosen.

    ``unit`` is what an item is. Of the n items, ``rows`` int64 (n,) is what training reads of each (a row of the
    frames, or of the accepted key patches), ``ids`` (n,) their names, ``frames`` int64 (n,) the row of the frame
    that each is, or comes from. ``vectors`` float (n, d) and ``difficulty`` float (n,), higher is harder, are
    what methods read. Of the items left out, ``refused_rows``, ``refused_ids`` and ``reasons``.
    """

    unit: Unit
    rows: Indices
    ids: Sequence[str]
    frames: Int64[np.ndarray, "n"]
    vectors: Vectors
    difficulty: Scores | None
    refused_rows: Indices
    refused_ids: Sequence[str]
    reasons: Sequence[str]

    def __len__(self) -> int:
        """How many can be chosen."""
        return len(self.ids)


def frame_items(
    frames: Sequence[Frame], embedded: Artifact | None, scorer: Scorer, *, keep_flawed: bool
) -> Items:
    """Whole frames.

    Args:
        frames: of the corpus.
        embedded: their vectors and errors; None for methods that look at no image.
        scorer: of the difficulty.
        keep_flawed: whether blank and dark frames can be chosen.
    """
    flawed = np.array([bool(frame.flaw) and not keep_flawed for frame in frames])
    rows: Indices = np.flatnonzero(~flawed)
    refused: Indices = np.flatnonzero(flawed)
    ids = np.array([frame.id for frame in frames], dtype=object)
    flaws = np.array([frame.flaw for frame in frames], dtype=object)
    vectors = embedded.array("vectors.npy") if embedded else _hash_vectors(frames)
    return Items(
        unit="frame",
        rows=rows,
        ids=ids[rows].tolist(),
        frames=rows,
        vectors=vectors[rows] if len(refused) else vectors,  # a memory map stays one
        difficulty=hardness(embedded, scorer, rows) if embedded else None,
        refused_rows=refused,
        refused_ids=ids[refused].tolist(),
        reasons=flaws[refused].tolist(),
    )


def patch_items(frames: Sequence[Frame], patched: Artifact, scorer: Scorer) -> Items:
    """The accepted key patches; their ids say frame and box."""
    patches = accepted_patches(patched)
    row_of = _rows_by_id(frames)
    return Items(
        unit="key patch",
        rows=np.arange(len(patches)),
        ids=[f"{patch.frame}@{','.join(map(str, patch.box))}" for patch in patches],
        frames=np.array([row_of[patch.frame] for patch in patches], np.int64),
        vectors=patched.array("vectors.npy"),
        difficulty=hardness(patched, scorer),
        refused_rows=np.empty(0, np.int64),
        refused_ids=[],
        reasons=[],
    )


def holder_items(frames: Sequence[Frame], patched: Artifact, scorer: Scorer) -> Items:
    """Whole frames, each represented by its hardest key patch; a frame without one cannot be chosen."""
    patches, scores = accepted_patches(patched), hardness(patched, scorer)
    best = hardest_of_each(patches, scores)
    row_of = _rows_by_id(frames)
    rows = np.array([row_of[patches[position].frame] for position in best], np.int64)
    refused = np.setdiff1d(np.arange(len(frames)), rows)
    return Items(
        unit="frame",
        rows=rows,
        ids=[frames[row].id for row in rows],
        frames=rows,
        vectors=np.asarray(patched.array("vectors.npy")[best]),
        difficulty=scores[best],
        refused_rows=refused,
        refused_ids=[frames[row].id for row in refused],
        reasons=[frames[row].flaw or NO_PATCH for row in refused],
    )


def hardest_of_each(patches: Sequence[KeyPatch], scores: Scores) -> Int64[np.ndarray, "f"]:
    """Position of the hardest patch of every frame that has any, the first at a tie; in the order of ``patches``."""
    best: dict[str, int] = {}
    for position, patch in enumerate(patches):
        if patch.frame not in best or scores[position] > scores[best[patch.frame]]:
            best[patch.frame] = position
    return np.array(sorted(best.values()), dtype=np.int64)


def accepted_patches(patched: Artifact) -> list[KeyPatch]:
    """Key patches that may be used, in the order of their vectors."""
    patches = from_table(KeyPatch, patched.table("patches.parquet"))
    return [patch for patch in patches if not patch.refused]


def hardness(scored: Artifact, scorer: Scorer, rows: Indices | slice = slice(None)) -> Scores:
    """Difficulty, float64 (m,), higher is harder, of ``rows`` of what an artifact scored; of all by default."""
    error = np.asarray(scored.array("error.npy")[rows], np.float64)
    null_error = np.asarray(scored.array("null_error.npy")[rows], np.float64)
    return difficulty(error, null_error, scorer)


def _rows_by_id(frames: Sequence[Frame]) -> dict[str, int]:
    return {frame.id: row for row, frame in enumerate(frames)}


def _hash_vectors(frames: Sequence[Frame]) -> Vectors:
    """Pixel hashes as rows, float32 (n, 32).

    A draw that follows them does not depend on the order of files and needs no embedding.
    """
    digits = [np.frombuffer(bytes.fromhex(frame.sha256), np.uint8) for frame in frames]
    # No row may be all zero, so each byte counts from 1.
    return np.array(digits, np.float32) + 1
