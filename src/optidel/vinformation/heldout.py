"""Held-out V-entropy: what an encoder knows of images that nothing was chosen from or trained on."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from optidel.errors import InputError
from optidel.vinformation.gaussian import Information

# Of the bootstrap. A round number: the ends of a 95 % interval move little from seed to seed.
RESAMPLES = 2000

# Numbers drawn at once: 32 MB.
RESAMPLED = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """H_V(Y|X) of held-out images under one encoder, in nats per value of what its objective predicts.

    ``per_image`` (n,), their ``mean``, and the interval ``low`` to ``high`` that holds the mean with
    probability ``level`` over a new draw of images (or of groups of images). ``null`` is H_V(Y|∅), the value
    of a model that knows nothing. Lower is better. Only values of one objective, preset and held-out set
    compare.
    """

    per_image: Float64[np.ndarray, "n"]
    mean: float
    low: float
    high: float
    level: float
    null: float


def held_out_entropy(
    measured: Information,
    rng: np.random.Generator,
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> HeldOut:
    """Mean of the conditional V-entropies of held-out images, with its interval.

    Args:
        measured: of every held-out image, under a variance that does not depend on the encoder.
        rng: of the bootstrap.
        groups: (n,), patient, video or study of each image; whole groups are drawn, since their images are
            alike. None where every image stands for itself.
        level: probability mass inside the interval, in (0, 1).

    Raises:
        InputError: fewer than two groups, groups that do not fit the images, or a level out of range.

    Source: the percentile bootstrap over clusters (Davison & Hinkley 1997, section 3.8).

    >>> entropies = np.array([1.0, 2.0, 3.0, 2.0])
    >>> measured = Information(null=entropies + 1, conditional=entropies, values=1)
    >>> held = held_out_entropy(measured, np.random.default_rng(0))
    >>> held.mean, held.null
    (2.0, 3.0)
    """
    per_image = measured.conditional / measured.values
    labels = range(len(per_image)) if groups is None else groups
    if len(labels) != len(per_image):
        raise InputError(f"groups must name one group for each of {len(per_image)} images, got {len(labels)}")
    if not 0 < level < 1:
        raise InputError(f"level must be in (0, 1), got {level}; pass 0.95")

    # Whole groups are drawn: images of one patient repeat each other's error.
    number_of = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    if len(number_of) < 2:
        raise InputError("an interval needs held-out images of two groups or more; hold out a larger share")
    member = np.array([number_of[label] for label in labels])
    sizes = np.bincount(member).astype(np.float64)
    sums = np.bincount(member, weights=per_image)

    means = _resampled_means(sums, sizes, rng)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return HeldOut(
        per_image=np.asarray(per_image),
        mean=float(per_image.mean()),
        low=float(low),
        high=float(high),
        level=level,
        null=measured.h_null / measured.values,
    )


def _resampled_means(
    sums: Float64[np.ndarray, "groups"], sizes: Float64[np.ndarray, "groups"], rng: np.random.Generator
) -> Float64[np.ndarray, "resamples"]:
    """Mean over the images of as many groups as there are, drawn with replacement."""
    count = len(sums)
    step = max(1, RESAMPLED // count)
    means = []
    for start in range(0, RESAMPLES, step):
        resamples = min(step, RESAMPLES - start)
        times = rng.multinomial(count, np.full(count, 1 / count), resamples)
        means.append((times @ sums) / (times @ sizes))
    return np.concatenate(means)
