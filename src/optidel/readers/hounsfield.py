"""Hounsfield units in files that do not say so: NIfTI, NRRD, MetaImage and NumPy have no modality."""

import numpy as np
from jaxtyping import Float64, Shaped

from optidel.errors import InputError
from optidel.readers.decoded import CT_WINDOW, Window
from optidel.readers.scale import Limits

AIR = (-1100.0, -850.0)
"""HU of air, with noise and interpolation."""

TISSUE = (-150.0, 300.0)
"""HU of fat, water, organs and enhanced vessels."""

LEAST_AIR, LEAST_TISSUE = 0.005, 0.02
"""Fractions of a CT that are air and tissue at least: a chest holds 30 % and 40 %, a narrow crop of an organ
with its rim still so much.
"""

GAP = (-500.0, -200.0)
"""HU between lung and fat, where hardly anything in a body lies."""

PEAK = 2.0
"""Times as dense as in the gap, per HU, are values of air and of tissue; 10 and more in a CT, 1 in noise."""

BELOW = 0.001
"""Fraction of values under those of air that streaks of metal make; what else lies there is padding, which is
one value.
"""

NEGATIVE = -100.0
"""Volumes that reach below this take a window that the recipe states: fat does, and no magnitude image."""

SAMPLE = 1 << 20
"""Voxels that are looked at to recognise HU; a round number, fractions of a per cent are seen in far
fewer.
"""


def hounsfield_limits(
    values: Shaped[np.ndarray, "..."], slope: float, offset: float, window: Window | None
) -> Limits | None:
    """The window of a CT in stored units; None where the values are not HU.

    Args:
        values: all of a volume or stack, as stored.
        slope, offset: to the values that are meant.
        window: of the recipe; it is taken for everything that reaches below fat, too.

    Raises:
        InputError: no value is finite.
    """
    sample = _sampled(values) * slope + offset
    if sample.size == 0:
        raise InputError("holds only values that are not finite")
    in_hu = is_hounsfield(sample)
    if window and (in_hu or sample.min() < NEGATIVE):
        level, width = window
        name = f"window {level:g}/{width:g}, by the recipe"
    elif in_hu:
        level, width = CT_WINDOW
        name = f"CT window {level:g}/{width:g}, values look like HU"
    else:
        return None
    low, high = level - width / 2, level + width / 2
    return (low - offset) / slope, (high - offset) / slope, name


def is_hounsfield(values: Float64[np.ndarray, "n"]) -> bool:
    """Whether values look like a CT in HU: air, tissue, and under air nothing but padding.

    Args:
        values: some of a volume's, scaled.
    """
    # Scanners write -1024, -2000 or -3024 outside their round field of view.
    padding = values[values < AIR[0]]
    if np.unique(padding).size > 1 and padding.size > BELOW * values.size:
        return False
    body = values[values >= AIR[0]]
    if body.size == 0:
        return False
    air, tissue, gap = (_share(body, *ends) for ends in (AIR, TISSUE, GAP))
    if air < LEAST_AIR or tissue < LEAST_TISSUE:
        return False
    # Noise and phases are spread evenly; a body leaves the gap empty.
    least = PEAK * gap / (GAP[1] - GAP[0])
    return air / (AIR[1] - AIR[0]) >= least and tissue / (TISSUE[1] - TISSUE[0]) >= least


def _share(values: Float64[np.ndarray, "n"], low: float, high: float) -> float:
    """Fraction of the values within limits."""
    return float(((values >= low) & (values <= high)).mean())


def _sampled(values: Shaped[np.ndarray, "..."]) -> Float64[np.ndarray, "n"]:
    """Every so-many-th finite value."""
    # In the order of memory, so that no volume is copied.
    flat = values.ravel(order="K")
    sample = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    return sample[np.isfinite(sample)]
