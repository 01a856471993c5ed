"""Influence through the last block of a masked autoencoder, for many images at once.

Legend: N images, L tokens, I inputs and O outputs of a linear layer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor, nn

from optidel.arrays import Images, Scores
from optidel.methods.influence import ghost_influence
from optidel.models.encoders import load_mae, normalise
from optidel.models.mae import patch_errors
from optidel.training.precision import device

# Images of one pass, never fewer: another shape may round differently.
BLOCK = 128


class LastBlock:
    """The linear layers of the last block of an encoder; everything below is frozen, so that a backward pass
    ends there.
    """

    def __init__(self, folder: str) -> None:
        """Load a masked autoencoder.

        Args:
            folder: in the Hugging Face layout, or a hub id.
        """
        model: Any = load_mae(folder)
        self.model: Any = model.eval().to(device()).requires_grad_(False)
        block = self.model.vit.layers[-1]
        self.layers = [module for module in block.modules() if isinstance(module, nn.Linear)]
        self._inputs: dict[nn.Module, Tensor] = {}
        self._outputs: dict[nn.Module, Tensor] = {}
        for layer in self.layers:
            layer.weight.requires_grad_(True)
            layer.register_forward_hook(self._note)

    def _note(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._inputs[layer] = inputs[0].detach()
        self._outputs[layer] = output

    def _losses(self, images: Images, noise: Float[Tensor, "l"]) -> Float[Tensor, "n"]:
        """Mean squared error of the hidden patches of each image."""
        x = normalise(images, device())
        masks = noise.to(x.device).expand(len(images), -1)
        error_NL, mask_NL, _ = patch_errors(self.model, x, masks)
        return (error_NL * mask_NL).sum(dim=1) / mask_NL.sum(dim=1)

    def held_out_gradients(
        self, images: Images, noise: Float[Tensor, "m l"]
    ) -> list[Float64[np.ndarray, "o i"]]:
        """Gradient of the mean loss over images and masks, layer by layer.

        Args:
            images: u8 (n, s, s, 3), which nothing was trained on.
            noise: a row a mask; in each the lowest quarter of values marks the visible patches.
        """
        weights = [layer.weight for layer in self.layers]
        total = [np.zeros(weight.shape) for weight in weights]
        for start in range(0, len(images), BLOCK):
            block = np.asarray(images[start : start + BLOCK])
            for mask in noise:
                gradients = torch.autograd.grad(self._losses(block, mask).sum(), weights)
                for sum_so_far, gradient in zip(total, gradients, strict=True):
                    sum_so_far += gradient.double().cpu().numpy()
        count = len(images) * len(noise)
        return [gradient / count for gradient in total]

    def influence(
        self,
        images: Images,
        noise: Float[Tensor, "l"],
        held_out: Sequence[Float64[np.ndarray, "o i"]],
    ) -> Scores:
        """By how much a step of rate 1 on each image lowers the held-out loss, to first order; float64 (n,).

        Args:
            images: u8 (n, s, s, 3), at most :data:`BLOCK`.
            noise: one mask for all of them.
            held_out: as :meth:`held_out_gradients` returns them.
        """
        count = len(images)
        # Padded with copies of the last image, so that every pass has one shape.
        padded = np.concatenate([images, np.repeat(images[-1:], BLOCK - count, axis=0)])
        losses = self._losses(padded, noise)
        outputs = [self._outputs[layer] for layer in self.layers]
        # No image enters the loss of another, so the gradient of the sum holds that of each.
        gradients = torch.autograd.grad(losses.sum(), outputs)
        total = np.zeros(count)
        for layer, gradient, of_held_out in zip(self.layers, gradients, held_out, strict=True):
            inputs_NLI = _array(self._inputs[layer][:count])
            gradient_NLO = _array(gradient[:count])
            total += ghost_influence(inputs_NLI, gradient_NLO, of_held_out)
        return total


def _array(values: Tensor) -> Float32[np.ndarray, "n l d"]:
    array: Float32[np.ndarray, "n l d"] = values.detach().float().cpu().numpy()
    return array
