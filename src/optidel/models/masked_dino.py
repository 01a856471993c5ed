"""A masked autoencoder around a DINOv2, so that it can go on training as one.

Legend: N images, L patches of one image, D width.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from optidel.errors import WeightsError
from optidel.models.mae import initialise
from optidel.models.weights import check_finite, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ViTMAEConfig

# Beside the backbone, which AutoModel loads without it: configuration and tensors of the decoder.
DECODER_FOLDER = "decoder"


class MaskedDino(nn.Module):
    """DINOv2 and a decoder of ViTMAE, with the interface of transformers' ``ViTMAEForPreTraining``.

    Only visible patches pass through the backbone, as in MAE; the mask token of DINOv2 is not used.
    """

    def __init__(self, backbone: "PreTrainedModel", config: "ViTMAEConfig", decoder: nn.Module) -> None:
        """Wrap a backbone at the image size of ``config``, which describes the masked autoencoder."""
        super().__init__()
        self.backbone: Any = backbone
        self.decoder = decoder
        self.config: Any = config

    def vit(self, pixel_values: Float[Tensor, "n 3 s s"], noise: Float[Tensor, "n l"]) -> SimpleNamespace:
        """Encode the visible quarter: the patches with the lowest ``noise``.

        Returns:
            ``last_hidden_state`` (N, 1 + L/4, D), class token first; ``mask`` (N, L), 0 visible, 1 masked;
            ``ids_restore`` (N, L), the position of each patch in the shuffled order.
        """
        embeddings = self.backbone.embeddings
        positions = embeddings.position_embeddings
        patches_NLD = embeddings.patch_embeddings(pixel_values) + positions[:, 1:]

        count, length, width = patches_NLD.shape
        shuffle = torch.argsort(noise, dim=1)
        restore = torch.argsort(shuffle, dim=1)
        visible = shuffle[:, : int(length * (1 - self.config.mask_ratio))]
        tokens = torch.gather(patches_NLD, 1, visible[..., None].expand(-1, -1, width))

        class_token = embeddings.cls_token + positions[:, :1]
        front = [class_token.expand(count, -1, -1)]
        registers = getattr(embeddings, "register_tokens", None)
        if registers is not None:
            front.append(registers.expand(count, -1, -1))
        encoded = self.backbone.encoder(torch.cat([*front, tokens], dim=1))
        hidden = self.backbone.layernorm(encoded.last_hidden_state)

        # The decoder gets class and patch tokens; registers are the backbone's own scratch space.
        hidden = torch.cat([hidden[:, :1], hidden[:, -visible.shape[1] :]], dim=1)
        mask = torch.ones(count, length, device=noise.device).scatter(1, visible, 0.0)
        return SimpleNamespace(last_hidden_state=hidden, mask=mask, ids_restore=restore)

    def patchify(self, pixel_values: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n l p"]:
        """Pixels of each patch: rows, columns, then channels, as ViTMAE orders them."""
        patch = self.config.patch_size
        grid = self.config.image_size // patch
        rows = pixel_values.reshape(len(pixel_values), 3, grid, patch, grid, patch)
        return rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def save_decoder(self, folder: Path) -> None:
        """Write the decoder beside a saved backbone."""
        from safetensors.torch import save_file

        target = folder / DECODER_FOLDER
        target.mkdir(exist_ok=True)
        self.config.to_json_file(target / "config.json")
        state = {name: tensor.contiguous() for name, tensor in self.decoder.state_dict().items()}
        save_file(state, target / "decoder.safetensors")


def build_decoder(config: "ViTMAEConfig", generator: torch.Generator) -> nn.Module:
    """An untrained decoder of a masked autoencoder; its weights depend on ``generator`` alone."""
    from transformers.models.vit_mae.modeling_vit_mae import ViTMAEDecoder

    patches = (config.image_size // config.patch_size) ** 2
    # The constructor draws from the global generator, which is not ours to move.
    with torch.random.fork_rng(devices=[]):
        decoder: nn.Module = ViTMAEDecoder(config, patches)
    initialise(decoder, generator)
    return decoder


def load_masked_dino(backbone: "PreTrainedModel", folder: Path) -> MaskedDino:
    """Put the saved decoder back on a loaded backbone.

    Raises:
        WeightsError: the decoder is not there or not whole.
    """
    from safetensors.torch import load_file
    from transformers import ViTMAEConfig

    try:
        config = ViTMAEConfig.from_json_file(folder / DECODER_FOLDER / "config.json")
        decoder = build_decoder(config, torch.Generator())
        decoder.load_state_dict(load_file(folder / DECODER_FOLDER / "decoder.safetensors"))
    except Exception as error:  # the errors of the two libraries share no base class with a meaning
        raise WeightsError(
            f"{folder} has no decoder that can be read ({first_line(error)}); V-information needs one, "
            "so delete the folder and run the same command again"
        ) from error
    check_finite(decoder, folder)
    return MaskedDino(backbone, config, decoder)
