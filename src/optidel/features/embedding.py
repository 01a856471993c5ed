"""Embedding and difficulty: what an encoder makes of each image, and what a masked autoencoder fails to
predict of it.

Reconstruction error is the conditional V-entropy of the masked patches given the visible ones, up to scale
(Xu et al., ICLR 2020; OptiDEL, arXiv 2408.07107); the null model predicts the corpus' mean image.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Int64

from optidel.arrays import ImageRows, Images, Vectors
from optidel.corpus.pixels import images_at
from optidel.errors import WeightsError
from optidel.mapping import Make, Plan, Tick, join_arrays, run
from optidel.models.encoders import STD, load_encoder, load_mae, normalise
from optidel.models.mae import complementary_noise, score
from optidel.progress import say
from optidel.store import PARTS, Workspace

# Images of one pass, never fewer.
BLOCK = 128

# What is written of every image, and what of it an earlier state may hold already.
SCORES = ("vectors", "error", "null_error", "error_map")
COPIED = ("vectors", "error", "error_map")

# Rows checked at once: a round number, some MB.
CHECKED = 4096

# Variance of unit vectors below which an embedding tells nothing apart: some ten times the rounding of
# float32.
COLLAPSED = 1e-6

# Images of the mean image at the most: a mean of 10,000 has an error of 1 % of the pixels' deviation.
MEAN_SAMPLE = 10_000
# Images read at once for the mean image and the errors of the null model: 38 MB at 224 px. A round number.
READ = 256


def mean_image(images: ImageRows, rng: np.random.Generator) -> Float32[np.ndarray, "s s 3"]:
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

    ``folder`` holds ``vectors.npy``, ``error.npy`` and ``error_map.npy`` as :func:`write_scores` wrote them;
    ``name`` tells one earlier state from another.
    """

    name: str
    folder: Path
    rows: Int64[np.ndarray, "n"]


def write_scores(
    work: Workspace,
    pixels: Path,
    mae_folder: str | Path,
    weights: str | None,
    mean: Float32[np.ndarray, "s s 3"],
    seed: int,
    earlier: Earlier | None = None,
    plan: Plan | None = None,
) -> None:
    """Write vectors, error, null_error and error_map of images into ``work``, resumable shard by shard.

    Blocks all have one shape, the last one padded, so that an image gets the same bytes whatever is scored
    beside it: numerical libraries may round differently for another shape. What is known is therefore copied,
    with the same result as scoring it again, and it does not matter who does which shard.

    Args:
        work: where to write.
        pixels: u8 (n, s, s, 3) at the autoencoder's size, as
            :func:`~optidel.corpus.pixels.images_at` opens them.
        mae_folder: masked autoencoder that scores.
        weights: another encoder for the vectors, or None to take the autoencoder's own from the same pass.
        mean: the null model's prediction, in [0, 1]; its errors are computed for all images, for it is
            another one when images come.
        seed: of the masks, the same for every image.
        earlier: what these models gave for some of the images.
        plan: who does the shards; None for this process.
    """
    work.write_array(f"{PARTS}/mean.npy", mean)
    if earlier:
        work.write_array(f"{PARTS}/earlier-{earlier.name}.npy", earlier.rows)
    worker = ScoreWorker(
        pixels=str(pixels.absolute()),
        mae=_anywhere(mae_folder),
        weights=weights and _anywhere(weights),
        mean=str(work.part("mean.npy").absolute()),
        seed=seed,
        earlier=str(earlier.folder.absolute()) if earlier else None,
        earlier_rows=str(work.part(f"earlier-{earlier.name}.npy").absolute()) if earlier else None,
    )
    count = len(images_at(pixels))
    identity = f"-{earlier.name}" if earlier else ""
    job = run(work, worker, count, "embed", plan or Plan(), identity)
    join_arrays(work, job, SCORES)


