"""Segment Anything through transformers: SAM, MedSAM, SlimSAM, by id or local folder; safetensors only."""

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from optidel.arrays import Image
from optidel.errors import WeightsError
from optidel.models.masks import SCENE, Mask, Points, mask_from_logits, sam_input
from optidel.models.weights import load_model, read_config

# In one decoder call; a prompt of the full model needs some 30 MB.
PROMPTS = 64


class TransformersSam:
    """A :class:`transformers.SamModel`: the encoder runs once an image, the decoder once for 64 points."""

    name = "sam"

    def __init__(self, model: Any, weights: str, every_mask: bool = False) -> None:
        """Wrap a loaded model.

        Args:
            model: in eval mode.
            weights: identity, ``sha256:<hex>`` of the parameters.
            every_mask: give all three masks of a point (whole, part, subpart) instead of the best region.
        """
        self.model = model
        self.weights = weights
        self.every_mask = every_mask
        self.size = int(model.config.vision_config.image_size)

    @torch.inference_mode()
    def __call__(self, image: Image, points: Points) -> list[Mask]:
        """Masks of an image u8 (h, w, 3) for points f32 (p, 2) in px; one a point, or three with
        ``every_mask``.
        """
        height, width = image.shape[:2]
        if not len(points):
            return []
        device = self.model.device
        pixels = torch.from_numpy(sam_input(image, self.size)).to(device)
        embedding = self.model.get_image_embeddings(pixels)

        scale = np.float32(self.size / max(height, width))
        scaled = torch.as_tensor(np.asarray(points, dtype=np.float32) * scale, device=device)
        masks: list[Mask] = []
        for start in range(0, len(scaled), PROMPTS):
            batch = scaled[start : start + PROMPTS]
            output = self.model(
                image_embeddings=embedding, input_points=batch[None, :, None, :], multimask_output=True
            )
            logits = output.pred_masks[0].float().cpu().numpy()
            ious = output.iou_scores[0].float().cpu().numpy()
            masks += self._masks(logits, ious, height, width)
        return masks

    def _masks(
        self, logits: Float[np.ndarray, "p 3 a b"], ious: Float[np.ndarray, "p 3"], height: int, width: int
    ) -> list[Mask]:
        masks: list[Mask] = []
        for point_logits, point_ious in zip(logits, ious, strict=True):
            three = []  # the whole, a part, a part of that
            for level, iou in zip(point_logits, point_ious, strict=True):
                three.append(mask_from_logits(level, float(iou), height, width, self.size))
            masks += three if self.every_mask else [_best(three)]
        return masks


def _best(masks: list[Mask]) -> Mask:
    """The mask with the highest predicted IoU among those that are no whole scene; the smallest where all
    are.
    """
    regions = [mask for mask in masks if mask.mask.mean() <= SCENE]
    if not regions:
        return min(masks, key=lambda mask: int(mask.mask.sum()))
    return max(regions, key=lambda mask: mask.predicted_iou)


def load_sam(source: str, every_mask: bool = False) -> TransformersSam:
    """Load a SAM by Hugging Face id or local folder.

    Raises:
        WeightsError: not found, no safetensors in it, not a SAM, or weights that are not whole.
    """
    from transformers import SamModel

    config = read_config(source)
    if config.model_type != "sam":
        raise WeightsError(
            f"{source!r} is a {config.model_type!r} model, not 'sam'; "
            "pass a SAM, MedSAM or SlimSAM id or folder"
        )
    model = load_model(SamModel, source)
    model.eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TransformersSam(model.to(device), _identity(model), every_mask)


def _identity(model: Any) -> str:
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.float().cpu().numpy()
        state.update(name.encode())
        state.update(np.ascontiguousarray(values).tobytes())
    return f"sha256:{state.hexdigest()}"
