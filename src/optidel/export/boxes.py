"""Boxes of key patches on exported images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from optidel.export.job import Job
from optidel.features.composites import cell_boxes
from optidel.records import Box, Composite, KeyPatch, from_table


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchBox:
    """A key patch on an exported image.

    ``box`` is (x0, y0, x1, y1) px of that image, ends exclusive; ``score`` is the predicted IoU of the mask
    that it was cut around, None where there is no mask.
    """

    box: Box
    score: float | None


def patch_boxes(job: Job) -> Mapping[int, Sequence[PatchBox]]:
    """The key patches of each image, by ``item`` of the manifest.

    Of a frame these are all usable patches that the run cut from it, chosen or not; of a composite the cells
    that it is made of, and none where it shows one whole frame.
    """
    if job.selection.compose:
        composites = from_table(Composite, job.selection.compose.table("composites.parquet"))
        return {item: _cells(composite) for item, composite in enumerate(composites)}
    if job.selection.patches is None:
        return {}

    table = job.selection.patches.table("patches.parquet").filter(pl.col("refused") == "")
    of_frame = defaultdict(list)
    for patch in from_table(KeyPatch, table):
        of_frame[patch.frame].append(PatchBox(box=patch.box, score=patch.predicted_iou))
    names = zip(job.rows["item"], job.rows["id"], strict=True)
    return {item: of_frame[name] for item, name in names if name in of_frame}


def _cells(composite: Composite) -> list[PatchBox]:
    # A frame that stays whole is no key patch, though it stands in the same table.
    if composite.id.startswith("original-"):
        return []
    return [PatchBox(box=box, score=None) for box in cell_boxes(composite)]
