"""Masked autoencoder: building it right, and reading embedding and error from one pass.

Source: He et al., CVPR 2022, arXiv 2111.06377. Legend: N images, L patches of one image, D width, P pixel
    values of one patch.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from optidel.models.presets import Preset

if TYPE_CHECKING:
    from transformers import ViTMAEForPreTraining

MASK_RATIO = 0.75
"""Share of the patches that is hidden (arXiv 2111.06377, section 4.1: best for fine-tuning and probing)."""

VARIANCE_FLOOR = 1e-6
"""Keeps a patch of one colour finite when it is scaled; the authors' value."""

TOKEN_DEVIATION = 0.02
"""Of class and mask tokens at the start, in the authors' code."""


def sincos_positions(grid: int, dim: int) -> Float32[Tensor, "1 tokens dim"]:
    """Fixed 2-D sine-cosine position embeddings, class token first (zeros): (1, 1 + grid², dim).

    Written out because transformers 5 leaves all-zero tables in models built from a config. The halves are [w
    | h], as in the published weights.
    """
    # 10,000 is the longest wavelength of Vaswani et al. 2017 (arXiv 1706.03762), which MAE took over.
    omega = 1.0 / 10000 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    axis = torch.arange(grid, dtype=torch.float64)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")

    def waves(position: Tensor) -> Tensor:
        angle = position.flatten()[:, None] * omega[None, :]
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    patches = torch.cat([waves(columns), waves(rows)], dim=1)
    class_token = torch.zeros(1, dim, dtype=torch.float64)
    return torch.cat([class_token, patches]).float()[None]


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Initialise as the authors did: Xavier-uniform linear layers and patch projection, zero biases, unit
    norms, N(0, 0.02²) tokens.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight.data
            nn.init.xavier_uniform_(weight.view(weight.shape[0], -1), generator=generator)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()
    for name, parameter in model.named_parameters():
        if name.endswith(("cls_token", "mask_token")):
            parameter.data.normal_(std=TOKEN_DEVIATION, generator=generator)
        elif name.endswith(("position_embeddings", "decoder_pos_embed")):
            parameter.data.copy_(sincos_positions(math.isqrt(parameter.shape[1] - 1), parameter.shape[2]))
            parameter.requires_grad_(False)


def build_mae(
    preset: Preset, generator: torch.Generator, *, normalised: bool = False
) -> "ViTMAEForPreTraining":
    """An untrained masked autoencoder whose weights depend on ``generator`` alone.

    Args:
        preset: its sizes.
        generator: a CPU generator.
        normalised: predict each patch scaled to mean 0 and deviation 1: see :func:`target_patches`.
    """
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = ViTMAEConfig(
        image_size=preset.size,
        patch_size=preset.patch,
        hidden_size=preset.width,
        num_hidden_layers=preset.depth,
        num_attention_heads=preset.heads,
        intermediate_size=4 * preset.width,
        decoder_hidden_size=preset.decoder_width,
        decoder_num_hidden_layers=preset.decoder_depth,
        decoder_num_attention_heads=preset.decoder_heads,
        decoder_intermediate_size=4 * preset.decoder_width,
        mask_ratio=MASK_RATIO,
        norm_pix_loss=normalised,
    )
    # The constructor draws from the global generator, which is not ours to move.
    with torch.random.fork_rng(devices=[]):
        model = ViTMAEForPreTraining(config)
    initialise(model, generator)
    return model


def target_patches(model: Any, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n l p"]:
    """What a masked autoencoder predicts: the pixels of each patch, normalised plainly or, where its
    configuration says ``norm_pix_loss``, scaled to mean 0 and deviation 1 within the patch.

    Source: arXiv 2111.06377, section 4.1.
    """
    pixels_NLP: Tensor = model.patchify(x)
    if not model.config.norm_pix_loss:
        return pixels_NLP
    mean = pixels_NLP.mean(dim=-1, keepdim=True)
    variance = pixels_NLP.var(dim=-1, keepdim=True)
    return (pixels_NLP - mean) / (variance + VARIANCE_FLOOR).sqrt()


def patch_errors(
    model: Any, x: Float[Tensor, "n 3 s s"], noise: Float[Tensor, "n l"]
) -> tuple[Tensor, Tensor, Tensor]:
    """One masked pass.

    Args:
        model: a ViTMAEForPreTraining.
        x: normalised images.
        noise: in every row the lowest quarter of values marks the visible patches.

    Returns:
        error (N, L) mean squared error per patch, in the unit of :func:`target_patches`; mask (N, L), 0
        visible, 1 masked; tokens (N, 1 + L/4, D).
    """
    encoded = model.vit(pixel_values=x, noise=noise)
    tokens_NLD = encoded.last_hidden_state
    predicted_NLP = model.decoder(tokens_NLD, encoded.ids_restore).logits
    target_NLP = target_patches(model, x)
    error_NL = (predicted_NLP.float() - target_NLP).square().mean(-1)
    return error_NL, encoded.mask, tokens_NLD


def masked_loss(model: Any, x: Float[Tensor, "n 3 s s"], noise: Float[Tensor, "n l"]) -> Tensor:
    """Mean squared error over masked patches (arXiv 2111.06377, section 3).

    Args:
        model: a ViTMAEForPreTraining.
        x: normalised images.
        noise: in every row the lowest quarter of values marks the visible patches.
    """
    error_NL, mask_NL, _ = patch_errors(model, x, noise)
    hidden_error = (error_NL * mask_NL).sum()
    return hidden_error / mask_NL.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class MaeScores:
    """What one scoring pass says of N images.

    ``vectors`` f32 (N, D) mean token; ``error_map`` f32 (N, g, g) mean squared error per cell in normalised
    plain pixels, each cell averaged over the masks that hid it.
    """

    vectors: Tensor
    error_map: Tensor


def complementary_noise(length: int, generator: torch.Generator) -> Float[Tensor, "4 l"]:
    """Four mask patterns whose visible quarters partition the patches: every patch is visible once and masked
    three times.
    """
    order = torch.randperm(length, generator=generator)
    rank = torch.argsort(order)
    quarter = length // 4
    turned = [(rank - turn * quarter) % length for turn in range(4)]
    return torch.stack(turned).float()


@torch.no_grad()
def score(model: Any, x: Float[Tensor, "n 3 s s"], noise: Float[Tensor, "masks l"]) -> MaeScores:
    """Embedding and error map from the same passes, one per row of ``noise``; all images share the masks, so
    scores are comparable.
    """
    count = x.shape[0]
    error = torch.zeros(count, noise.shape[1], device=x.device)
    hidden = torch.zeros_like(error)
    vectors: Tensor | None = None

    for row in noise.to(x.device):
        error_NL, mask_NL, tokens_NLD = patch_errors(model, x, row.expand(count, -1))
        error += error_NL * mask_NL
        hidden += mask_NL
        pooled = tokens_NLD[:, 1:].float().mean(1)
        vectors = pooled if vectors is None else vectors + pooled

    assert vectors is not None
    grid = math.isqrt(noise.shape[1])
    error_map = (error / hidden.clamp(min=1)).view(count, grid, grid)
    return MaeScores(vectors=vectors / len(noise), error_map=error_map)
