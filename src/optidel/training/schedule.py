"""Learning rate over time."""

import math


def cosine(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear rise to ``peak`` over the first ``warmup`` fraction of ``steps``, then half a cosine to zero."""
    # The last step is not at zero yet: it would train nothing.
    rise = max(1, round(warmup * steps))
    if step < rise:
        return peak * (step + 1) / rise
    progress = (step - rise) / max(1, steps - rise)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
