"""The names of what every method is compared with."""

RANDOM = "random"
"""The method that draws without looking at an image."""

FULL = "full"
"""Everything: the method that keeps every frame."""

SCRATCH = "scratch"
"""An untrained encoder: no method chose anything for it, and its budget is 0."""

BLIND = (FULL, RANDOM)
"""Methods that look at no image. They need no embedding, and they may keep frames marked as worthless."""

BASELINES = (SCRATCH, FULL, RANDOM)
"""All of them, in the order in which tables and figures show them."""
