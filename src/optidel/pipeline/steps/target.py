"""Unlabelled images of the target: read, kept out of the corpus, and embedded as the corpus is."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from optidel.corpus.frames import Corpus
from optidel.corpus.index import index, listing
from optidel.corpus.options import IndexOptions
from optidel.errors import InputError
from optidel.features.rows import evenly_spaced
from optidel.pipeline.steps.leaving import write_without
from optidel.pipeline.steps.whiten import whitening_of
from optidel.pipeline.weights import Weights
from optidel.progress import say
from optidel.readers.decode import fit
from optidel.records import Frame, to_table
from optidel.store import PARTS, Artifact, Store, Workspace, canonical, digest

# Images of a target that are read at most, evenly spaced. A few tens are what the methods are for; their time
# and memory grow with frames × images, 72 MB for 36,000 frames and this many.
MOST = 500


def check_target_folder(folder: Path) -> None:
    """Refuse a target that is no folder.

    Raises:
        InputError: says what to pass.
    """
    if not folder.is_dir():
        raise InputError(
            f"selection.target: there is no folder {folder}; pass a folder with some tens of unlabelled "
            "images of the target, or leave the key out where no method aims at one"
        )


def target_step(store: Store, folder: Path, options: IndexOptions, size: int) -> Artifact:
    """The sound images of a folder at the model's size, read as the corpus is.

    Writes ``frames.parquet`` and ``pixels.npy`` u8 (t, size, size, 3), at most :data:`MOST` of them, evenly
    spaced.

    Args:
        store: the run.
        folder: of unlabelled images.
        options: how files of the corpus are read; what belongs together makes no difference here.
        size: side in px.

    Raises:
        InputError: there is no such folder, or no sound image in it.
    """
    check_target_folder(folder)
    reading = replace(options, pattern=None, group=None, manifest=None)

    def make(work: Workspace) -> None:
        corpus = _sound(index(folder, **asdict(reading)), folder)
        pixels = work.open_array("pixels.npy", (len(corpus), size, size, 3), np.uint8)
        for row, image in corpus.images(range(len(corpus))):
            pixels[row] = fit(image, size)
        table = to_table(Frame, corpus.frames)
        work.write_table("frames.parquet", table)
        # A folder that was moved or touched holds the same target.
        work.content = digest(canonical(table["sha256"].to_list()), canonical(size))

    config = {"scan": reading.config(), "listing": listing(folder), "size": size}
    return store.build("target", make, version=1, config=config)


def _sound(corpus: Corpus, folder: Path) -> Corpus:
    """The images that are not worthless, at most :data:`MOST`, evenly spaced.

    Raises:
        InputError: there is none.
    """
    frames = [frame for frame in corpus.frames if not frame.flaw]
    if not frames:
        raise InputError(
            f"selection.target: none of the {len(corpus)} images of {folder} shows anything (all are blank "
            "or dark); pass images of the target"
        )
    if len(frames) > MOST:
        say(f"target: {MOST} of {len(frames)} images are read, evenly spaced")
        frames = [frames[position] for position in evenly_spaced(len(frames), MOST).tolist()]
    return replace(corpus, frames=frames)


def apart_step(store: Store, indexed: Artifact, target: Artifact) -> Artifact:
    """The index without the frames whose pixels are those of a target image: no method may train on them.

    Where there is none the content is that of the index, and every later step stays what it was.

    Args:
        store: the run.
        indexed: the corpus.
        target: as :func:`target_step` wrote it.

    Raises:
        InputError: every frame of the corpus is a target image.
    """

    def make(work: Workspace) -> None:
        targets = target.table("frames.parquet")
        name_of = dict(zip(targets["sha256"].to_list(), targets["id"].to_list(), strict=True))
        frames = indexed.table("frames.parquet").select("id", "sha256")
        leaving = {
            frame: f"is the target image {name_of[pixels]}"
            for frame, pixels in frames.iter_rows()
            if pixels in name_of
        }
        if leaving:
            say(f"target: {len(leaving)} frames of the corpus are target images and leave it")
        nothing_left = (
            f"all {len(frames)} frames of the corpus are target images; pass other images, or another "
            "selection.target"
        )
        write_without(work, indexed, leaving, nothing_left)

    inputs = {"index": indexed, "target": target}
    return store.build("apart", make, version=1, config={}, inputs=inputs)


def target_vectors_step(
    store: Store,
    target: Artifact,
    embed: Artifact,
    mae: Weights,
    weights: str | None,
    seed: int,
    indexed: Artifact | None,
) -> Artifact:
    """Vectors of the target images, by the same models, masks and whitening as those of the corpus.

    Writes ``vectors.npy`` float32 (t, d).

    Args:
        store: the run.
        target: as :func:`target_step` wrote it.
        embed: the embedding of the corpus.
        mae: the masked autoencoder that made it.
        weights: encoder of its vectors; None where they are the autoencoder's own.
        seed: of its masks.
        indexed: the corpus, whose sound frames the whitening is fitted to; None compares vectors as they are.
    """

    from optidel.features.embedding import write_scores  # brings torch, which most commands do not need

    def make(work: Workspace) -> None:
        # The scores lie among the parts, for nothing but the vectors is needed later.
        if not work.has(RAW):
            scoring = Workspace(work.part("scores"))
            scoring.path.mkdir(exist_ok=True)
            mean = np.asarray(embed.array("mean_image.npy"))
            write_scores(scoring, target.file("pixels.npy"), mae.folder, weights, mean, seed)
            work.write_array(RAW, np.load(scoring.path / "vectors.npy"))
        vectors = np.load(work.path / RAW)
        if indexed is not None:
            vectors = whitening_of(indexed, embed).transform(vectors)
        work.write_array("vectors.npy", vectors)

    config = {"seed": seed, "weights": weights, "mae": mae.name}
    inputs = {"target": target, "embed": embed, **mae.inputs}
    if indexed is not None:
        inputs["index"] = indexed
    return store.build("target-vectors", make, version=1, config=config, inputs=inputs)


# Vectors as the encoder made them, before they are whitened; needed for resuming alone.
RAW = f"{PARTS}/raw.npy"
