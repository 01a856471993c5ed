"""An encoder under the names that timm gives to the tensors of its ``VisionTransformer``, without timm."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from optidel.errors import WeightsError
from optidel.models.encoders import Encoder

# The model of timm whose every size ``model_args`` then replaces.
ARCHITECTURE = "vit_base_patch16_224"

# What timm's layers of normalisation add to the variance unless ``create_model`` is given others.
TIMM_EPS = 1e-6

# Images of noise on which the two are compared; a round number, for more hardly raise the maximum.
COMPARED = 4

# Beginnings of the names of tensors that no result of an encoder depends on.
UNREAD = ("pooler.", "embeddings.mask_token")

# Names outside the blocks, transformers to timm.
OUTER = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}

# Names inside a block, without what both call weight and bias.
INNER = {
    "attention.o_proj": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "norm1": "norm1",
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}

# Beginnings of the name of a block: ViT and ViT-MAE, DINOv2.
BLOCKS = ("layers.", "encoder.layer.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmEncoder:
    """``state`` float32 tensors by timm's names; ``config`` what ``config.json`` of a timm folder holds."""

    state: dict[str, Tensor]
    config: dict[str, Any]


def to_timm(encoder: Encoder) -> TimmEncoder:
    """The tensors and the configuration of an encoder as timm has them.

    The output of timm's model is that of the encoder, the class token or, of a masked autoencoder, the mean
    patch token, where it is made with the encoder's own layers of normalisation; see :func:`eps_difference`.

    Raises:
        WeightsError: a model that timm's ``VisionTransformer`` cannot hold.
    """
    config = encoder.backbone.config
    if getattr(config, "use_swiglu_ffn", False):
        raise WeightsError(
            "the encoder has SwiGLU blocks, which have no place in a configuration of timm; "
            "pass --format onnx or encoder"
        )
    if config.hidden_act != "gelu":
        raise WeightsError(
            f"the encoder has the activation {config.hidden_act!r}, timm's has gelu; "
            "pass --format onnx or encoder"
        )

    state: dict[str, Tensor] = {}
    blocks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in encoder.backbone.state_dict().items():
        if name.startswith(UNREAD):
            continue
        if name.startswith(BLOCKS):
            start = next(start for start in BLOCKS if name.startswith(start))
            number, _, inner = name.removeprefix(start).partition(".")
            blocks.setdefault(number, {})[inner] = tensor
        else:
            state[OUTER[name]] = tensor
    for number, inner_tensors in blocks.items():
        for inner, tensor in _block(inner_tensors).items():
            state[f"blocks.{number}.{inner}"] = tensor

    if "reg_token" in state:
        # timm gives neither class token nor registers a position; the sum is the same.
        state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        state["pos_embed"] = state["pos_embed"][:, 1:]
    contiguous = {name: tensor.detach().float().contiguous().clone() for name, tensor in state.items()}
    return TimmEncoder(state=contiguous, config=_config(encoder, state))


@torch.no_grad()
def eps_difference(encoder: Encoder) -> float:
    """The largest difference of an output, on noise, where timm's own layers of normalisation are used.

    They add 1e-6 to the variance, those of transformers' ViT 1e-12. No file can say so to timm; the argument
    ``norm_layer=partial(nn.LayerNorm, eps=1e-12)`` of ``create_model`` does.
    """
    encoder.eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(COMPARED, 3, encoder.size, encoder.size, generator=generator)
    own = encoder(x)
    norms = [module for module in encoder.modules() if isinstance(module, nn.LayerNorm)]
    kept = [norm.eps for norm in norms]
    try:
        for norm in norms:
            norm.eps = TIMM_EPS
        return float((encoder(x) - own).abs().max())
    finally:
        for norm, eps in zip(norms, kept, strict=True):
            norm.eps = eps


def _block(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One block: three projections become one, in the order query, key, value."""
    named = {}
    for kind in ("weight", "bias"):
        parts = [tensors.get(f"attention.{letter}_proj.{kind}") for letter in "qkv"]
        present = [part for part in parts if part is not None]
        if present:
            named[f"attn.qkv.{kind}"] = torch.cat(present)
        for old, new in INNER.items():
            if f"{old}.{kind}" in tensors:
                named[f"{new}.{kind}"] = tensors[f"{old}.{kind}"]
    for number in (1, 2):
        scale = tensors.get(f"layer_scale{number}.lambda1")
        if scale is not None:
            named[f"ls{number}.gamma"] = scale
    return named


def _config(encoder: Encoder, state: dict[str, Tensor]) -> dict[str, Any]:
    """``config.json`` as timm writes it."""
    config = encoder.backbone.config
    side = int(config.image_size)
    pool = "avg" if encoder.kind == "vit_mae" else "token"
    hidden = state["blocks.0.mlp.fc1.weight"].shape[0]
    arguments: dict[str, Any] = {
        "img_size": side,
        "patch_size": encoder.patch,
        "embed_dim": encoder.dim,
        "depth": int(config.num_hidden_layers),
        "num_heads": int(config.num_attention_heads),
        "mlp_ratio": hidden / encoder.dim,
        "qkv_bias": "blocks.0.attn.qkv.bias" in state,
        "global_pool": pool,
        # Normalise every token, then pool: the other order is timm's default for a mean.
        "fc_norm": False,
    }
    if "blocks.0.ls1.gamma" in state:
        arguments["init_values"] = 1.0  # any number makes room for the scales, which are loaded
    if "reg_token" in state:
        arguments |= {"reg_tokens": state["reg_token"].shape[1], "no_embed_class": True}
    return {
        "architecture": ARCHITECTURE,
        "num_classes": 0,
        "num_features": encoder.dim,
        "global_pool": pool,
        "model_args": arguments,
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [3, side, side],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            # A float32 has seven digits; the rest of its double is noise.
            "mean": [round(value, 7) for value in encoder.mean.flatten().tolist()],
            "std": [round(value, 7) for value in encoder.std.flatten().tolist()],
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
