"""Shape aliases shared by every room; axes are named once here.

n frames or items, d embedding dimensions, h and w pixels, c channels, g error-map cells along one side, k
clusters, m chosen items.
"""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8

Vectors = Float[np.ndarray, "n d"]
Scores = Float[np.ndarray, "n"]
Indices = Int64[np.ndarray, "m"]
Image = UInt8[np.ndarray, "h w 3"]
Images = UInt8[np.ndarray, "n h w 3"]
Pixels = Float32[np.ndarray, "h w c"]
ErrorMaps = Float32[np.ndarray, "n g g"]
BoolImage = Bool[np.ndarray, "h w"]
ClassMask = Int[np.ndarray, "h w"]


class ImageRows(Protocol):
    """Images that need not be in memory: an array, a file mapped as one, or frames decoded when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As that of :data:`Images`."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Some of them by a slice or row numbers, :data:`Images`; one by its number, an :data:`Image`."""


# The class number of pixels that count neither in training nor in a score (as in PASCAL VOC).
VOID = 255

__all__ = [
    "VOID",
    "BoolImage",
    "ClassMask",
    "ErrorMaps",
    "Image",
    "ImageRows",
    "Images",
    "Indices",
    "Pixels",
    "Scores",
    "Vectors",
]
