"""Key patches dealt into new images at every step, instead of once for all."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64

from optidel.arrays import Indices
from optidel.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """The images of one step: ``tiles`` int64 (n·t,), the t tiles of each image one after the other,
    ``alone`` int64 (a,), tiles that fill an image each, and ``whole`` int64 (w,), images that are shown as
    they are. All are positions in the training set.
    """

    tiles: Indices
    alone: Indices
    whole: Indices

    @property
    def single(self) -> Indices:
        """What is no grid: tiles alone first, then whole images."""
        return np.concatenate([self.alone, self.whole])


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
        order = _epoch(count, seed, int(epoch))
        of_epoch = epochs == epoch
        rows[of_epoch] = order[inside[of_epoch]]
    return rows


# Orders that are kept: a step that ends an epoch needs two, and composites beside whole images two of each.
KEPT = 4


@lru_cache(KEPT)
def _epoch(count: int, seed: int, epoch: int) -> Indices:
    """The rows of one epoch, in order, int64 (count,); all its steps read the same."""
    order: Indices = np.random.default_rng([seed, epoch]).permutation(count)
    order.flags.writeable = False
    return order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frequencies:
    """How often each image of a training set is shown; compared by identity.

    ``weights`` float64 (m,), at least 0, are shares of the showings in any unit. With ``concepts`` int64 (m,)
    each concept is spread evenly through an epoch, so that every batch holds its share of each.
    """

    weights: Float64[np.ndarray, "m"]
    concepts: Int64[np.ndarray, "m"] | None = None


def weighted_rows(step: int, batch: int, frequencies: Frequencies, seed: int) -> Indices:
    """Rows of one step where some rows are shown more often than others.

    An epoch has as many showings as there are rows. A row of weight w, in units of the mean, is shown ⌊w⌋ or
    ⌈w⌉ times in it, w times on average (systematic sampling, Madow 1949); with equal weights each is shown
    once. Epochs are joined end to end. A function of the step alone, so a resumed run replays nothing.

    Args:
        step: number of the step, from 0.
        batch: rows of a step.
        frequencies: of the m rows of the set.
        seed: of the draws and of the order.

    Returns:
        int64 (batch,), in [0, m).

    >>> sorted(weighted_rows(0, 4, Frequencies(weights=np.array([1.0, 3.0, 0.0, 0.0])), 0).tolist())
    [0, 1, 1, 1]
    """
    count = len(frequencies.weights)
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs, inside = np.divmod(positions, count)

    rows = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(epochs):
        order = _weighted_epoch(frequencies, seed, int(epoch))
        of_epoch = epochs == epoch
        rows[of_epoch] = order[inside[of_epoch]]
    return rows


@lru_cache(KEPT)
def _weighted_epoch(frequencies: Frequencies, seed: int, epoch: int) -> Indices:
    """The showings of one epoch, in order, int64 (m,); all its steps read the same."""
    rng = np.random.default_rng([seed, epoch])
    weights = frequencies.weights
    count = len(weights)
    # In a random order, so that no two rows are always drawn together.
    order = rng.permutation(count)
    edges = np.cumsum(weights[order]) * (count / weights.sum())
    # Sums that are whole but for rounding become whole: a weight of 1 is one showing.
    nearest = np.round(edges)
    edges = np.where(np.abs(edges - nearest) < WHOLE, nearest, edges)
    steps = np.floor(edges + rng.random())
    times = np.diff(steps, prepend=0.0).astype(np.int64)

    showings: Indices = rng.permutation(np.repeat(order, times))
    if frequencies.concepts is not None:
        showings = showings[_spread(frequencies.concepts[showings], rng)]
    showings.flags.writeable = False
    return showings


def _spread(concepts: Int64[np.ndarray, "m"], rng: np.random.Generator) -> Indices:
    """An order in which each concept comes at even distances, from an offset of its own."""
    _, labels, sizes = np.unique(concepts, return_inverse=True, return_counts=True)
    by_concept = np.argsort(labels, kind="stable")
    first = np.cumsum(sizes) - sizes
    turn = np.empty(len(labels))
    turn[by_concept] = np.arange(len(labels)) - np.repeat(first, sizes)
    offset = rng.random(len(sizes))
    place = (turn + offset[labels]) / sizes[labels]
    return np.argsort(place, kind="stable")


# Sums of weights this close to a whole number are whole: far above the rounding of a sum over a million rows.
WHOLE = 1e-6


def deal(step: int, batch: int, count: int, *, tiles: int, whole: int, seed: int, alone: float = 0.0) -> Hand:
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
        alone: share of the new images that show one tile.

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
    alone_per_batch = alone_share(batch - whole_per_batch, alone)
    grids = batch - whole_per_batch - alone_per_batch
    # Each in a stream of its own, so that no order says anything about another.
    return Hand(
        tiles=batch_rows(step, grids * tiles, loose, seed),
        alone=batch_rows(step, alone_per_batch, loose, seed + ALONE_STREAM),
        whole=loose + batch_rows(step, whole_per_batch, whole, seed + WHOLE_STREAM),
    )


# Added to the seed for the order of whole images and of tiles alone; round numbers far from the seeds that
# people use.
WHOLE_STREAM = 1_000_003
ALONE_STREAM = 2_000_003


def alone_share(images: int, alone: float) -> int:
    """Tiles that are shown alone among the new images of a batch: not all, for then nothing is dealt.

    >>> alone_share(64, 0.5), alone_share(8, 0.99), alone_share(1, 0.5)
    (32, 7, 0)
    """
    return min(images - 1, round(images * alone))


def whole_share(batch: int, count: int, tiles: int, whole: int) -> int:
    """Whole images in a batch: their share of the images that the set makes, at least one and not all."""
    if whole == 0:
        return 0
    images = whole + (count - whole) / tiles
    return min(batch - 1, max(1, round(batch * whole / images)))
