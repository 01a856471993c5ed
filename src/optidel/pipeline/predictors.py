"""What an evaluation trained, as one thing: images in, logits out; it can be kept in a run and used again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import numpy as np
import torch
from jaxtyping import Float32, Int64
from safetensors.numpy import load_file, save_file

from optidel.arrays import Images
from optidel.errors import InputError, RecipeError
from optidel.evaluation.ridge import BLOCK, Probe, fit_probe, with_neighbours
from optidel.evaluation.stored import StoredTask
from optidel.models.encoders import Encoder, load_encoder, save_encoder
from optidel.models.segmenter import Segmenter
from optidel.recipe import EvaluateSection, Protocol
from optidel.store import Artifact
from optidel.training.precision import autocast, device
from optidel.training.segmentation import SCHEDULES, predict_logits, train_segmenter

# Where in the artifact a kept predictor lies: ``encoder/``, ``head.safetensors`` and ``segmenter.json``.
FOLDER = "segmenter"

SETTINGS, HEAD = "segmenter.json", "head.safetensors"


class Predictor(Interface):
    """A trained segmenter of one of the protocols."""

    @property
    def size(self) -> int:
        """Side of the images that it takes, in px."""
        ...

    def logits(self, images: Images) -> Iterator[Float32[np.ndarray, "k g g"]]:
        """Logits of u8 images (n, s, s, 3), the background's first, one image after the other."""
        ...

    def save(self, folder: Path) -> None:
        """Write it; :func:`load_predictor` reads it again."""
        ...


class TrainedPredictor:
    """A segmenter that was trained with an optimizer."""

    def __init__(self, segmenter: Segmenter, protocol: Protocol) -> None:
        """Wrap a trained segmenter."""
        self.segmenter, self.protocol = segmenter, protocol

    @property
    def size(self) -> int:
        """Side of the images in px."""
        return self.segmenter.encoder.size

    def logits(self, images: Images) -> Iterator[Float32[np.ndarray, "k s s"]]:
        """At the model's size."""
        return predict_logits(self.segmenter, images)

    def save(self, folder: Path) -> None:
        """Encoder, head and the scale of the tokens."""
        state = {
            name: value.detach().cpu().numpy()
            for name, value in self.segmenter.state_dict().items()
            if not name.startswith("encoder.")
        }
        _save(folder, self.segmenter.encoder, state, self.protocol, self.segmenter.classes)


class RidgePredictor:
    """A closed-form probe on a frozen encoder."""

    def __init__(self, encoder: Encoder, probe: Probe, layers: Sequence[int] = ()) -> None:
        """Put a probe on the tokens of an encoder's blocks."""
        self.encoder, self.probe, self.layers = encoder, probe, tuple(layers)

    @property
    def size(self) -> int:
        """Side of the images in px."""
        return self.encoder.size

    def logits(self, images: Images) -> Iterator[Float32[np.ndarray, "k g g"]]:
        """At the size of the token grid."""
        for start in range(0, len(images), BLOCK):
            tokens = token_features(self.encoder, images[start : start + BLOCK], self.layers)
            yield from self.probe.logits(tokens)

    def save(self, folder: Path) -> None:
        """Encoder, weights and thresholds."""
        names = ("weights", "bias", "penalties", "thresholds")
        arrays = {name: np.ascontiguousarray(getattr(self.probe, name)) for name in names}
        _save(folder, self.encoder, arrays, "ridge", len(self.probe.bias) + 1, self.layers)


def train_predictor(
    encoder: Encoder,
    task: StoredTask,
    protocol: Protocol,
    options: EvaluateSection,
    generator: torch.Generator,
) -> Predictor:
    """Train on the labelled training images.

    Args:
        encoder: frozen by ``probe`` and ``ridge``; as it is, or copied and trained further by ``fine-tune``.
        task: the labelled set.
        protocol: what is trained.
        options: optimizer steps and batch, where not the protocol's own; blocks that ``ridge`` reads.
        generator: of new weights and the order of images; ``ridge`` draws nothing.
    """
    if protocol == "knn":
        raise RecipeError(
            "the protocol 'knn' is for sets of classes, and this labelled set has masks; "
            'use evaluate.protocols = ["ridge"], "probe" or "fine-tune"'
        )
    rows = task.rows("train")
    images, masks = task.images[rows], task.masks[rows]
    if protocol == "ridge":
        frozen = encoder.to(device()).eval()
        layers = options.layers or ()

        def features(block: Int64[np.ndarray, "m"]) -> Float32[np.ndarray, "m g g d"]:
            return token_features(frozen, images[block], layers)

        groups = task.items["group"].to_list()
        probe = fit_probe(features, masks, task.classes, [groups[row] for row in rows.tolist()])
        return RidgePredictor(frozen, probe, layers)

    usual = SCHEDULES[protocol]
    schedule = replace(usual, steps=options.steps or usual.steps, batch=options.batch or usual.batch)
    segmenter = train_segmenter(
        encoder.to(device()),
        images,
        masks,
        task.classes,
        protocol=protocol,
        generator=generator,
        schedule=schedule,
    )
    return TrainedPredictor(segmenter, protocol)


@torch.inference_mode()
def token_features(
    encoder: Encoder, images: Images, layers: Sequence[int] = ()
) -> Float32[np.ndarray, "m g g d"]:
    """Tokens of some images, by default of the last block, beside the means of their neighbourhoods."""
    with autocast(encoder.mean.device):
        tokens = encoder.tokens(encoder.normalise(images), layers)
    return with_neighbours(tokens.float().permute(0, 2, 3, 1).cpu().numpy())


def load_predictor(artifact: Artifact) -> tuple[Predictor, int]:
    """The predictor that an evaluation kept, and its number of classes.

    Raises:
        InputError: it was not kept.
    """
    folder = artifact.path / FOLDER
    if not (folder / SETTINGS).exists():
        raise InputError(
            f"{artifact.path.name} kept no segmenter; run it again with evaluate.keep = true in the recipe "
            "(--set evaluate.keep=true)"
        )
    artifact.file(FOLDER)
    settings = json.loads((folder / SETTINGS).read_text())
    classes = int(settings["classes"])
    arrays = load_file(folder / HEAD)
    encoder = load_encoder(folder / "encoder").to(device()).eval()
    if settings["protocol"] == "ridge":
        return RidgePredictor(encoder, Probe(**arrays), settings.get("layers", ())), classes
    segmenter = Segmenter(encoder, classes, torch.Generator())
    state = {name: torch.from_numpy(values) for name, values in arrays.items()}
    segmenter.load_state_dict(state, strict=False)
    return TrainedPredictor(segmenter.to(device()).eval(), settings["protocol"]), classes


def _save(
    folder: Path,
    encoder: Encoder,
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
    protocol: Protocol,
    classes: int,
    layers: Sequence[int] = (),
) -> None:
    folder.mkdir(parents=True)
    save_encoder(encoder.backbone, folder / "encoder", encoder.size)
    save_file(arrays, folder / HEAD)
    settings: dict[str, Any] = {"protocol": protocol, "classes": classes, "size": encoder.size}
    if layers:
        settings["layers"] = list(layers)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")
