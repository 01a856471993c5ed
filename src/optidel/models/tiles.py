"""A masked autoencoder that knows that its image is made of tiles.

A composite of four pictures has seams across which nothing can be predicted. Here attention stays within a
tile, masks are drawn for each tile, a tile has a position grid of its own, and a learned embedding says which
tile it is.

Source: naive mixing of images degrades MAE, mixing that keeps attention within a source helps (MixedAE, CVPR
2023, arXiv 2303.17152). Legend: N images, T tiles of one image, L patches of one tile, D width.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from optidel.arrays import Images
from optidel.errors import RecipeError
from optidel.models.continued import resized_positions
from optidel.models.mae import MASK_RATIO, TOKEN_DEVIATION, target_patches

if TYPE_CHECKING:
    from transformers import ViTMAEForPreTraining


class TiledMae(nn.Module):
    """A ViTMAE and one embedding for each tile; the ViTMAE alone is kept after training."""

    def __init__(self, mae: "ViTMAEForPreTraining", tiles: int, generator: torch.Generator) -> None:
        """Add embeddings of ``tiles`` tiles, drawn from ``generator``.

        Raises:
            RecipeError: the image cannot be cut into that many tiles of an even number of patches a side.
        """
        super().__init__()
        self.mae: Any = mae
        self.tiles = tiles
        self.cell = cell_side(mae.config.image_size, mae.config.patch_size, tiles)
        self.tile_embedding = nn.Parameter(torch.empty(tiles, mae.config.hidden_size))
        self.tile_embedding.data.normal_(std=TOKEN_DEVIATION, generator=generator)

    def loss(self, cells: Float[Tensor, "images 3 c c"], noise: Float[Tensor, "images l"]) -> Tensor:
        """Mean squared error over the hidden patches of every tile.

        Args:
            cells: normalised tiles (N·T, 3, c, c), the T tiles of an image one after the other.
            noise: (N·T, L); in every row the lowest quarter of values marks the visible patches of a tile.
        """
        tokens_NLD, mask_NL, restore_NL = self.encode(cells, noise)
        predicted_NLP = self.decode(tokens_NLD, restore_NL)
        target_NLP = target_patches(self.mae, cells)
        error_NL = (predicted_NLP.float() - target_NLP).square().mean(-1)
        hidden_error = (error_NL * mask_NL).sum()
        return hidden_error / mask_NL.sum()

    def encode(
        self, cells: Float[Tensor, "images 3 c c"], noise: Float[Tensor, "images l"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of the visible patches of each tile, class token first.

        A tile is a sequence of its own: that equals attention within blocks of a composite, without computing
        what the blocks would mask.

        Returns:
            tokens (N·T, 1 + L/4, D); mask (N·T, L), 0 visible, 1 masked; for each patch its position in the
            shuffled order (N·T, L).
        """
        vit = self.mae.vit
        grid = self.cell // self.mae.config.patch_size
        positions = resized_positions(vit.embeddings.position_embeddings, grid)
        which = torch.arange(len(cells), device=cells.device) % self.tiles

        projected = vit.embeddings.patch_embeddings.projection(cells)
        patches_NLD = projected.flatten(2).transpose(1, 2)
        patches_NLD = patches_NLD + positions[:, 1:] + self.tile_embedding[which, None]

        length, width = patches_NLD.shape[1:]
        shuffle = torch.argsort(noise, dim=1)
        restore = torch.argsort(shuffle, dim=1)
        visible = shuffle[:, : int(length * (1 - MASK_RATIO))]
        tokens = torch.gather(patches_NLD, 1, visible[..., None].expand(-1, -1, width))
        mask = torch.ones(noise.shape, device=noise.device).scatter(1, visible, 0.0)

        class_token = vit.embeddings.cls_token + positions[:, :1]
        hidden = torch.cat([class_token.expand(len(cells), -1, -1), tokens], dim=1)
        for layer in vit.layers:
            hidden = layer(hidden)
        return vit.layernorm(hidden), mask, restore

    def decode(self, tokens: Float[Tensor, "n visible d"], restore: Tensor) -> Float[Tensor, "n l p"]:
        """Predicted values of every patch of a tile."""
        decoder = self.mae.decoder
        grid = self.cell // self.mae.config.patch_size
        positions = resized_positions(decoder.decoder_pos_embed, grid)

        embedded = decoder.decoder_embed(tokens)
        count, width = len(embedded), embedded.shape[-1]
        hidden_patches = restore.shape[1] + 1 - embedded.shape[1]
        absent = decoder.mask_token.to(embedded.dtype).expand(count, hidden_patches, -1)
        shuffled = torch.cat([embedded[:, 1:], absent], dim=1)
        patches = torch.gather(shuffled, 1, restore[..., None].expand(-1, -1, width))

        hidden = torch.cat([embedded[:, :1], patches], dim=1) + positions
        for layer in decoder.decoder_layers:
            hidden = layer(hidden)
        predicted: Tensor = decoder.decoder_pred(decoder.decoder_norm(hidden))
        return predicted[:, 1:]


def cell_side(size: int, patch: int, tiles: int) -> int:
    """Side in px of one of ``tiles`` square tiles of an image.

    Raises:
        RecipeError: no square number of tiles, or a tile that is no even number of patches along a side.

    >>> cell_side(64, 8, 4)
    32
    """
    across = math.isqrt(tiles)
    if across**2 != tiles or size % (2 * patch * across):
        raise RecipeError(
            f"images of {size} px in patches of {patch} px cannot be dealt into {tiles} tiles of an even "
            "number of patches along a side; use another grid, or another preset"
        )
    return size // across


def shrink(x: Float[Tensor, "n 3 s s"], side: int) -> Float[Tensor, "n 3 c c"]:
    """Images at the size of a tile, with anti-aliasing."""
    small = F.interpolate(x.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return small.to(x.dtype)


def coarse(images: Images, across: int) -> Images:
    """Images as they are kept for a grid of ``across`` × ``across`` tiles, at a part of their side, and
    enlarged again.

    >>> import numpy as np
    >>> coarse(np.full((1, 8, 8, 3), 70, np.uint8), 2).shape
    (1, 8, 8, 3)
    """
    side = images.shape[1]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    kept = F.interpolate(x, size=(side // across,) * 2, mode="bilinear", antialias=True, align_corners=False)
    enlarged = F.interpolate(kept.round(), size=(side,) * 2, mode="bicubic", align_corners=False)
    levels = enlarged.round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).numpy()
