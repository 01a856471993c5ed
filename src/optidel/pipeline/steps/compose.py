"""New images: chosen key patches dealt into square grids."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from optidel.arrays import Image, Images
from optidel.corpus.frames import Corpus
from optidel.features.clusters import cluster
from optidel.features.composites import paste
from optidel.methods.composition import compose_plan, originals
from optidel.pipeline.items import accepted_patches
from optidel.pipeline.selections import kept_rows
from optidel.readers.decode import fit
from optidel.records import Composite, Frame, to_table
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import Artifact, Store, Workspace

# Composites made in one pass over the files, and at most made again after a kill; a round number.
BLOCK = 64


def compose_step(
    store: Store, indexed: Artifact, patched: Artifact, selected: Artifact, grid: int, size: int, seed: int
) -> Artifact:
    """Deal the chosen key patches into new images, followed by those that stay whole frames.

    Each image can be rebuilt from its row in ``composites.parquet``.

    Args:
        store: the run.
        indexed: the corpus.
        patched: its key patches.
        selected: the choice among them.
        grid: key patches in one image.
        size: side in px of the images in ``pixels.npy``.
        seed: of the clusters and of the positions in the grid.
    """
    whole = read_summary(selected, SelectSummary).originals or 0

    def make(work: Workspace) -> None:
        corpus = Corpus.load(indexed)
        plan = _plan(corpus.frames, patched, selected, whole, grid, np.random.default_rng(seed))
        work.write_table("composites.parquet", to_table(Composite, plan))

        pixels = work.open_array("pixels.npy", (len(plan), size, size, 3), np.uint8)
        for start, stop in work.blocks(len(plan), BLOCK, "compose"):
            block = plan[start:stop]
            images = _draw(corpus, block)
            for composite, image in zip(block, images, strict=True):
                _write_image(work, composite, image)
            pixels[start:stop] = [fit(image, size) for image in images]

    config: dict[str, Any] = {"grid": grid, "size": size, "seed": seed}
    # Left out at its default, so that images made before there was a choice stay valid.
    if whole:
        config["originals"] = whole
    inputs = {"index": indexed, "patches": patched, "select": selected}
    return store.build("compose", make, version=1, config=config, inputs=inputs)


def _plan(
    frames: Sequence[Frame],
    patched: Artifact,
    selected: Artifact,
    whole: int,
    grid: int,
    rng: np.random.Generator,
) -> list[Composite]:
    """Which key patches share an image; the last ``whole`` images are frames as they are."""
    patches = accepted_patches(patched)
    rows = kept_rows(selected)
    selection = [patches[row] for row in rows]
    labels = cluster(np.asarray(patched.array("vectors.npy")[rows]), rng=rng).labels
    side = composite_side(frames, grid)

    # Frames that stay whole are those of the best patches; the other patches are dealt.
    kept_whole = originals(selection, whole)
    parts = np.setdiff1d(np.arange(len(rows)), kept_whole)
    dealt = [selection[part] for part in parts]
    plan = compose_plan(dealt, grid=grid, side=side, rng=rng, labels=labels[parts])

    by_id = {frame.id: frame for frame in frames}
    for number, position in enumerate(kept_whole, start=1):
        frame = by_id[selection[position].frame]
        box = (0, 0, frame.width, frame.height)
        plan.append(Composite(id=f"original-{number:05d}", sources=(frame.id,), boxes=(box,), side=side))
    return plan


def _draw(corpus: Corpus, composites: Sequence[Composite]) -> Images:
    """The images of some composites, u8 (n, side, side, 3), in one pass over the files of their frames."""
    side = composites[0].side
    canvases = np.empty((len(composites), side, side, 3), np.uint8)
    # One pass over each file, whichever images its frames are for.
    sources = {source for composite in composites for source in composite.sources}
    rows = [row for row, frame in enumerate(corpus.frames) if frame.id in sources]

    for row, image in corpus.images(rows):
        for canvas, composite in zip(canvases, composites, strict=True):
            paste(canvas, composite, corpus.frames[row].id, image)
    return canvases


def _write_image(work: Workspace, composite: Composite, image: Image) -> None:
    picture = PillowImage.fromarray(image)
    with work.writing(f"images/{composite.id}.png") as path:
        picture.save(path, format="PNG")  # the file has another name until it is whole


def composite_side(frames: Sequence[Frame], grid: int) -> int:
    """Side in px of a square with as many pixels as the median frame; a multiple of the patches along it."""
    across = math.isqrt(grid)
    areas = [frame.height * frame.width for frame in frames]
    area = float(np.median(areas))
    patches = round(math.sqrt(area) / across)
    return max(1, patches) * across
