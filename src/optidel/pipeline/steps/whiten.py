"""Vectors that methods compare: an embedding, whitened."""

import numpy as np
from jaxtyping import Int64

from optidel.arrays import Vectors
from optidel.features.rows import spans, unit
from optidel.features.whitening import Whitening, fit
from optidel.runs.summaries import WhitenSummary, write_summary
from optidel.store import Artifact, Store, Workspace

# Rows transformed between two marks; a round number, as a block takes milliseconds.
BLOCK = 4096


def whiten_step(store: Store, indexed: Artifact | None, scored: Artifact) -> Artifact:
    """Whiten the vectors of an embedding, or of key patches; ``vectors.npy`` has a row for each of theirs.

    The axes are those of the items that can be chosen: a hundred blank frames would be an axis of their own.

    Args:
        store: the run.
        indexed: the corpus, where ``scored`` is its embedding; None for key patches, all of which are sound.
        scored: artifact with ``vectors.npy``, float (n, d).
    """

    def make(work: Workspace) -> None:
        vectors = scored.array("vectors.npy")
        rows = _rows_of_axes(indexed, vectors)
        sound = vectors if len(rows) == len(vectors) else vectors[rows]
        whitening = whitening_of(indexed, scored)

        whitened = work.open_array("vectors.npy", (len(vectors), len(whitening.scale)), np.float32)
        for start, stop in work.blocks(len(vectors), BLOCK, "whiten"):
            whitened[start:stop] = whitening.transform(np.asarray(vectors[start:stop]))

        summary = WhitenSummary(
            axes=len(whitening.scale),
            cosine_before=mean_cosine(sound),
            cosine_after=mean_cosine(whitened[rows]),
        )
        write_summary(work, summary)

    inputs = {"scored": scored} if indexed is None else {"index": indexed, "scored": scored}
    return store.build("whiten", make, version=1, config={}, inputs=inputs)


def whitening_of(indexed: Artifact | None, scored: Artifact) -> Whitening:
    """The map that whitens the vectors of an embedding, or of key patches; the same bytes each time.

    Args:
        indexed: the corpus, where ``scored`` is its embedding; None for key patches, all of which are sound.
        scored: artifact with ``vectors.npy``, float (n, d).
    """
    vectors = scored.array("vectors.npy")
    rows = _rows_of_axes(indexed, vectors)
    return fit(vectors if len(rows) == len(vectors) else vectors[rows])


def _rows_of_axes(indexed: Artifact | None, vectors: Vectors) -> Int64[np.ndarray, "m"]:
    """Rows that the axes are fitted to."""
    return np.arange(len(vectors)) if indexed is None else sound_rows(indexed)


def sound_rows(indexed: Artifact) -> Int64[np.ndarray, "m"]:
    """Frames that are not worthless; all where none is sound, which is told where something is chosen."""
    flaws = indexed.table("frames.parquet")["flaw"]
    sound = np.flatnonzero((flaws == "").to_numpy())
    return sound if len(sound) else np.arange(len(flaws))


def mean_cosine(vectors: Vectors) -> float:
    """Mean cosine similarity of two different rows, 0 where there is one.

    The sum over all pairs is the squared length of the sum of unit rows, so no pair is formed.
    """
    count = len(vectors)
    if count < 2:
        return 0.0
    total = np.zeros(vectors.shape[1])
    for span in spans(*vectors.shape):
        total += unit(np.asarray(vectors[span])).sum(axis=0, dtype=np.float64)
    return float((total @ total - count) / (count * (count - 1)))
