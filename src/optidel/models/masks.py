"""Masks of regions in an image: the record, the interface of every mask generator, and thinning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32
from PIL import Image as PillowImage

from optidel.arrays import BoolImage, Image

# Share of the image: a larger mask is the scene and no region, and no key patch could hold it.
SCENE = 0.3

# IoU above which two masks show the same region, as in Segment Anything's automatic mask generation.
SAME_REGION = 0.7

Points = Float32[np.ndarray, "p 2"]
"""x, y in pixels of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """One region: ``mask`` bool (h, w), True inside; ``predicted_iou`` and ``stability`` in [0, 1], 1.0 where
    the generator has none.
    """

    mask: BoolImage
    predicted_iou: float
    stability: float

    @property
    def score(self) -> float:
        """How far the generator trusts the mask: predicted IoU times stability."""
        return self.predicted_iou * self.stability


class MaskGenerator(Protocol):
    """Anything that turns an image u8 (h, w, 3) and points f32 (p, 2), x and y in px, into masks.

    ``name`` is the backend; ``weights`` identifies what it computes with by content, never by path, so it can
    enter a fingerprint.
    """

    name: str
    weights: str

    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """Masks of the regions at the points; an empty list for no points."""
        ...


def mask_nms(masks: Sequence[Mask], limit: float = SAME_REGION) -> list[Mask]:
    """Non-maximum suppression on masks: the best-scored of every group that overlaps by more than ``limit``
    in IoU, best first.

    Ties keep the order given. An empty mask is dropped.
    """
    order = sorted((mask for mask in masks if mask.mask.any()), key=lambda mask: -mask.score)
    if not order:
        return []

    # Eight pixels in a byte: an intersection is then an AND and a count of bits.
    bits = np.stack([np.packbits(mask.mask) for mask in order])
    areas = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    alive = np.ones(len(order), dtype=bool)
    for row in range(len(order)):
        if not alive[row]:
            continue
        rest = row + 1 + np.flatnonzero(alive[row + 1 :])
        shared = np.bitwise_count(bits[rest] & bits[row]).sum(axis=1, dtype=np.int64)
        union = areas[rest] + areas[row] - shared
        alive[rest[shared > limit * union]] = False
    return [mask for mask, is_alive in zip(order, alive, strict=True) if is_alive]


def mask_from_logits(
    logits: Float32[np.ndarray, "a b"], predicted_iou: float, height: int, width: int, size: int
) -> Mask:
    """Turn a SAM decoder's low-resolution logits into a mask of the image and its stability.

    Args:
        logits: f32 (a, b), over the zero-padded square input of the model; positive is inside.
        predicted_iou: as the decoder gave it, clipped to [0, 1].
        height, width: of the image, px.
        size: side of the model's square input, px; the image's longest side was scaled to it.

    Source: Segment Anything (arXiv 2304.02643), automatic mask generation: stability is the IoU of the masks
        at thresholds ±1.
    """
    scale = size / max(height, width)
    rows, columns = logits.shape

    # The padding at the right or the bottom is left out of what is enlarged.
    right = min(columns, width * scale * columns / size)
    bottom = min(rows, height * scale * rows / size)
    enlarged = np.asarray(
        PillowImage.fromarray(logits).resize(
            (width, height), PillowImage.Resampling.BILINEAR, box=(0.0, 0.0, right, bottom)
        )
    )

    outer, inner = int((enlarged > -1).sum()), int((enlarged > 1).sum())
    stability = inner / outer if outer else 0.0
    iou = float(np.clip(predicted_iou, 0, 1))
    return Mask(mask=enlarged > 0, predicted_iou=iou, stability=float(stability))


# In grey levels: ImageNet's statistics as the authors of Segment Anything round them.
PIXEL_MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)


def sam_input(image: Image, size: int) -> Float32[np.ndarray, "1 3 s s"]:
    """Scale the longest side to ``size`` px, normalise as SAM was trained, then pad with zeros to a square at
    the bottom right.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = PillowImage.fromarray(image).resize(inner, PillowImage.Resampling.BILINEAR)
    normalised = (np.asarray(resized, dtype=np.float32) - PIXEL_MEAN) / PIXEL_STD
    batch = np.zeros((1, 3, size, size), dtype=np.float32)
    batch[0, :, : inner[1], : inner[0]] = normalised.transpose(2, 0, 1)
    return batch
