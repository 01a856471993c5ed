"""The pixels of the corpus, decoded once at the model's size."""

from optidel.corpus.frames import Corpus
from optidel.corpus.pixels import write_pixels
from optidel.mapping import Plan
from optidel.store import Artifact, Store, Workspace


def pixels_step(store: Store, indexed: Artifact, size: int, plan: Plan | None = None) -> Artifact:
    """Decode every frame once, at ``size`` px; everything that trains or embeds reads from here.

    Args:
        store: the run.
        indexed: the corpus.
        size: side in px.
        plan: who does the shards; None for this process.

    Raises:
        PendingError: other processes are to do shards.
    """

    def make(work: Workspace) -> None:
        write_pixels(work, corpus=Corpus.load(indexed), size=size, store=store, indexed=indexed, plan=plan)

    return store.build("pixels", make, version=2, config={"size": size}, inputs={"index": indexed})
