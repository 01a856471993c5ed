"""An encoder as an ONNX file, compared with the encoder before anyone gets it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from optidel.errors import WeightsError
from optidel.models.encoders import Encoder

# The names of the graph's input and outputs.
INPUT, OUTPUTS = "images", ("vector", "tokens")

# Largest difference of an output that passes: some hundred times that of float32 sums in another order.
TOLERANCE = 1e-4

# Images with which the file is compared; the graph is traced with another number of them.
COMPARED, TRACED = 3, 2


class _Normalised(nn.Module):
    """An encoder with its input statistics inside."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, *, mean_token: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean_token = mean_token
        self.register_buffer("mean", encoder.mean)
        self.register_buffer("std", encoder.std)

    def forward(self, images: Float[Tensor, "n 3 s s"]) -> tuple[Tensor, Tensor]:
        """Images in [0, 1] to a vector (n, d) and a map of tokens (n, d, g, g) of each."""
        encoder = self.encoder
        first, patches = encoder.hidden((images - self.mean) / self.std)
        vector = patches.mean(1) if self.mean_token else first
        tokens = patches.transpose(1, 2).reshape(-1, encoder.dim, encoder.grid, encoder.grid)
        return vector, tokens


def _unmasked(encoder: Encoder) -> Encoder:
    """The encoder of a masked autoencoder as a plain ViT: the same tensors, and no masks in the graph."""
    if encoder.kind != "vit_mae":
        return encoder

    from transformers import ViTConfig, ViTModel

    config = encoder.backbone.config.to_dict()
    names = set(ViTConfig().to_dict()) - {"model_type", "architectures"}
    plain = ViTConfig(**{name: value for name, value in config.items() if name in names})
    # The constructor draws from the global generator, which is not ours to move.
    with torch.random.fork_rng(devices=[]):
        model = ViTModel(plain, add_pooling_layer=False)
    model.load_state_dict(encoder.backbone.state_dict(), strict=True)
    mean, std = encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()
    return Encoder(model, encoder.size, tuple(mean), tuple(std))


def write_onnx(encoder: Encoder, path: Path) -> float:
    """Write an ONNX file and compare what ONNX Runtime makes of it with the encoder.

    The graph takes ``images``, float32 (n, 3, s, s) in [0, 1], n free, and gives ``vector`` float32 (n, d)
    and ``tokens`` float32 (n, d, g, g); it normalises the images itself.

    Returns:
        The largest difference of an output, on noise.

    Raises:
        WeightsError: the outputs differ by more than :data:`TOLERANCE`.
        ModuleNotFoundError: a package of the extra ``onnx`` is missing.
    """
    import onnxruntime
    import onnxscript  # noqa: F401  # torch would say only later, and in other words, that it is missing

    encoder = encoder.cpu().eval()
    module = _Normalised(_unmasked(encoder), mean_token=encoder.kind == "vit_mae").eval()
    generator = torch.Generator().manual_seed(0)
    shape = (3, encoder.size, encoder.size)
    images = torch.rand(TRACED, *shape, generator=generator)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (images,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("n")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None, "the exporter of torch.export returns its program"
    program.save(path, external_data=False)

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    others = torch.rand(COMPARED, *shape, generator=generator)
    found = session.run(list(OUTPUTS), {INPUT: others.numpy()})
    with torch.no_grad():
        x = (others - encoder.mean) / encoder.std
        wanted = [encoder(x).numpy(), encoder.tokens(x).numpy()]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"the ONNX file gives outputs that differ by {difference:.1e} from the encoder's, more than "
            f"{TOLERANCE:g}; report it with the versions of torch and onnxruntime"
        )
    return difference


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence remarks of the exporter on its own ways, and on packages that no encoder here uses."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
