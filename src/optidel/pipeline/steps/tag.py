"""A corpus without the frames that a person dropped."""

from optidel.corpus.tags import Tags
from optidel.pipeline.steps.leaving import write_without
from optidel.runs.summaries import IndexSummary, read_summary
from optidel.store import Artifact, Store, Workspace


def tag_step(store: Store, indexed: Artifact, tags: Tags) -> Artifact:
    """The index without the dropped frames: they are quarantined like files that cannot be read, with the
    reason.

    Args:
        store: the run.
        indexed: the index.
        tags: of its frames.

    Raises:
        InputError: every frame is dropped.
    """

    def make(work: Workspace) -> None:
        count = read_summary(indexed, IndexSummary).frames
        nothing_left = f"all {count} frames of the corpus are tagged drop; tag fewer"
        write_without(work, indexed, dict.fromkeys(tags.drop, "is tagged drop"), nothing_left)

    config = {"drop": sorted(tags.drop)}
    return store.build("tag", make, version=1, config=config, inputs={"index": indexed})
