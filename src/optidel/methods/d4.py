"""D4: de-duplicate, cluster what is left again, keep the least prototypical."""

import numpy as np

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.methods.meddel import meddel
from optidel.methods.outcome import outcome
from optidel.methods.ssp import ssp
from optidel.records import Selection


def d4(vectors: Vectors, count: int, *, rng: np.random.Generator, dedup: float = 0.75) -> Selection:
    """Keep the share ``dedup`` by SemDeDup, then of these the ``count`` farthest from their prototype in a
    fresh clustering.

    Args:
        vectors: float (n, d); the de-duplicated rows are copied, in their own float type.
        count: rows to keep.
        rng: both clusterings.
        dedup: share that de-duplication leaves, in (0, 1]; more where ``count`` needs it. 0.75 is the
            paper's.

    Returns:
        The selection, least prototypical first. Gain: cosine distance to the prototype. A row dropped as a
        duplicate names its twin where the second step kept it.

    Raises:
        RecipeError: ``dedup`` out of range.

    Source: Tirumala et al. 2023, section 3.4 (arXiv 2308.12284).
    """
    if not 0 < dedup <= 1:
        raise RecipeError(f"dedup must be a share in (0, 1], got {dedup}; 0.75 is the paper's")
    n = len(vectors)
    distinct = max(count, round(dedup * n))
    first = meddel(vectors, distinct, rng=rng)
    rest = np.sort(first.indices)
    second = ssp(np.asarray(vectors[rest]), count, rng=rng)
    picks = rest[second.indices]

    dropped = np.where(first.kept_twin >= 0, "within radius of twin", "more prototypical")
    stays = np.isin(first.kept_twin, picks)
    twin = np.where(stays, first.kept_twin, -1)
    similarity = np.where(stays, first.similarity, np.nan)
    return outcome(n, picks, second.gains, dropped=dropped, twins=(twin, similarity))
