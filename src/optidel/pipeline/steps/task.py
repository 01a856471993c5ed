"""The labelled set at the model's size, split into images to train on and images to test on."""

from pathlib import Path
from typing import Any

import polars as pl

from optidel.datasets import Registry
from optidel.evaluation.tasks import known_set, load_task
from optidel.recipe import EvaluateSection
from optidel.records import Rejected, to_table
from optidel.runs.summaries import TaskSummary, write_summary
from optidel.store import Artifact, Store, Workspace, digest

ITEMS = {"id": pl.String, "split": pl.String, "source": pl.String, "group": pl.String}
"""Columns of ``items.parquet``, one row a labelled image."""


def task_step(
    store: Store, folder: Path, size: int, options: EvaluateSection, listing: str, registry: Registry
) -> Artifact:
    """Read the labelled set and split it; the split is the same for every method and seed.

    Args:
        store: the run.
        folder: the labelled set.
        size: side of the images and masks in px.
        options: how many images to train on and to test on, and which belong together.
        listing: hash of the names, sizes and times of the folder's files.
        registry: sets whose layout is known.
    """

    def make(work: Workspace) -> None:
        task = load_task(
            folder,
            size,
            train=options.train,
            test=options.test,
            seed=0,  # one split for all seeds, so that their scores can be paired by image
            group=options.group,
            registry=registry,
        )
        work.write_array("images.npy", task.images)
        work.write_array("masks.npy", task.masks)

        items = {
            "id": task.ids.tolist(),
            "split": task.split.tolist(),
            "source": task.sources,
            "group": task.groups,
        }
        work.write_table("items.parquet", pl.DataFrame(items, schema=ITEMS))
        work.write_table("rejected.parquet", to_table(Rejected, task.rejected))
        write_summary(work, TaskSummary(name=task.name, classes=task.classes))

    config = _config(folder, size, options, listing, registry)
    return store.build("task", make, version=2, config=config)


def _config(
    folder: Path, size: int, options: EvaluateSection, listing: str, registry: Registry
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "size": size,
        "train": options.train,
        "test": options.test,
        "listing": listing,
        "group": options.group,
    }
    if options.group and Path(options.group).is_file():
        config["manifest"] = digest(Path(options.group).read_bytes())

    layout = known_set(folder, registry)
    if layout:
        config["set"] = digest(repr(layout.dataset).encode())
    return config
