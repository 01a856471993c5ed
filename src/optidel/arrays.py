"""Shape aliases shared by every room; axes are named once here.

n frames or items, d embedding dimensions, h and w pixels, c channels, g error-map cells along one side, k
clusters, m chosen items.
"""

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

# The class number of pixels that count neither in training nor in a score (as in PASCAL VOC).
VOID = 255

__all__ = [
    "VOID",
    "BoolImage",
    "ClassMask",
    "ErrorMaps",
    "Image",
    "Images",
    "Indices",
    "Pixels",
    "Scores",
    "Vectors",
]
