"""Embedding and difficulty: what an encoder makes of each image, and what a masked autoencoder fails to
predict of it.

Reconstruction error is the conditional V-entropy of the masked patches given the visible ones, up to scale
(Xu et al., ICLR 2020; OptiDEL, arXiv 2408.07107); the null model predicts the corpus' mean image.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from optidel.arrays import Images, Vectors
from optidel.errors import WeightsError
from optidel.models.encoders import STD, load_encoder, load_mae, normalise
from optidel.models.mae import complementary_noise, score
from optidel.progress import say
from optidel.store import Workspace

# Images of one pass, never fewer, and the most that are scored again after a kill.
BLOCK = 128

# Rows copied between two marks: a round number, some MB.
COPIED = 4096

# Variance of unit vectors below which an embedding tells nothing apart: some ten times the rounding of
# float32.
COLLAPSED = 1e-6

# Images of the mean image at the most: a mean of 10,000 has an error of 1 % of the pixels' deviation.
MEAN_SAMPLE = 10_000
# Images read at once for the mean image and the errors of the null model: 38 MB at 224 px. A round number.
READ = 256


def mean_image(images: Images, rng: np.random.Generator) -> Float32[np.ndarray, "s s 3"]:
    """Position-wise mean of (a sample of) the images in [0, 1], read block by block."""
    order = rng.permutation(len(images))
    # Sorted, so that a memory-mapped file is read front to back.
    rows = np.sort(order[:MEAN_SAMPLE])
    total = np.zeros(images.shape[1:], np.float64)
    for start in range(0, len(rows), READ):
        block = images[rows[start : start + READ]]
        total += block.sum(axis=0, dtype=np.float64)
    brightest = 255 * len(rows)
    return np.asarray(total / brightest, dtype=np.float32)


def null_errors(images: Images, mean: Float32[np.ndarray, "s s 3"]) -> Float32[np.ndarray, "n"]:
    """Mean squared error (n,) of the null model, in the same normalised plain pixels as the reconstruction
    error.
    """
    levels = images.astype(np.float32) / 255
    deviation = np.asarray(STD, np.float32)
    difference = (levels - mean) / deviation
    errors = np.square(difference).mean(axis=(1, 2, 3))
    return np.asarray(errors, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Scores that the same models gave before: ``rows`` int64 (n,), for each image of now its row in the
    arrays, -1 where it is new.

    ``vectors`` f32 (m, d), ``error`` f32 (m,) and ``error_map`` f32 (m, g, g) are as :func:`write_scores`
    wrote them; ``name`` tells one earlier state from another.
    """

    name: str
    rows: Int64[np.ndarray, "n"]
    vectors: Float32[np.ndarray, "m d"]
    error: Float32[np.ndarray, "m"]
    error_map: Float32[np.ndarray, "m g g"]


def write_scores(
    work: Workspace,
    images: Images,
    mae_folder: str | Path,
    weights: str | None,
    mean: Float32[np.ndarray, "s s 3"],
    seed: int,
    where: torch.device,
    earlier: Earlier | None = None,
) -> None:
    """Write vectors, error, null_error and error_map of ``images`` into ``work``, resumable block by block.

    Blocks all have one shape, the last one padded, so that an image gets the same bytes whatever is scored
    beside it: numerical libraries may round differently for another shape. What is known is therefore copied,
    with the same result as scoring it again.

    Args:
        images: u8 (n, s, s, 3) at the autoencoder's size.
        mae_folder: masked autoencoder that scores.
        weights: another encoder for the vectors, or None to take the autoencoder's own from the same pass.
        mean: the null model's prediction, in [0, 1]; its errors are computed for all images, for it is
            another one when images come.
        seed: of the masks, the same for every image.
        earlier: what these models gave for some of the images.
    """
    count, side = images.shape[:2]
    mae = load_mae(mae_folder).eval().to(where)
    dim = int(mae.config.hidden_size)
    encoder = None
    if weights:
        encoder = load_encoder(weights, side).eval().to(where)
        dim = encoder.dim
    grid = side // int(mae.config.patch_size)
    generator = torch.Generator().manual_seed(seed)
    noise = complementary_noise(grid**2, generator)

    vectors = work.open_array("vectors.npy", (count, dim), np.float32)
    error = work.open_array("error.npy", (count,), np.float32)
    null = work.open_array("null_error.npy", (count,), np.float32)
    maps = work.open_array("error_map.npy", (count, grid, grid), np.float32)
    for start, stop in work.blocks(count, READ, "null model"):
        block = np.asarray(images[start:stop])
        null[start:stop] = null_errors(block, mean)

    fresh = np.arange(count)
    label = "embed"
    if earlier is not None:
        scored = np.flatnonzero(earlier.rows >= 0)
        fresh = np.flatnonzero(earlier.rows < 0)
        # The marks of a killed attempt that knew another earlier state are not these.
        label = f"embed-{earlier.name}"
        for start, stop in work.blocks(len(scored), COPIED, f"copy-{earlier.name}"):
            now = scored[start:stop]
            then = earlier.rows[now]
            vectors[now] = earlier.vectors[then]
            error[now] = earlier.error[then]
            maps[now] = earlier.error_map[then]

    for start, stop in work.blocks(len(fresh), BLOCK, label):
        rows = fresh[start:stop]
        size = len(rows)
        # Padded with copies of the last image, so that every block has one shape.
        padding = np.repeat(rows[-1], BLOCK - size)
        block = np.asarray(images[np.append(rows, padding)])
        scores = score(mae, normalise(block, where), noise)
        embedded = scores.vectors
        if encoder:
            with torch.no_grad():
                embedded = encoder(encoder.normalise(block))
        vectors[rows] = embedded.float().cpu().numpy()[:size]
        maps[rows] = scores.error_map.cpu().numpy()[:size]
        error[rows] = maps[rows].mean(axis=(1, 2))


def check_vectors(vectors: Vectors, encoder: str) -> None:
    """Refuse an embedding that is not finite, and say when it has collapsed: all vectors point one way.

    Args:
        vectors: float (n, d), memory-mapped if large; read in blocks.
        encoder: what made them, for the message.

    Raises:
        WeightsError: a vector holds a NaN or an infinity.
    """
    total = np.zeros(vectors.shape[1])
    counted = 0
    for start in range(0, len(vectors), COPIED):
        block = np.asarray(vectors[start : start + COPIED], np.float64)
        finite = np.isfinite(block)
        if not finite.all():
            raise WeightsError(
                f"{encoder} gives vectors that are not finite; train it again at a lower learning rate, "
                "or pass other weights"
            )
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        # A zero vector has no direction.
        directed = lengths[:, 0] > 0
        directions = block[directed] / lengths[directed]
        total += directions.sum(axis=0)
        counted += int(directed.sum())

    variance = 0.0
    if counted:
        # Unit vectors with mean m have the variance 1 - |m|².
        mean = total / counted
        variance = 1 - np.square(mean).sum()
    if len(vectors) > 1 and variance < COLLAPSED:
        say(
            f"embed: the vectors of all {len(vectors)} images point one way (variance {variance:.1e}): "
            f"the images are all alike, or {encoder} has collapsed; no method can tell images apart with it"
        )
