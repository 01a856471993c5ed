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

BLOCK = 128
"""Images of one pass, never fewer, and the most that are scored again after a kill."""

COPIED = 4096
"""Rows copied between two marks."""

# Variance of unit vectors below which an embedding tells nothing apart: some ten times the rounding of
# float32.
COLLAPSED = 1e-6

MEAN_SAMPLE = 10_000
READ = 256
"""Images read at once for the mean image and the errors of the null model."""


def mean_image(images: Images, rng: np.random.Generator) -> Float32[np.ndarray, "s s 3"]:
    """Position-wise mean of (a sample of) the images in [0, 1], read block by block."""
    rows = np.sort(rng.permutation(len(images))[:MEAN_SAMPLE])
    total = np.zeros(images.shape[1:], np.float64)
    for start in range(0, len(rows), READ):
        total += images[rows[start : start + READ]].sum(axis=0, dtype=np.float64)
    return np.asarray(total / (255 * len(rows)), dtype=np.float32)


def null_errors(images: Images, mean: Float32[np.ndarray, "s s 3"]) -> Float32[np.ndarray, "n"]:
    """Mean squared error (n,) of the null model, in the same normalised plain pixels as the reconstruction
    error.
    """
    difference = (images.astype(np.float32) / 255 - mean) / np.asarray(STD, np.float32)
    return np.asarray(np.square(difference).mean(axis=(1, 2, 3)), dtype=np.float32)


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
    mae = load_mae(mae_folder).eval().to(where)
    encoder = load_encoder(weights, images.shape[1]).eval().to(where) if weights else None
    grid = images.shape[1] // int(mae.config.patch_size)
    noise = complementary_noise(grid**2, torch.Generator().manual_seed(seed))
    count, dim = len(images), encoder.dim if encoder else int(mae.config.hidden_size)
    vectors = work.open_array("vectors.npy", (count, dim), np.float32)
    error = work.open_array("error.npy", (count,), np.float32)
    null = work.open_array("null_error.npy", (count,), np.float32)
    maps = work.open_array("error_map.npy", (count, grid, grid), np.float32)
    for start, stop in work.blocks(count, READ, "null model"):
        null[start:stop] = null_errors(np.asarray(images[start:stop]), mean)
    fresh, label = np.arange(count), "embed"
    if earlier is not None:
        known, fresh = np.flatnonzero(earlier.rows >= 0), np.flatnonzero(earlier.rows < 0)
        # The marks of a killed attempt that knew another earlier state are not these.
        label = f"embed-{earlier.name}"
        for start, stop in work.blocks(len(known), COPIED, f"copy-{earlier.name}"):
            now, then = known[start:stop], earlier.rows[known[start:stop]]
            vectors[now], error[now], maps[now] = (
                earlier.vectors[then],
                earlier.error[then],
                earlier.error_map[then],
            )
    for start, stop in work.blocks(len(fresh), BLOCK, label):
        rows = fresh[start:stop]
        block = np.asarray(images[np.append(rows, np.repeat(rows[-1], BLOCK - len(rows)))])
        scores = score(mae, normalise(block, where), noise)
        with torch.no_grad():
            found = encoder(encoder.normalise(block)) if encoder else scores.vectors
        vectors[rows] = found.float().cpu().numpy()[: len(rows)]
        maps[rows] = scores.error_map.cpu().numpy()[: len(rows)]
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
        if not np.isfinite(block).all():
            raise WeightsError(
                f"{encoder} gives vectors that are not finite; train it again at a lower learning rate, "
                "or pass other weights"
            )
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        directed = lengths[:, 0] > 0
        total += (block[directed] / lengths[directed]).sum(axis=0)
        counted += int(directed.sum())

    # Unit vectors with mean m have the variance 1 - |m|².
    variance = 1 - np.square(total / max(1, counted)).sum() if counted else 0.0
    if len(vectors) > 1 and variance < COLLAPSED:
        say(
            f"embed: the vectors of all {len(vectors)} images point one way (variance {variance:.1e}): "
            f"the images are all alike, or {encoder} has collapsed; no method can tell images apart with it"
        )
