"""Segment Anything as a pair of ONNX files: ``encoder.onnx``, run once an image, and ``sam.onnx``, run once a
point.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from optidel.arrays import Image
from optidel.errors import WeightsError
from optidel.models.masks import SCENE, Mask, Points, mask_from_logits, sam_input
from optidel.models.weights import file_sha256

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ENCODER, DECODER = "encoder.onnx", "sam.onnx"

# Pixels, side of the encoder's input, as Segment Anything was trained.
SIZE = 1024

# Share of the image's short side, the box of the second prompt; nearly half leaves room for most key patches,
# whose sides have a median of 0.6 with their margin (see random_squares.SIDES).
BOX = 0.45

# Pixels, side of the mask that a prompt may bring along; ours bring none, the input is there all the same.
PROMPT_MASK = 256

# onnxruntime's level for errors; its warnings are about the graph, which nobody here can change.
ERRORS_ONLY = 3

DECODER_INPUTS = {
    "image_embeddings",
    "point_coords",
    "point_labels",
    "mask_input",
    "has_mask_input",
    "orig_im_size",
}


class OnnxSam:
    """A SAM-style encoder and decoder; one mask a point.

    For a point on smooth tissue SAM returns everything that is lit, with high confidence. Such a point is
    prompted a second time, with a box around it.

    The decoder's low-resolution logits are enlarged here: full-size masks from the decoder cost more and are
    equal.
    """

    name = "onnx"

    def __init__(self, encoder: "InferenceSession", decoder: "InferenceSession", weights: str) -> None:
        """Wrap two loaded sessions; ``weights`` is their identity."""
        self.encoder = encoder
        self.decoder = decoder
        self.weights = weights
        self._input = encoder.get_inputs()[0].name

    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """Masks of an image u8 (h, w, 3), one for each of the points f32 (p, 2) in px."""
        if not len(points):
            return []
        height, width = image.shape[:2]
        (embedding,) = self.encoder.run(None, {self._input: sam_input(image, SIZE)})
        if not np.isfinite(embedding).all():
            raise WeightsError(
                f"{ENCODER} gives values that are not finite; fetch it again with scripts/fetch_sam.py"
            )
        coordinates = np.asarray(points, dtype=np.float32)
        return [self._mask(embedding, point, height, width) for point in coordinates]

    def _mask(self, embedding: Any, point: Any, height: int, width: int) -> Mask:
        """The mask at a point; where that is the whole scene, the one inside a box around the point."""
        # Without a box SAM wants a padding point, labelled -1; 2 and 3 are the corners of a box.
        mask = self._decode(embedding, [point, np.zeros(2)], [1, -1], height, width)
        if mask.mask.mean() <= SCENE:
            return mask
        half = BOX / 2 * min(height, width)
        return self._decode(embedding, [point, point - half, point + half], [1, 2, 3], height, width)

    def _decode(self, embedding: Any, points: Any, labels: list[int], height: int, width: int) -> Mask:
        scale = np.float32(SIZE / max(height, width))
        coordinates = np.asarray(points, dtype=np.float32)[None] * scale
        feeds = {
            "image_embeddings": embedding,
            "point_coords": coordinates,
            "point_labels": np.array([labels], dtype=np.float32),
            "mask_input": np.zeros((1, 1, PROMPT_MASK, PROMPT_MASK), dtype=np.float32),
            "has_mask_input": np.zeros(1, dtype=np.float32),
            "orig_im_size": np.array([height, width], dtype=np.float32),
        }
        logits, iou = self.decoder.run(["low_res_masks", "iou_predictions"], feeds)
        if not np.isfinite(logits).all() or not np.isfinite(iou).all():
            raise WeightsError(
                f"{DECODER} gives values that are not finite; fetch it again with scripts/fetch_sam.py"
            )
        best = int(iou[0].argmax())
        return mask_from_logits(logits[0, best], float(iou[0, best]), height, width, SIZE)


def missing(folder: Path) -> str:
    """Why the pair in ``folder`` cannot be used, or an empty string."""
    absent = [name for name in (ENCODER, DECODER) if not (folder / name).is_file()]
    if absent:
        return f"{' and '.join(absent)} not found in {folder}"
    return "" if find_spec("onnxruntime") else "onnxruntime is not installed"


def load_onnx(folder: Path) -> OnnxSam:
    """Load the pair from a folder.

    Raises:
        WeightsError: a file is missing or damaged, or is another kind of model, or onnxruntime is not
            installed.
    """
    reason = missing(folder)
    if reason:
        remedy = "run scripts/fetch_sam.py, or pass the folder that holds them"
        if "installed" in reason:
            remedy = "pip install 'optidel[onnx]'"
        raise WeightsError(f"the ONNX mask backend cannot start: {reason}; {remedy}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # one setting for the whole program
    options.log_severity_level = ERRORS_ONLY

    sessions = []
    for name in (ENCODER, DECODER):
        path = str(folder / name)
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no base class with a meaning
            raise WeightsError(
                f"{folder / name} is not a readable ONNX model; fetch it again with scripts/fetch_sam.py"
            ) from error
        sessions.append(session)

    encoder, decoder = sessions
    inputs = {item.name for item in decoder.get_inputs()}
    if inputs != DECODER_INPUTS or len(encoder.get_inputs()) != 1:
        names, expected = ", ".join(sorted(inputs)), ", ".join(sorted(DECODER_INPUTS))
        raise WeightsError(
            f"{folder / DECODER} takes {names}; a SAM decoder takes {expected}; pass a SAM-style pair"
        )
    return OnnxSam(encoder, decoder, file_sha256(folder / ENCODER, folder / DECODER))
