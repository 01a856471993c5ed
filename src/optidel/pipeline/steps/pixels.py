"""The pixels of the corpus at the model's size: kept for every frame, or for those that are trained on."""

from typing import Any, Literal

from optidel.arrays import Indices
from optidel.corpus.frames import Corpus
from optidel.corpus.pixels import KEPT, write_pixels, write_source
from optidel.mapping import Plan
from optidel.runs.summaries import IndexSummary, read_summary
from optidel.store import Artifact, Store, Workspace, digest

# Of which frames pixels are kept.
Cache = Literal["auto", "all", "chosen"]


def keeps_all(cache: Cache, frames: int, size: int) -> bool:
    """Whether the pixels of every frame are kept at ``size`` px.

    >>> keeps_all("auto", 100_000, 224), keeps_all("auto", 200_000, 224), keeps_all("all", 10**9, 224)
    (True, False, True)
    """
    if cache == "auto":
        return frames * size * size * 3 <= KEPT
    return cache == "all"


def pixels_step(
    store: Store, indexed: Artifact, size: int, plan: Plan | None = None, cache: Cache = "all"
) -> Artifact:
    """Every frame at ``size`` px; everything that trains or embeds reads from here.

    Args:
        store: the run.
        indexed: the corpus.
        size: side in px.
        plan: who does the shards; None for this process.
        cache: ``all`` decodes every frame once and keeps it; ``chosen`` keeps none here, and whoever reads a
            frame decodes it; ``auto`` keeps them up to :data:`~optidel.corpus.pixels.KEPT` bytes.

    Raises:
        PendingError: other processes are to do shards.
    """

    def make(work: Workspace) -> None:
        corpus = Corpus.load(indexed)
        if keeps:
            write_pixels(work, corpus=corpus, size=size, store=store, indexed=indexed, plan=plan)
        else:
            write_source(work, corpus, size, indexed)

    keeps = keeps_all(cache, read_summary(indexed, IndexSummary).frames, size)
    config: dict[str, Any] = {"size": size}
    if not keeps:
        config["kept"] = False
    return store.build("pixels", make, version=2, config=config, inputs={"index": indexed})


def subset_step(
    store: Store, indexed: Artifact, rows: Indices, size: int, plan: Plan | None = None
) -> Artifact:
    """Some frames at ``size`` px, decoded once and kept: those that something is trained on.

    Args:
        store: the run.
        indexed: the corpus.
        rows: int64 (m,), which of its frames, in the order in which they are wanted.
        size: side in px.
        plan: who does the shards; None for this process.

    Raises:
        PendingError: other processes are to do shards.
    """

    def make(work: Workspace) -> None:
        corpus = Corpus.load(indexed)
        write_pixels(work, corpus, size, store=store, indexed=indexed, plan=plan, chosen=rows)

    config = {"size": size, "rows": digest(rows.tobytes())}
    return store.build("subset", make, version=1, config=config, inputs={"index": indexed})
