"""The model card of an exported encoder: what it is, how it is loaded and what it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

# The library by which the Hugging Face Hub says that each format is loaded.
LIBRARIES = {"encoder": "transformers", "timm": "timm", "onnx": "onnx"}

LOADING = {
    "encoder": """from transformers import AutoModel

model = AutoModel.from_pretrained("THIS FOLDER"{arguments}).eval()
tokens = model(pixel_values=x).last_hidden_state  # class token first""",
    "timm": """from functools import partial

import timm
from torch import nn

norm = partial(nn.LayerNorm, eps={eps:g})  # that of the training; timm's own is 1e-06
model = timm.create_model("local-dir:THIS FOLDER", pretrained=True, norm_layer=norm).eval()
vector = model(x)""",
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("THIS FOLDER/encoder.onnx")
vector, tokens = session.run(["vector", "tokens"], {{"images": x}})""",
}

# What the Hub has for a licence that nobody stated.
NO_LICENCE = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """What an encoder was trained on, in numbers.

    ``images`` were shown, made of ``frames`` distinct frames of a corpus of ``corpus``; ``groups`` is how
    many patients, videos or the like these come from, None where none is known. ``composed`` images are
    made of key patches. ``index`` is the content of the corpus.
    """

    images: int
    frames: int
    groups: int | None
    composed: bool
    corpus: int
    index: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All that a model card says; ``model`` and ``convention`` are the encoder's own JSON files, ``options``
    those of its pre-training, ``select`` and ``pretrain`` the names of the run's artifacts.
    """

    format: str
    model: Mapping[str, Any]
    convention: Mapping[str, Any]
    method: str
    budget: float
    seed: int
    select: str
    pretrain: str
    options: Mapping[str, Any]
    training_set: TrainingSet


def card_text(card: Card) -> str:
    """The model card as Markdown, with the metadata of the Hugging Face Hub in its head.

    The licence is ``unknown``, to be filled in: what may be done with an encoder is up to whoever owns the
    images. No name of a file, a patient or a folder is in it.

    Source: Mitchell et al. 2019 (arXiv 1810.03993); Hugging Face Hub, model cards.
    """
    return "\n\n".join([_head(card), _model(card), _use(card), _trained_on(card), _limits()]) + "\n"


def _head(card: Card) -> str:
    kind = str(card.model["model_type"])
    return f"""---
# Fill in: an identifier of the Hub's list, such as apache-2.0 or cc-by-nc-4.0, that the images allow.
license: {NO_LICENCE}
library_name: {LIBRARIES[card.format]}
pipeline_tag: image-feature-extraction
tags:
- optidel
- medical-imaging
- self-supervised-learning
- {kind.replace("_", "-")}
---"""


def _model(card: Card) -> str:
    model, options = card.model, card.options
    origin = "from an untrained start"
    if options.get("weights"):
        origin = f"going on from weights of the content `{options['weights']}`"
    return f"""# Encoder pre-trained on a selection by {card.method}

A vision transformer (`{model["model_type"]}`): {model["num_hidden_layers"]} blocks of width
{model["hidden_size"]}, {model["num_attention_heads"]} heads, patches of {model["patch_size"]} px, images of
{model["image_size"]} px. Pre-trained with the objective `{options["objective"]}` for
{options["steps"]} steps of {options["batch"]} images, {origin}. Written by OptiDEL {version("optidel")}.

**Licence: to be filled in**, here and in the head of this file."""


def _use(card: Card) -> str:
    # A masked autoencoder hides patches unless it is told not to.
    arguments = ", mask_ratio=0.0" if card.model["model_type"] == "vit_mae" else ""
    code = LOADING[card.format].format(arguments=arguments, eps=card.model["layer_norm_eps"])
    size = card.model["image_size"]
    if card.format == "onnx":
        taken = f"`x` is float32 (n, 3, {size}, {size}), RGB in [0, 1]; the file normalises it."
    else:
        mean, deviation = card.convention["image_mean"], card.convention["image_std"]
        taken = (
            f"`x` is float32 (n, 3, {size}, {size}), RGB in [0, 1], minus {mean}, divided by {deviation},\n"
            "channel by channel."
        )
    pooled = "class token"
    if card.model["model_type"] == "vit_mae":
        pooled = "mean patch token"
    return f"""## Use

```python
{code}
```

{taken} OptiDEL's own vector of an image is the {pooled} after the last normalisation."""


def _trained_on(card: Card) -> str:
    trained = card.training_set
    shown = f"{trained.images} frames"
    if trained.composed:
        shown = f"{trained.images} images composed of key patches of {trained.frames} frames"
    groups = "not known" if trained.groups is None else str(trained.groups)
    rows = [
        ("method", f"`{card.method}`"),
        ("budget", f"{card.budget:g} of the corpus"),
        ("seed", str(card.seed)),
        ("trained on", shown),
        ("chosen from", f"{trained.corpus} frames"),
        ("groups (patients, videos, …) trained on", groups),
        ("corpus, by content", f"`{trained.index}`"),
        ("artifacts of the run", f"`{card.select}`, `{card.pretrain}`"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""## What it was trained on

| | |
|---|---|
{table}

`training-set.csv` has a row for each frame of each image: the SHA-256 of its pixels as OptiDEL indexes them,
and a keyed hash of its group. It names no file and no person. Whoever holds the same image can find it there:
that is what it is for, and a reason not to pass the file on where it must not be known who took part."""


def _limits() -> str:
    return """## Limits

The encoder was trained without labels, and this card reports no evaluation of it. It is no medical device.
Images of another modality, device or centre than those it was trained on may be embedded badly."""
