"""The pixels of the corpus, decoded once at the model's size."""

from optidel.corpus.frames import Corpus
from optidel.corpus.pixels import write_pixels
from optidel.store import Artifact, Store, Workspace


def pixels_step(store: Store, indexed: Artifact, size: int) -> Artifact:
    """Decode every frame once, at ``size`` px; everything that trains or embeds reads from here."""

    def make(work: Workspace) -> None:
        write_pixels(work, corpus=Corpus.load(indexed), size=size, store=store)

    return store.build("pixels", make, version=2, config={"size": size}, inputs={"index": indexed})
