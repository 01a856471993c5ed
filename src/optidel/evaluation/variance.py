"""Where the spread of scores comes from: seeds, images, or neither; and what difference a plan could detect.

Legend: s seeds, n images. Model: score = mean + seed + image + rest, all independent, one score a seed and
    image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from optidel.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSquares:
    """Analysis of variance of a matrix (seeds, images): mean squares of seeds, of images and of the rest; NaN
    where there is one of a kind.

    Expected: n·σ²(seed) + σ²(rest), s·σ²(image) + σ²(rest), σ²(rest).
    """

    of_seeds: float
    of_images: float
    rest: float
    seeds: int
    images: int

    @property
    def error(self) -> float:
        """Standard error of the mean: √(σ²(seed)/s + σ²(image)/n + σ²(rest)/(s·n)), negative components taken
        as zero.
        """
        total = sum(mass for mass, _ in self._parts)
        scores = self.seeds * self.images
        variance = total / scores
        return float(np.sqrt(variance))

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom of that error: few where seeds decide, many where images do."""
        seeds, images = self.seeds - 1, self.images - 1
        least = min(seeds or images, images or seeds)
        total = sum(mass for mass, _ in self._parts)
        shares = sum(mass**2 / df for mass, df in self._parts if df > 0)
        if shares <= 0:
            return float(max(1, least))
        return max(1.0, least, total**2 / shares)

    @property
    def _parts(self) -> list[tuple[float, int]]:
        """Signed mean squares that make up the variance, each with its degrees of freedom."""
        seeds, images = self.seeds - 1, self.images - 1
        if not seeds and not images:
            return [(0.0, 1)]
        if not seeds:
            return [(self.of_images, images)]
        if not images:
            return [(self.of_seeds, seeds)]

        parts = []
        if self.of_seeds > self.rest:
            parts.append((self.of_seeds, seeds))
        if self.of_images > self.rest:
            parts.append((self.of_images, images))
        # With both components positive the rest is counted in both, so it goes off once. With neither it is
        # all there is.
        rest_df = seeds * images
        if len(parts) == 2:
            parts.append((-self.rest, rest_df))
        elif not parts:
            parts.append((self.rest, rest_df))
        return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Variance components of a score or of a paired difference, in its unit squared."""

    seed: float
    image: float
    rest: float


def mean_squares(matrix_SN: Float[np.ndarray, "s n"]) -> MeanSquares:
    """Two-way crossed analysis of variance without replication. Source: Searle, Casella and McCulloch 1992,
    section 4.3.
    """
    seeds, images = matrix_SN.shape
    mean = matrix_SN.mean()
    by_seed = matrix_SN.mean(axis=1) - mean
    by_image = matrix_SN.mean(axis=0) - mean
    # What neither the seed nor the image explains.
    rest = matrix_SN - mean - by_seed[:, None] - by_image

    of_seeds = of_images = of_rest = float("nan")  # one of a kind has no spread
    if seeds > 1:
        of_seeds = images * float((by_seed**2).sum()) / (seeds - 1)
    if images > 1:
        of_images = seeds * float((by_image**2).sum()) / (images - 1)
    if seeds > 1 and images > 1:
        of_rest = float((rest**2).sum()) / ((seeds - 1) * (images - 1))
    return MeanSquares(of_seeds=of_seeds, of_images=of_images, rest=of_rest, seeds=seeds, images=images)


def spread_of(matrices: Sequence[Float[np.ndarray, "s n"]]) -> Spread:
    """Variance components pooled over paired differences of several methods (mean squares averaged, negative
    components taken as zero).

    Args:
        matrices: each float (s, n), at least 2 seeds and 2 images.

    Raises:
        InputError: fewer than two seeds or images, with which seeds and images cannot be told apart.
    """
    if not matrices or min(min(matrix.shape) for matrix in matrices) < 2:
        raise InputError(
            "a pilot needs at least two seeds and two test images to tell their spread apart; "
            "run one more seed"
        )
    tables = [mean_squares(matrix) for matrix in matrices]
    rest = float(np.mean([table.rest for table in tables]))
    seed = float(np.mean([(table.of_seeds - table.rest) / table.images for table in tables]))
    image = float(np.mean([(table.of_images - table.rest) / table.seeds for table in tables]))
    return Spread(seed=max(0.0, seed), image=max(0.0, image), rest=rest)


def detectable(
    spread: Spread, seeds: int, images: int, *, comparisons: int = 1, level: float = 0.95, power: float = 0.8
) -> float:
    """The smallest true difference that a plan detects with probability ``power``.

    The difference δ at which a t test with the plan's standard error e = √(σ²(seed)/s + σ²(image)/n +
    σ²(rest)/(s·n)) and Satterthwaite's degrees of freedom ν, at the level of the first of ``comparisons``
    (Bonferroni, which is Holm's first step), rejects with the wanted
    power: P(T(ν, δ/e) > t(1 − α/2m, ν)) = power, T noncentral.

    Args:
        spread: of the paired difference, from a pilot.
        seeds: planned, at least 2.
        images: test images planned, at least 2.
        comparisons: m, methods compared to the same reference.
        level: 1 − α.
        power: in (α, 1).

    Returns:
        δ, in the unit of the scores; 0 where nothing spreads.

    Raises:
        InputError: too few seeds or images, or a power out of range.

    Source: the noncentral t test, Cohen 1988, chapter 2; Satterthwaite 1946.
    """
    from scipy import optimize, stats  # half a second to import, for this function alone

    alpha = (1 - level) / comparisons
    if seeds < 2 or images < 2 or not alpha < power < 1:
        raise InputError(
            "seeds and images must be at least 2 and power between alpha and 1, got "
            f"{seeds}, {images} and {power}"
        )
    plan = MeanSquares(
        of_seeds=images * spread.seed + spread.rest,
        of_images=seeds * spread.image + spread.rest,
        rest=spread.rest,
        seeds=seeds,
        images=images,
    )
    if plan.error == 0:
        return 0.0
    critical = stats.t.ppf(1 - alpha / 2, plan.df)

    def lack(shift: float) -> float:
        return float(stats.nct.sf(critical, plan.df, shift)) - power

    high = 1.0  # standard errors; grown until the difference is detected
    while lack(high) < 0:
        high *= 1.5
    return plan.error * float(optimize.brentq(lack, 0.0, high))
