"""Held-out V-entropy: what an encoder knows of frames that nothing was chosen from or trained on."""

import polars as pl

from optidel.runs.summaries import EntropySummary, write_summary
from optidel.store import Artifact, Store, Workspace
from optidel.training.heldout import held_out

# Of the masks or views: the same for every encoder, so that they differ by what they know.
SEED = 0


def entropy_step(store: Store, unseen: Artifact, encoder: Artifact, objective: str) -> Artifact:
    """Held-out V-entropy of an encoder, without a label: ``entropy.parquet`` (id, unit, h) and its mean.

    Args:
        store: the run.
        unseen: held-out images.
        encoder: a pre-training.
        objective: that it was trained with.
    """

    def make(work: Workspace) -> None:
        items = unseen.table("items.parquet")
        units = items["unit"].to_list()
        folder, images = encoder.file("encoder"), unseen.array("pixels.npy")
        entropy = held_out(folder, images, objective, seed=SEED, groups=units)

        work.write_table("entropy.parquet", items.with_columns(h=pl.Series(entropy.per_image)))
        summary = EntropySummary(
            images=len(items),
            groups=len(set(units)),
            h=entropy.mean,
            h_low=entropy.low,
            h_high=entropy.high,
            h_null=entropy.null,
        )
        write_summary(work, summary)

    config = {"objective": objective, "seed": SEED}
    inputs = {"unseen": unseen, "encoder": encoder}
    return store.build("entropy", make, version=1, config=config, inputs=inputs)
