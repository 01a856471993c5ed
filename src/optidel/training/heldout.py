"""Held-out V-entropy of a saved encoder, by its objective."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from optidel.arrays import Images
from optidel.training.objectives import objective_named
from optidel.vinformation.heldout import HeldOut, held_out_entropy


def held_out(
    folder: Path,
    images: Images,
    objective: str,
    *,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> HeldOut:
    """H_V(Y|X) of held-out images under a trained encoder, label-free.

    Every encoder sees the same masks (or views) and the same variance: both follow from the images and the
    seed, so two encoders of one preset differ by what they know.

    Args:
        folder: of the encoder, as ``save_encoder`` wrote it.
        images: u8 (n, s, s, 3) at the encoder's size, at least two, of which none was trained on.
        objective: a key of ``OBJECTIVES``.
        seed: of the masks or views, and of the bootstrap.
        groups: (n,), which images belong to one patient, video or study.
        level: probability mass inside the interval.

    Raises:
        RecipeError: no such objective.
        InputError: fewer than two images or groups.
        WeightsError: the encoder cannot be read.
    """
    measured = objective_named(objective).information(folder, images, seed, shared_variance=True)
    return held_out_entropy(measured, np.random.default_rng(seed), groups=groups, level=level)
