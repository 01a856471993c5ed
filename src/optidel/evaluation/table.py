"""The columns of a table of methods, the same for a run and a bench: computed here and nowhere else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from optidel.evaluation.claims import Difference
from optidel.evaluation.intervals import mean_interval
from optidel.evaluation.metrics import normdel
from optidel.outcomes import MASKS, PRECISION, Outcomes, outcomes_in


def image_means(table: pl.DataFrame) -> pl.DataFrame:
    """The outcomes of every test image, sorted by id: IoU and Dice, means over its foreground classes, or the
    values of AUROC and balanced accuracy; of a protocol that has it also average precision, null for an image
    without any foreground.

    Args:
        table: as the step ``evaluate`` writes it, of masks a row an image and class. A class that an image
            does not have is NaN there, and is left out.
    """
    columns = [outcome.column for outcome in outcomes_in(table.columns)]
    columns += [outcome.column for outcome in PRECISION[:1] if outcome.column in table.columns]
    # A mean leaves out nulls, and not NaN.
    scores = table.with_columns(pl.col(columns).fill_nan(None))
    means = scores.group_by("id", maintain_order=True).agg(pl.col(columns).mean())
    return means.sort("id")


def score_columns(
    outcomes: Outcomes, matrices: Sequence[Float[np.ndarray, "s n"]], kept: float | None
) -> dict[str, Any]:
    """Means over seeds and test images with their 95 % intervals, and NormDEL.

    Args:
        outcomes: what was scored.
        matrices: of each, a row a seed, a column a test image.
        kept: the fraction of the corpus that was trained on; None from scratch, which has no NormDEL, as have
            sets of classes: it is defined for mIoU.
    """
    columns: dict[str, Any] = {}
    for outcome, scores in zip(outcomes, matrices, strict=True):
        name = outcome.name
        # A generator of its own for each interval: no row depends on which others there are.
        interval = mean_interval(scores, np.random.default_rng(0))
        columns[name] = interval.mean
        columns[f"{name}_low"] = interval.low
        columns[f"{name}_high"] = interval.high
    columns["normdel"] = None
    if kept is not None and outcomes == MASKS:
        columns["normdel"] = normdel(columns["miou"], kept)
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
