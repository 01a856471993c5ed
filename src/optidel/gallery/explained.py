"""How much of a map a known variable explains: where a device or a centre explains much, the map shows it and
not the anatomy.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def explained_share(points: Float[np.ndarray, "n d"], labels: Sequence[str | None]) -> float | None:
    """Share of the variance of points that the means of a label's groups account for.

    R² = 1 − within/total sums of squares over all dimensions, adjusted for the number of groups as in the
    analysis of variance, so that labels that mean nothing explain 0 on average, however many there are:
    1 − (1 − R²)·(n − 1)/(n − k).

    Args:
        points: float (n, d), such as the two coordinates of a map, or whole embeddings.
        labels: (n,), the group of each point; points without one (None) are left out.

    Returns:
        The share, at least 0; None where fewer than two groups have a point, or every point is alone in its
        group.

    Source: Anderson 2001, A new method for non-parametric multivariate analysis of variance, with Euclidean
    distances; the adjustment is Ezekiel's, as for linear regression.

    >>> points = np.array([[0.0, 0.0], [0.0, 0.1], [1.0, 1.0], [1.0, 1.1]])
    >>> round(explained_share(points, ["a", "a", "b", "b"]), 2)
    0.99
    """
    known = np.array([label is not None for label in labels])
    names = [label for label in labels if label is not None]
    inside = np.asarray(points, dtype=np.float64)[known]
    distinct, group = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    count, groups = len(inside), len(distinct)
    if groups < 2 or groups >= count:
        return None

    centred = inside - inside.mean(axis=0)
    total = float((centred**2).sum())
    if total == 0:
        return None
    sizes = np.bincount(group, minlength=groups)
    sums = np.zeros((groups, centred.shape[1]))
    np.add.at(sums, group, centred)
    between = float((sums**2 / sizes[:, None]).sum())
    share = between / total
    adjusted = 1 - (1 - share) * (count - 1) / (count - groups)
    return max(0.0, adjusted)
