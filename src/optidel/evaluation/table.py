"""The columns of a table of methods, the same for a run and a bench: computed here and nowhere else."""

from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from optidel.evaluation.claims import Difference
from optidel.evaluation.intervals import mean_interval
from optidel.evaluation.metrics import normdel


def image_means(table: pl.DataFrame) -> pl.DataFrame:
    """IoU and Dice of every test image, the mean over its foreground classes: id, iou, dice, sorted by id.

    Args:
        table: a row an image and class, as the step ``evaluate`` writes it. A class that an image does not
            have is NaN there, and is left out.
    """
    # A mean leaves out nulls, and not NaN.
    scores = table.with_columns(pl.col("iou", "dice").fill_nan(None))
    means = scores.group_by("id", maintain_order=True).agg(pl.col("iou", "dice").mean())
    return means.sort("id")


def score_columns(
    iou: Float[np.ndarray, "s n"], dice: Float[np.ndarray, "s n"], kept: float | None
) -> dict[str, Any]:
    """Means over seeds and test images with their 95 % intervals, and NormDEL.

    Args:
        iou: a row a seed, a column a test image.
        dice: the same.
        kept: the fraction of the corpus that was trained on; None from scratch, which has no NormDEL.
    """
    columns: dict[str, Any] = {}
    for name, scores in (("miou", iou), ("dice", dice)):
        # A generator of its own for each interval: no row depends on which others there are.
        interval = mean_interval(scores, np.random.default_rng(0))
        columns[name] = interval.mean
        columns[f"{name}_low"] = interval.low
        columns[f"{name}_high"] = interval.high
    columns["normdel"] = None if kept is None else normdel(columns["miou"], kept)
    return columns


def difference_columns(name: str, difference: Difference | None) -> dict[str, float | None]:
    """A paired difference with the ends of its interval; None where there is none, or no data for an
    interval.
    """
    interval = difference.interval if difference else None
    return {
        name: difference.mean if difference else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }
