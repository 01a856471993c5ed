"""The names of what every method is compared with."""

# The method that draws without looking at an image.
RANDOM = "random"

# Everything: the method that keeps every frame.
FULL = "full"

# An untrained encoder: no method chose anything for it, and its budget is 0.
SCRATCH = "scratch"

# No encoder at all: a probe of the pixels as they are, the floor of what an encoder must beat. Only in a
# bench.
PIXELS = "pixels"

# Nothing was chosen for these; their budget is 0.
UNTRAINED = (SCRATCH, PIXELS)

# Methods that look at no image. They need no embedding, and they may keep frames marked as worthless.
BLIND = (FULL, RANDOM)

# All of them, in the order in which tables and figures show them.
BASELINES = (SCRATCH, FULL, RANDOM)
