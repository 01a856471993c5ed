"""Marks for frames that carry nothing to learn. Nothing is deleted, only marked."""

from optidel.arrays import Pixels

BLANK_DEVIATION = 0.02
"""Standard deviation of intensity, in units of the full range, under which a frame is blank: 5 grey levels of 256, camera noise."""

DARK_FRACTION = 0.97
"""Fraction of near-black pixels (under 4 % of the range) from which a frame shows nothing."""


def flaw(pixels: Pixels) -> str:
    """Why a frame is worthless, or an empty string.

    Args:
        pixels: float32 (h, w, c) in [0, 1].
    """
    grey = pixels.mean(axis=2)
    if float(grey.std()) < BLANK_DEVIATION:
        return "blank"
    if float((grey < 0.04).mean()) > DARK_FRACTION:
        return "dark"
    return ""
