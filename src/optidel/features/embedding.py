"""Embedding and difficulty: what an encoder makes of each image, and what a masked autoencoder fails to predict of it.

Reconstruction error is the conditional V-entropy of the masked patches given the visible ones, up to scale (Xu et al., ICLR 2020;
OptiDEL, arXiv 2408.07107); the null model predicts the corpus' mean image.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from optidel.arrays import Images
from optidel.models.encoders import STD, load_encoder, load_mae, normalise
from optidel.models.mae import complementary_noise, score
from optidel.store import Workspace

BLOCK = 256
"""Images of one pass, and the most that are scored again after a kill."""

MEAN_SAMPLE = 10_000


def mean_image(images: Images, rng: np.random.Generator) -> Float32[np.ndarray, "s s 3"]:
    """Position-wise mean of (a sample of) the images in [0, 1], read block by block."""
    rows = np.sort(rng.permutation(len(images))[:MEAN_SAMPLE])
    total = np.zeros(images.shape[1:], np.float64)
    for start in range(0, len(rows), BLOCK):
        total += images[rows[start : start + BLOCK]].sum(axis=0, dtype=np.float64)
    return np.asarray(total / (255 * len(rows)), dtype=np.float32)


def null_errors(images: Images, mean: Float32[np.ndarray, "s s 3"]) -> Float32[np.ndarray, "n"]:
    """Mean squared error (n,) of the null model, in the same normalised plain pixels as the reconstruction error."""
    difference = (images.astype(np.float32) / 255 - mean) / np.asarray(STD, np.float32)
    return np.asarray(np.square(difference).mean(axis=(1, 2, 3)), dtype=np.float32)


def write_scores(
    work: Workspace,
    images: Images,
    mae_folder: str | Path,
    weights: str | None,
    mean: Float32[np.ndarray, "s s 3"],
    seed: int,
    where: torch.device,
) -> None:
    """Write vectors, error, null_error and error_map of ``images`` into ``work``, resumable block by block.

    Args:
        images: u8 (n, s, s, 3) at the autoencoder's size.
        mae_folder: masked autoencoder that scores.
        weights: another encoder for the vectors, or None to take the autoencoder's own from the same pass.
        mean: the null model's prediction, in [0, 1].
        seed: of the masks, the same for every image.
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
    for start, stop in work.blocks(count, BLOCK, "embed"):
        block = np.asarray(images[start:stop])
        scores = score(mae, normalise(block, where), noise)
        with torch.no_grad():
            found = encoder(encoder.normalise(block)) if encoder else scores.vectors
        vectors[start:stop] = found.float().cpu().numpy()
        maps[start:stop] = scores.error_map.cpu().numpy()
        error[start:stop] = maps[start:stop].mean(axis=(1, 2))
        null[start:stop] = null_errors(block, mean)
