"""A labelled set in a run folder: written once by the step ``task``, read by every evaluation.

The test images' masks are kept at their own size too, one PNG each, so that scores need neither the folder
again nor all masks in memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int64, UInt8
from PIL import Image as PillowImage

from optidel.arrays import VOID, Images
from optidel.evaluation.class_sets import ClassTask
from optidel.evaluation.metrics import Scores, score_each
from optidel.evaluation.native import classes_at, scaled
from optidel.evaluation.ridge import precision_of_levels
from optidel.evaluation.splits import Part
from optidel.evaluation.tasks import Task
from optidel.records import Rejected, to_table
from optidel.runs.summaries import TaskSummary, read_summary, write_summary
from optidel.store import Artifact, Workspace

# Of the PNGs: zlib's own default; nothing depends on it.
COMPRESSION = 6

# Steps of a share in which scores are compared for average precision.
LEVELS = 1024

SCHEMA = {"id": pl.String, "split": pl.String, "source": pl.String, "group": pl.String}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The artifact of a labelled set: ``items`` one row an image."""

    artifact: Artifact
    items: pl.DataFrame

    @property
    def images(self) -> Images:
        """U8 (n, s, s, 3), memory-mapped."""
        return self.artifact.array("images.npy")

    def rows(self, part: Part) -> Int64[np.ndarray, "m"]:
        """Rows of one part."""
        return np.flatnonzero(self.items["split"].to_numpy() == part)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask(Stored):
    """The artifact of a labelled set of masks: ``classes`` counts the background."""

    classes: int

    @property
    def masks(self) -> UInt8[np.ndarray, "n s s"]:
        """Class of every pixel at the model's size, 255 void, memory-mapped."""
        return self.artifact.array("masks.npy")

    def native_mask(self, row: int) -> UInt8[np.ndarray, "h w"]:
        """Class of every pixel of a test image at its own size, 255 void."""
        with PillowImage.open(self.artifact.file(native_name(row))) as picture:
            return np.array(picture, dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClasses(Stored):
    """The artifact of a labelled set of classes: ``classes`` are their names, ``exclusive``: every image has
    exactly one.
    """

    classes: tuple[str, ...]
    exclusive: bool

    @property
    def labels(self) -> UInt8[np.ndarray, "n k"]:
        """0 no, 1 yes, 255 not known."""
        return self.artifact.array("labels.npy")


def native_name(row: int) -> str:
    """Where in the artifact the mask of a test image lies at its own size."""
    return f"native/{row:06d}.png"


def write_task(work: Workspace, task: Task) -> None:
    """Write a labelled set, the test masks at their own size one after the other."""
    work.write_array("images.npy", task.images)
    work.write_array("masks.npy", task.masks)
    height, width = task.sizes.T
    _write_items(work, task, height=height, width=width)

    for row in task.rows("test").tolist():
        picture = PillowImage.fromarray(task.native_mask(row))
        with work.writing(native_name(row)) as path:
            picture.save(path, "png", compress_level=COMPRESSION)
    write_summary(work, TaskSummary(name=task.name, classes=task.classes, masks=task.reading.text))


def _write_items(work: Workspace, task: Task | ClassTask, **columns: Int64[np.ndarray, "n"]) -> None:
    """What is known of each image of a labelled set, and what was not used."""
    known = (task.ids.tolist(), task.split.tolist(), task.sources, task.groups)
    table = pl.DataFrame(dict(zip(SCHEMA, known, strict=True)), SCHEMA)
    work.write_table("items.parquet", table.with_columns(**columns))
    work.write_table("rejected.parquet", to_table(Rejected, task.rejected))


def open_task(artifact: Artifact) -> StoredTask:
    """The labelled set of a finished step."""
    classes = read_summary(artifact, TaskSummary).classes
    items = artifact.table("items.parquet")
    return StoredTask(artifact=artifact, items=items, classes=classes)


def write_class_task(work: Workspace, task: ClassTask) -> None:
    """Write a labelled set of classes."""
    work.write_array("images.npy", task.images)
    work.write_array("labels.npy", task.labels)
    _write_items(work, task)
    summary = TaskSummary(
        name=task.name, classes=len(task.classes), labels=task.classes, exclusive=task.exclusive
    )
    write_summary(work, summary)


def open_classes(artifact: Artifact) -> StoredClasses | None:
    """The labelled set of a finished step where it is one of classes, else None."""
    summary = read_summary(artifact, TaskSummary)
    if summary.labels is None:
        return None
    return StoredClasses(
        artifact=artifact,
        items=artifact.table("items.parquet"),
        classes=tuple(summary.labels),
        exclusive=bool(summary.exclusive),
    )


def score_native(task: StoredTask, logits: Iterable[Float32[np.ndarray, "k s s"]]) -> Scores:
    """Scores of the test images at each image's own size.

    Args:
        task: the labelled set.
        logits: of the test images, in the order of their rows, float32 (k, s, s) each.
    """

    def pairs() -> Iterable[tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]]:
        for row, image in zip(task.rows("test").tolist(), logits, strict=True):
            mask = task.native_mask(row)
            prediction = classes_at(image, *mask.shape)
            yield prediction, mask

    return score_each(pairs(), task.classes, void=VOID)


def precision_native(
    task: StoredTask, logits: Iterable[Float32[np.ndarray, "classes g g"]]
) -> Float64[np.ndarray, "n k"]:
    """Average precision of the pixels of every test image and foreground class at the image's own size.

    NaN where an image has no pixel of a class. Logits are compared in steps of 1/1024, far below what
    moves it.

    Args:
        task: the labelled set.
        logits: of the test images, in the order of their rows, the background's first.
    """
    rows = []
    for row, image in zip(task.rows("test").tolist(), logits, strict=True):
        mask = task.native_mask(row)
        counted = mask != VOID
        # Thresholds shift a class as a whole, so its margins rank pixels as its shares do.
        margins = np.concatenate([part for _, part in scaled(image[1:], *mask.shape)], axis=1)
        levels = np.rint((margins[:, counted] - margins.min()) * LEVELS).astype(np.int64)
        truth = mask[counted]
        rows.append([precision_of_levels(level, truth == kind) for kind, level in enumerate(levels, 1)])
    return np.array(rows)


def mean_precision(precision: Float64[np.ndarray, "n k"]) -> float:
    """Mean over the classes that an image has, then over images; NaN where none has any."""
    has_class = ~np.isnan(precision).all(axis=1)
    if not has_class.any():
        return float("nan")
    by_image = np.nanmean(precision[has_class], axis=1)
    return float(by_image.mean())