def _anywhere(weights: str | Path) -> str:
    """A folder by a path that holds in any process; a hub id as it is."""
    return str(Path(weights).absolute()) if Path(weights).is_dir() else str(weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWorker:
    """Scores rows of a file of pixels; the arguments are those of :func:`write_scores`, as files."""

    pixels: str
    mae: str
    weights: str | None
    mean: str
    seed: int
    earlier: str | None
    earlier_rows: str | None

    def open(self) -> Make:
        """Load the models, once in each process."""
        return Scorer(self, images_at(Path(self.pixels)))

    def stand_in(self, row: int) -> None:
        """No frame can be left out of an embedding."""


class Scorer:
    """The models, and the images that they score."""

    def __init__(self, worker: ScoreWorker, images: ImageRows) -> None:
        """Load the models.

        Args:
            worker: which models, and with what.
            images: u8 (n, s, s, 3), all rows that may be asked for.
        """
        self.images = images
        side = self.images.shape[1]
        self.where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.mae = load_mae(worker.mae).eval().to(self.where)
        self.dim = int(self.mae.config.hidden_size)
        self.encoder = None
        if worker.weights:
            self.encoder = load_encoder(worker.weights, side).eval().to(self.where)
            self.dim = self.encoder.dim
        self.grid = side // int(self.mae.config.patch_size)
        generator = torch.Generator().manual_seed(worker.seed)
        self.noise = complementary_noise(self.grid**2, generator)
        self.mean = np.load(worker.mean)
        self.known = np.full(len(self.images), -1)
        self.earlier = {}
        if worker.earlier and worker.earlier_rows:
            self.known = np.load(worker.earlier_rows, mmap_mode="r")
            for name in COPIED:
                self.earlier[name] = np.load(Path(worker.earlier) / f"{name}.npy", mmap_mode="r")

    def __call__(self, rows: range, tick: Tick) -> pl.DataFrame:
        """Score some rows: a table with one row for each, and a column for each of :data:`SCORES`."""
        count = len(rows)
        scores = {
            "vectors": np.empty((count, self.dim), np.float32),
            "error": np.empty(count, np.float32),
            "null_error": np.empty(count, np.float32),
            "error_map": np.empty((count, self.grid, self.grid), np.float32),
        }
        known = np.asarray(self.known[rows.start : rows.stop])
        copied = np.flatnonzero(known >= 0)
        for name, values in self.earlier.items():
            scores[name][copied] = values[known[copied]]
        tick(len(copied))

        # Every image is read once, for it may have to be decoded; new ones wait for a block to be full.
        waiting = np.empty((0, *self.images.shape[1:]), np.uint8)
        places = np.empty(0, np.int64)
        for start in range(0, count, READ):
            stop = min(start + READ, count)
            block = np.asarray(self.images[rows.start + start : rows.start + stop])
            scores["null_error"][start:stop] = null_errors(block, self.mean)
            fresh = np.flatnonzero(known[start:stop] < 0)
            waiting = np.concatenate([waiting, block[fresh]])
            places = np.concatenate([places, start + fresh])
            while len(places) >= BLOCK or (len(places) and stop == count):
                self._score(scores, places[:BLOCK], waiting[:BLOCK])
                tick(len(places[:BLOCK]))
                waiting, places = waiting[BLOCK:], places[BLOCK:]
        return pl.DataFrame([pl.Series(name, values) for name, values in scores.items()])

    def _score(self, scores: dict[str, Vectors], inside: Int64[np.ndarray, "m"], images: Images) -> None:
        """Score one block of images, at most :data:`BLOCK`, and write it at ``inside``."""
        size = len(images)
        # Padded with copies of the last image, so that every block has one shape.
        padding = np.repeat(images[-1:], BLOCK - size, axis=0)
        block = np.concatenate([images, padding])
        scored = score(self.mae, normalise(block, self.where), self.noise)
        embedded = scored.vectors
        if self.encoder:
            with torch.no_grad():
                embedded = self.encoder(self.encoder.normalise(block))
        maps = scored.error_map.cpu().numpy()[:size]
        scores["vectors"][inside] = embedded.float().cpu().numpy()[:size]
        scores["error_map"][inside] = maps
        scores["error"][inside] = maps.mean(axis=(1, 2))


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
    for start in range(0, len(vectors), CHECKED):
        block = np.asarray(vectors[start : start + CHECKED], np.float64)
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
