"""Influence of every frame on the held-out V-entropy, from the gradients of the warm-up."""

import numpy as np
import torch
from jaxtyping import Float64

from optidel.arrays import ImageRows, Images, Indices, Vectors
from optidel.corpus.pixels import images_at, where_images_are
from optidel.features.neighbours import nearest_rows
from optidel.features.rows import evenly_spaced, spans, unit
from optidel.models.mae import complementary_noise
from optidel.pipeline.checkpoints import checkpoints
from optidel.pipeline.gradients import BLOCK, LastBlock
from optidel.pipeline.weights import Weights
from optidel.progress import say
from optidel.runs.summaries import InfluenceSummary, write_summary
from optidel.store import PARTS, Artifact, Store, Workspace

# Frames whose gradient is taken at most, evenly spaced. One state of one frame takes as long as one image of
# a training step, so three states of these take three fifths of a pre-training of 800 steps of 64: less than
# a tenth of a run with a warm-up and six encoders. The others have the influence of the most similar one.
MOST = 10_000

# Held-out images whose gradient is taken at most, evenly spaced: their mean is known to a few per cent.
HELD_OUT = 1_000

SCORES = f"{PARTS}/scores.npy"


def influence_step(
    store: Store, pixels: Artifact, unseen: Artifact, mae: Weights, vectors: Artifact, seed: int
) -> Artifact:
    """Influence of each frame: ``influence.npy`` float64 (n,), positive where training on it lowers the
    held-out V-entropy.

    Under a variance that all encoders share, the held-out V-entropy of a masked autoencoder is its held-out
    error times a constant. So the score is the sum, over the states of the warm-up, of learning rate times
    the product of the two gradients of the error, through the linear layers of the last block.

    Args:
        store: the run.
        pixels: every frame at the model's size.
        unseen: held-out images at the model's size.
        mae: the warm-up, or a masked autoencoder from outside, which is one state.
        vectors: artifact with ``vectors.npy``, as methods compare them.
        seed: of the masks.

    Source: TracIn (arXiv 2002.08484) with the ghost products of In-Run Data Shapley (arXiv 2406.11011).
    """

    def make(work: Workspace) -> None:
        images = images_at(where_images_are(pixels))
        rows = evenly_spaced(len(images), MOST)
        total = _scores(work, images, rows, unseen.array("pixels.npy"), mae, seed)
        influence = _of_all(total, rows, vectors.array("vectors.npy"))
        work.write_array("influence.npy", influence)

        states = len(checkpoints(mae))
        if states == 1:
            say("influence: the scoring model has one state, so its influences are of that state alone")
        summary = InfluenceSummary(
            states=states,
            frames=len(images),
            scored=len(rows),
            held_out=min(len(unseen.array("pixels.npy")), HELD_OUT),
            positive=float((influence > 0).mean()),
        )
        write_summary(work, summary)

    config = {"seed": seed, "mae": mae.name, "most": MOST, "held_out": HELD_OUT}
    inputs = {"pixels": pixels, "unseen": unseen, "vectors": vectors, **mae.inputs}
    return store.build("influence", make, version=1, config=config, inputs=inputs)


def _scores(
    work: Workspace, images: ImageRows, rows: Indices, unseen: Images, mae: Weights, seed: int
) -> Float64[np.ndarray, "m"]:
    """Influence of some rows, summed over the states; blocks that were finished before a kill are kept."""
    states = checkpoints(mae)
    work.part("scores.npy")  # makes the folder
    scores = work.open_array(SCORES, (len(states), len(rows)), np.float64)
    held_out = np.asarray(unseen[evenly_spaced(len(unseen), HELD_OUT)])
    for number, state in enumerate(states):
        block = LastBlock(state.folder)
        grid = images.shape[1] // int(block.model.config.patch_size)
        noise = complementary_noise(grid**2, torch.Generator().manual_seed(seed))
        gradients = block.held_out_gradients(held_out, noise)
        # Each state has another of the four masks, which together hide every patch.
        mask = noise[number % len(noise)]
        for start, stop in work.blocks(len(rows), BLOCK, f"influence {number + 1} of {len(states)}"):
            part = np.asarray(images[rows[start:stop]])
            scores[number, start:stop] = state.rate * block.influence(part, mask, gradients)
    return np.asarray(scores.sum(axis=0))


def _of_all(scores: Float64[np.ndarray, "m"], rows: Indices, vectors: Vectors) -> Float64[np.ndarray, "n"]:
    """Influence of every frame: its own where it was taken, else that of the most similar one."""
    if len(rows) == len(vectors):
        return scores
    known = unit(np.asarray(vectors[rows]))
    influence = np.empty(len(vectors))
    for span in spans(*vectors.shape):
        nearest, _ = nearest_rows(unit(np.asarray(vectors[span])), known)
        influence[span] = scores[nearest]
    # Copies have one vector and each its own gradient.
    influence[rows] = scores
    return influence
