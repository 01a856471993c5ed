"""Difficulty of every frame that is neither contrast nor noise: what was learnt, and error over variance."""

import numpy as np
import torch
from jaxtyping import Float64

from optidel.arrays import ImageRows, Images, Scores
from optidel.corpus.pixels import images_at, where_images_are
from optidel.models.encoders import STD, load_mae
from optidel.pipeline.checkpoints import early_state
from optidel.pipeline.weights import Weights
from optidel.store import PARTS, Artifact, Store, Workspace
from optidel.vinformation import learnability, scale_free
from optidel.vinformation.models import masked_errors

# Frames scored between two marks; that of a pass in ``masked_errors``, so that a block is one pass.
BLOCK = 256

# From normalised plain pixels, in which errors are stored, to pixels in [0, 1]: the mean over the channels.
TO_UNIT = sum(deviation**2 for deviation in STD) / len(STD)


def hardness_step(
    store: Store, pixels: Artifact, scored: Artifact, mae: Weights, scorer: str, seed: int
) -> Artifact:
    """Difficulty of every frame, or key patch: ``difficulty.npy`` float64 (n,), higher is harder.

    Args:
        store: the run.
        pixels: every frame, or key patch, at the model's size.
        scored: their errors under the trained scoring model.
        mae: the scoring model, with its earlier states.
        scorer: ``learnability`` compares the errors with those of the first state of the warm-up, under the
            same masks; ``scale-free`` compares the error of each patch with the variance of its pixels.
        seed: of the masks, that of the embedding.

    Raises:
        InputError: there is no earlier state to compare with.
    """

    def make(work: Workspace) -> None:
        images = images_at(where_images_are(pixels))
        if scorer == "learnability":
            early = _early_errors(work, images, mae, seed)
            late = np.asarray(scored.array("error.npy"), np.float64)
            work.write_array("difficulty.npy", learnability(early, late))
            return

        error = np.asarray(scored.array("error_map.npy"), np.float64)
        variance = _variances(images, error.shape[1])
        work.write_array("difficulty.npy", scale_free(TO_UNIT * error, TO_UNIT * variance))

    config = {"scorer": scorer, "seed": seed, "mae": mae.name}
    inputs = {"pixels": pixels, "scored": scored, **mae.inputs}
    return store.build("hardness", make, version=1, config=config, inputs=inputs)


def _early_errors(work: Workspace, images: ImageRows, mae: Weights, seed: int) -> Scores:
    """Error of every image under the first state of the warm-up; blocks done before a kill are kept."""
    model = load_mae(early_state(mae)).eval()
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    work.part("early.npy")  # makes the folder
    errors = work.open_array(f"{PARTS}/early.npy", (len(images),), np.float64)
    for start, stop in work.blocks(len(images), BLOCK, "learnability"):
        errors[start:stop] = masked_errors(model, np.asarray(images[start:stop]), seed)
    return np.array(errors)


def _variances(images: ImageRows, grid: int) -> Float64[np.ndarray, "n g g"]:
    """Variance of the pixels of each patch of all images, block by block: see :func:`patch_variance`."""
    variances = np.empty((len(images), grid, grid))
    for start in range(0, len(images), BLOCK):
        block = np.asarray(images[start : start + BLOCK])
        variances[start : start + BLOCK] = patch_variance(block, grid)
    return variances


def patch_variance(images: Images, grid: int) -> Float64[np.ndarray, "n g g"]:
    """Variance of the pixels of each of ``grid`` × ``grid`` patches around the mean of their channel.

    Args:
        images: u8 (n, s, s, 3), s a multiple of ``grid``.
        grid: patches along a side.

    Returns:
        float64 (n, g, g), mean over the channels, in normalised plain pixels.

    >>> flat = np.full((1, 4, 4, 3), 90, np.uint8)
    >>> patch_variance(flat, 2).tolist()
    [[[0.0, 0.0], [0.0, 0.0]]]
    """
    count, side = len(images), images.shape[1]
    patch = side // grid
    tiles = images.reshape(count, grid, patch, grid, patch, 3).astype(np.float64) / 255
    by_channel = tiles.var(axis=(2, 4)) / np.square(np.asarray(STD))
    return np.asarray(by_channel.mean(axis=-1))
