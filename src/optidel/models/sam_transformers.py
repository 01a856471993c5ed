"""Segment Anything through transformers: SAM, MedSAM, SlimSAM, by id or local folder; safetensors only."""

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from optidel.arrays import Image
from optidel.errors import WeightsError
from optidel.models.masks import SCENE, Mask, Points, mask_from_logits, sam_input

PROMPTS = 64  # prompts in one decoder call; a prompt of the full model needs some 30 MB


class TransformersSam:
    """A :class:`transformers.SamModel`: the encoder runs once an image, the decoder once for up to 64 points."""

    name = "sam"

    def __init__(self, model: Any, weights: str, every_mask: bool = False) -> None:
        """Wrap a loaded model.

        Args:
            model: in eval mode.
            weights: identity, ``sha256:<hex>`` of the parameters.
            every_mask: give all three masks of a point (whole, part, subpart) instead of the best region.
        """
        self.model, self.weights, self.every_mask = model, weights, every_mask
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
        embedding = self.model.get_image_embeddings(torch.from_numpy(sam_input(image, self.size)).to(device))
        scaled = torch.as_tensor(
            np.asarray(points, dtype=np.float32) * np.float32(self.size / max(height, width)), device=device
        )
        masks: list[Mask] = []
        for start in range(0, len(scaled), PROMPTS):
            batch = scaled[start : start + PROMPTS]
            found = self.model(
                image_embeddings=embedding, input_points=batch[None, :, None, :], multimask_output=True
            )
            masks += self._masks(
                found.pred_masks[0].float().cpu().numpy(),
                found.iou_scores[0].float().cpu().numpy(),
                height,
                width,
            )
        return masks

    def _masks(
        self, logits: Float[np.ndarray, "p 3 a b"], ious: Float[np.ndarray, "p 3"], height: int, width: int
    ) -> list[Mask]:
        masks = []
        for point in range(len(logits)):
            three = [
                mask_from_logits(*pair, height, width, self.size)
                for pair in zip(logits[point], ious[point], strict=True)
            ]
            masks += three if self.every_mask else [_best(three)]
        return masks


def _best(masks: list[Mask]) -> Mask:
    """The mask with the highest predicted IoU among those that are no whole scene; the smallest where all
    are.
    """
    regions = [mask for mask in masks if mask.mask.mean() <= SCENE]
    return (
        max(regions, key=lambda mask: mask.predicted_iou)
        if regions
        else min(masks, key=lambda mask: int(mask.mask.sum()))
    )


def load_sam(source: str, every_mask: bool = False) -> TransformersSam:
    """Load a SAM by Hugging Face id or local folder.

    Raises:
        WeightsError: not found, no safetensors in it, or not a SAM.
    """
    from transformers import AutoConfig, SamModel

    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"no model at {source!r} ({_first_line(error)}); pass a model id or a folder with config.json"
        ) from error
    if config.model_type != "sam":
        raise WeightsError(
            f"{source!r} is a {config.model_type!r} model, not 'sam'; pass a SAM, MedSAM or SlimSAM id or folder"
        )
    try:
        model, report = SamModel.from_pretrained(
            source, config=config, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{source!r} has no readable weights in safetensors ({_first_line(error)}); convert them with save_pretrained, "
            "pickled weights are never loaded"
        ) from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise WeightsError(
            f"the weights of {source!r} lack {len(absent)} parameters, such as {absent[0]!r}; pass a complete SAM"
        )
    model.eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TransformersSam(model.to(device), _identity(model), every_mask)


def _identity(model: Any) -> str:
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode() + np.ascontiguousarray(tensor.float().cpu().numpy()).tobytes())
    return f"sha256:{state.hexdigest()}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
