"""Predictions at an image's own size: logits scaled up, and the likeliest class of every pixel.

Legend: K classes, S pixels along the model's side, H and W pixels of the image, R rows of a stripe.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int64, UInt8

# Pixels worked on at once: 16 MiB a class, whatever the image's size.
STRIPE = 1 << 22


def classes_at(logits_KSS: Float32[np.ndarray, "k s s"], height: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """The likeliest class of every pixel of an image of ``height`` x ``width`` px.

    Logits are interpolated bilinearly, pixel centres on pixel centres, and compared afterwards: so a region's
    edge lies between the model's pixels, where the logits say.

    >>> import numpy as np
    >>> logits = np.zeros((2, 4, 4), np.float32)
    >>> logits[0, :, :2] = logits[1, :, 2:] = 1
    >>> classes_at(logits, 2, 8)[0]
    array([0, 0, 0, 0, 1, 1, 1, 1], dtype=uint8)

    Args:
        logits_KSS: float32 (k, s, s).
        height: H in px.
        width: W in px.
    """
    classes = np.empty((height, width), dtype=np.uint8)
    for start, stripe_KRW in scaled(logits_KSS, height, width):
        stop = start + stripe_KRW.shape[1]
        classes[start:stop] = stripe_KRW.argmax(axis=0)
    return classes


def scaled(
    logits_KSS: Float32[np.ndarray, "k s s"], height: int, width: int
) -> Iterator[tuple[int, Float32[np.ndarray, "k r w"]]]:
    """Stripes of bilinearly scaled logits from the top: the first row of each, and float32 (k, r, w)."""
    left, right, share_W = _neighbours(logits_KSS.shape[2], width)
    upper, lower, share_H = _neighbours(logits_KSS.shape[1], height)
    # Rows first: they are few, and each serves many pixels.
    wide_KSW = logits_KSS[:, :, left] * (1 - share_W) + logits_KSS[:, :, right] * share_W
    rows = max(1, STRIPE // width)
    for start in range(0, height, rows):
        part = slice(start, start + rows)
        weight_R1 = share_H[part, None]
        yield start, wide_KSW[:, upper[part]] * (1 - weight_R1) + wide_KSW[:, lower[part]] * weight_R1


def _neighbours(
    old: int, new: int
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"], Float32[np.ndarray, "n"]]:
    """For each of ``new`` pixels along a side: the two of ``old`` around its centre, the second's share."""
    last = old - 1
    centre = (np.arange(new) + 0.5) * old / new
    centre -= 0.5
    centre = centre.clip(0, last)
    first = np.floor(centre).astype(np.int64)
    second = np.minimum(first + 1, last)
    share = centre - first
    return first, second, share.astype(np.float32)
