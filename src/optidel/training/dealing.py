"""Key patches dealt into new images at every step, instead of once for all."""

from dataclasses import dataclass

import numpy as np

from optidel.arrays import Indices
from optidel.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """The images of one step: ``tiles`` int64 (n·t,), the t tiles of each image one after the other, and
    ``whole`` int64 (w,), images that are shown as they are. Both are positions in the training set.
    """

    tiles: Indices
    whole: Indices

    @property
    def rows(self) -> Indices:
        """Tiles first, then whole images."""
        return np.concatenate([self.tiles, self.whole])


def batch_rows(step: int, batch: int, count: int, seed: int) -> Indices:
    """Rows of one step: the set reshuffled every epoch, epochs joined end to end.

    A function of the step alone, so a resumed run replays nothing.

    Args:
        step: number of the step, from 0.
        batch: rows of a step.
        count: rows of the set.
        seed: of the order.

    Returns:
        int64 (batch,), in [0, count).
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs, inside = np.divmod(positions, count)

    rows = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(count)
        of_epoch = epochs == epoch
        rows[of_epoch] = order[inside[of_epoch]]
    return rows


def deal(step: int, batch: int, count: int, *, tiles: int, whole: int, seed: int) -> Hand:
    """Deal the images of one step: which tile comes into which image, and into which of its cells.

    Every tile is dealt once before any is dealt again, into new company each time. The result follows from
    the arguments alone: it is the provenance of every image of a training.

    Args:
        step: number of the step, from 0.
        batch: images of a step.
        count: size of the training set.
        tiles: tiles of an image.
        whole: how many of the set, its last ones, are shown as they are; they take their share of each batch.
        seed: of the order.

    Raises:
        RecipeError: no tile is left to deal.

    >>> hand = deal(0, 2, 8, tiles=4, whole=0, seed=0)
    >>> sorted(hand.tiles.tolist()), hand.whole.tolist()
    ([0, 1, 2, 3, 4, 5, 6, 7], [])
    """
    loose = count - whole
    if loose < 1:
        raise RecipeError(
            f"of {count} images {whole} are shown whole, so none is left to deal; lower originals"
        )
    whole_per_batch = whole_share(batch, count, tiles, whole)
    dealt = batch_rows(step, (batch - whole_per_batch) * tiles, loose, seed)
    if whole_per_batch == 0:
        return Hand(tiles=dealt, whole=np.empty(0, np.int64))
    # Another stream than that of the tiles, so that neither order says anything about the other.
    positions = batch_rows(step, whole_per_batch, whole, seed + WHOLE_STREAM)
    return Hand(tiles=dealt, whole=loose + positions)


# Added to the seed for the order of the whole images; a round number far from the seeds that people use.
WHOLE_STREAM = 1_000_003


def whole_share(batch: int, count: int, tiles: int, whole: int) -> int:
    """Whole images in a batch: their share of the images that the set makes, at least one and not all."""
    if whole == 0:
        return 0
    images = whole + (count - whole) / tiles
    return min(batch - 1, max(1, round(batch * whole / images)))
