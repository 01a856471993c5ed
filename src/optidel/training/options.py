"""What a pre-training may be told."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from optidel.models.presets import Views
from optidel.models.weights import weights_identity
from optidel.recipe import Sampling, Sharding

Target = Literal["pixels", "normalised"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the steps of a training are computed: its result depends on it by rounding alone.

    Args:
        accumulate: parts, one after the other, in which each process handles its share of a batch.
        compile: whether the blocks are compiled (``torch.compile``).
        sharding: ``full`` where each of several processes holds its share of weights, gradients and optimizer
            state (FSDP), and ``none`` where each holds all (DDP).
    """

    accumulate: int = 1
    compile: bool = False
    sharding: Sharding = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainOptions:
    """The options of one pre-training; the optimizer is AdamW with betas (0.9, 0.95).

    Args:
        objective: a key of :data:`optidel.OBJECTIVES`.
        steps: optimizer steps.
        batch: images of one step.
        lr: peak learning rate.
        weight_decay: of matrices; vectors (biases, norms) have none.
        warmup: share of the steps in which the learning rate rises.
        checkpoint_every: steps between two checkpoints.
        sample: train on at most this many images, drawn once; None for all.
        views: how an image is changed each time it is shown.
        target: what a masked autoencoder predicts: ``pixels``, or ``normalised``, each patch scaled to mean 0
            and deviation 1 (arXiv 2111.06377, section 4.1, better features there; its errors cannot be read
            as V-entropies, and the difficulty of noise is overstated).
        weights: Hugging Face id or folder of a ViT, ViT-MAE or DINOv2 to go on from; None starts untrained.
        layer_decay: factor of the learning rate from one block of the encoder to the block below it; 1 for
            none, 0.65 to 0.75 where weights go on (arXiv 2111.06377, table 9).
        tiles: 1 shows each image as it is; 4, 9 or 16 deals the images of the set anew at every step, so many
            to a new one.
        at: numbers of finished steps after which the encoder of that moment is handed out too.
        sampling: how often each image is shown: all alike, or as the frequencies say that the training is
            given.
        whole: with tiles, how many images, the last of the set, are shown as they are nevertheless.
        alone: with tiles, the share of the new images that show one tile alone, enlarged from the size that
            it has in a grid: no more pixels are kept, and whole images are seen too.
        execution: how the steps are computed.
    """

    objective: str = "mae"
    steps: int = 800
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    checkpoint_every: int = 100
    sample: int | None = None
    views: Views = field(default_factory=Views)
    target: Target = "pixels"
    weights: str | None = None
    layer_decay: float = 1.0
    tiles: int = 1
    whole: int = 0
    alone: float = 0.0
    at: tuple[int, ...] = ()
    sampling: Sampling = "uniform"
    execution: Execution = field(default_factory=Execution)

    def config(self) -> dict[str, Any]:
        """The options as an artifact's configuration.

        Options of later versions appear only where they differ from their default, so that they change no
        fingerprint of an encoder they did not change.
        """
        config = asdict(self)
        del config["execution"]
        for name in list(config):
            # A name that is left out here must never change its default.
            if name not in FIRST_OPTIONS and getattr(self, name) == getattr(DEFAULTS, name):
                del config[name]
        if self.weights is not None:
            config["weights"] = weights_identity(self.weights)  # by content: a path is no identity
        return config


FIRST_OPTIONS = frozenset(
    {"objective", "steps", "batch", "lr", "weight_decay", "warmup", "checkpoint_every", "sample"}
)
"""Options that stand in every configuration since the first version."""

DEFAULTS = PretrainOptions()
