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
from optidel.models.masks import SCENE, Mask, Points, file_sha256, mask_from_logits, sam_input

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ENCODER, DECODER = "encoder.onnx", "sam.onnx"
SIZE = 1024  # px, side of the encoder's input
BOX = 0.45  # of the image's short side, the box a second question is asked in


class OnnxSam:
    """A SAM-style encoder and decoder; one mask a point.

    Asked for a point on smooth tissue, SAM answers with everything the device lights, and is sure of it; then
    it is asked again with a box around the point.

    The decoder's low-resolution logits are enlarged here: asking it for full-size masks costs more and gives
    the same.
    """

    name = "onnx"

    def __init__(self, encoder: "InferenceSession", decoder: "InferenceSession", weights: str) -> None:
        """Wrap two loaded sessions; ``weights`` is their identity."""
        self.encoder, self.decoder, self.weights = encoder, decoder, weights
        self._input = encoder.get_inputs()[0].name

    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """Masks of an image u8 (h, w, 3), one for each of the points f32 (p, 2) in px."""
        if not len(points):
            return []
        height, width = image.shape[:2]
        (embedding,) = self.encoder.run(None, {self._input: sam_input(image, SIZE)})
        return [self._mask(embedding, point, height, width) for point in np.asarray(points, dtype=np.float32)]

    def _mask(self, embedding: Any, point: Any, height: int, width: int) -> Mask:
        """The mask at a point; where that is the whole scene, the one inside a box around the point."""
        # Without a box SAM wants a padding point, labelled -1; 2 and 3 are the corners of a box.
        mask = self._decode(embedding, [point, np.zeros(2)], [1, -1], height, width)
        if mask.mask.mean() <= SCENE:
            return mask
        half = BOX / 2 * min(height, width)
        return self._decode(embedding, [point, point - half, point + half], [1, 2, 3], height, width)

    def _decode(self, embedding: Any, points: Any, labels: list[int], height: int, width: int) -> Mask:
        feeds = {
            "image_embeddings": embedding,
            "point_coords": np.asarray(points, dtype=np.float32)[None]
            * np.float32(SIZE / max(height, width)),
            "point_labels": np.array([labels], dtype=np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), dtype=np.float32),
            "has_mask_input": np.zeros(1, dtype=np.float32),
            "orig_im_size": np.array([height, width], dtype=np.float32),
        }
        logits, iou = self.decoder.run(["low_res_masks", "iou_predictions"], feeds)
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
        remedy = (
            "pip install 'optidel[onnx]'"
            if "installed" in reason
            else "run scripts/fetch_sam.py, or pass the folder that holds them"
        )
        raise WeightsError(f"the ONNX mask backend cannot start: {reason}; {remedy}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # one setting for the whole program
    options.log_severity_level = 3
    sessions = []
    for name in (ENCODER, DECODER):
        try:
            sessions.append(
                onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            )
        except Exception as error:  # onnxruntime's own errors share no base class with a meaning
            raise WeightsError(
                f"{folder / name} is not a readable ONNX model; fetch it again with scripts/fetch_sam.py"
            ) from error
    encoder, decoder = sessions
    wanted = {
        "image_embeddings",
        "point_coords",
        "point_labels",
        "mask_input",
        "has_mask_input",
        "orig_im_size",
    }
    found = {item.name for item in decoder.get_inputs()}
    if found != wanted or len(encoder.get_inputs()) != 1:
        raise WeightsError(
            f"{folder / DECODER} takes {', '.join(sorted(found))}; a SAM decoder takes {', '.join(sorted(wanted))}; pass a SAM-style pair"
        )
    return OnnxSam(encoder, decoder, file_sha256(folder / ENCODER, folder / DECODER))
