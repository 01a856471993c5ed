"""The key-patch step: masks on the frames that survive de-duplication, squares around them, their embedding
and difficulty.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from optidel.arrays import BoolImage, Image, Images
from optidel.corpus.frames import Corpus
from optidel.errors import BudgetError
from optidel.features.embedding import mean_image, write_scores
from optidel.features.overlay import Zones, forbidden, group_overlay
from optidel.features.patches import PatchOptions, crop, key_patches, refusals
from optidel.features.prompts import error_points, grid_points
from optidel.methods import count_for, select
from optidel.models.masks import MaskGenerator, load_mask_generator, mask_nms
from optidel.pipeline.steps import mae_folder
from optidel.readers.decode import fit
from optidel.readers.nifti import AXES
from optidel.readers.reading import place
from optidel.recipe import PatchesSection
from optidel.records import Frame, KeyPatch, from_table, to_table
from optidel.store import PARTS, Artifact, Store, Workspace
from optidel.training.precision import device

SHARD = 16
"""Frames between two writes; at most this many go through the mask generator again after a kill."""

OVERLAY_SAMPLE = 48
"""Frames of one kind from which constant overlay is learnt."""

OVERLAY_SIZE = 384
"""Side in px to which those frames are stretched."""


def patches_step(
    store: Store,
    indexed: Artifact,
    embedded: Artifact,
    mae: Artifact | str,
    size: int,
    options: PatchesSection,
    seed: int,
) -> Artifact:
    """Key patches of the corpus: accepted and refused ones with their reason; pixels, embedding and
    difficulty of the accepted ones.
    """
    generator = load_mask_generator(options.backend, options.weights)

    def make(work: Workspace) -> None:
        corpus = Corpus.load(indexed)
        rows = candidate_rows(corpus.frames, embedded, options.candidates, seed)
        _propose(work, corpus, rows, embedded, generator, options, seed)
        patches = from_table(KeyPatch, work.table("patches.parquet"))
        accepted = [patch for patch in patches if not patch.refused]
        if not accepted:
            raise BudgetError(
                f"no key patch was accepted on {len(rows)} frames (refused: {refusals(patches)}); raise patches.candidates"
            )
        _score(work, corpus, accepted, mae, size, seed)
        counts = {
            "frames": len(rows),
            "masks": len(patches),
            "kept": len(accepted),
            "refused": refusals(patches),
        }
        origin = {"backend": generator.name, "weights": generator.weights, "prompting": options.prompting}
        work.write_json("summary.json", origin | counts)

    config = {
        "options": options.model_dump(mode="json", exclude={"weights", "backend"}),
        "backend": generator.name,
        "weights": generator.weights,
        "size": size,
        "seed": seed,
        "mae": None if isinstance(mae, Artifact) else mae,
    }
    inputs = {"index": indexed, "embed": embedded} | ({"mae": mae} if isinstance(mae, Artifact) else {})
    return store.build("patches", make, version=3, config=config, inputs=inputs)


def candidate_rows(
    frames: Sequence[Frame], embedded: Artifact, fraction: float, seed: int
) -> Int64[np.ndarray, "m"]:
    """Sound frames that are no near-duplicate of each other: masks are dear, and a copy would only give the
    same patch again.
    """
    sound = np.flatnonzero([not frame.flaw for frame in frames])
    count = min(count_for(fraction, len(frames)), len(sound))
    vectors = np.asarray(embedded.array("vectors.npy")[sound])
    return np.sort(sound[select(vectors, "meddel", count, seed=seed).indices])


def _propose(
    work: Workspace,
    corpus: Corpus,
    rows: Int64[np.ndarray, "m"],
    embedded: Artifact,
    generator: MaskGenerator,
    options: PatchesSection,
    seed: int,
) -> None:
    overlays = _overlays(corpus, np.random.default_rng(seed)) if options.filter else {}
    limits = PatchOptions() if options.filter else PatchOptions(contrast=0.0)
    maps = embedded.array("error_map.npy")
    for start, stop in work.blocks(len(rows), SHARD, "patches"):
        found: dict[int, list[KeyPatch]] = {}
        for row, image in corpus.images(rows[start:stop].tolist()):
            frame = corpus.frames[row]
            zones = forbidden(image, overlays.get(_kind(frame))) if options.filter else _nowhere(image)
            if options.prompting == "error":
                points = error_points(maps[row], frame.height, frame.width, options.points, zones.valid)
            else:
                points = grid_points(frame.height, frame.width)
            masks = mask_nms(generator(image, points)) if len(points) else []
            found[row] = key_patches(frame.id, image, masks, zones, limits)
        proposed = [patch for row in sorted(found) for patch in found[row]]
        work.write_table(f"{PARTS}/patches-{start}.parquet", to_table(KeyPatch, proposed))
    work.write_table(
        "patches.parquet",
        pl.concat([work.table(f"{PARTS}/patches-{start}.parquet") for start in range(0, len(rows), SHARD)]),
    )


def _nowhere(image: Image) -> Zones:
    """No place of an image (h, w, 3) is forbidden: what ``filter = false`` means."""
    free = np.zeros(image.shape[:2], dtype=bool)
    return Zones(border=free, overlay=free, glare=free, background=free)


Kind = tuple[str, str | None, int, int]


def _kind(frame: Frame) -> Kind:
    """Frames of one folder, centre, and nearly one shape and size come from one kind of device, which burns
    in the same overlay.
    """
    shape, size = 5 * frame.width / frame.height, 2 * math.log2(frame.width * frame.height)
    return Path(frame.source).parent.as_posix(), frame.centre, round(shape), round(size)


def _overlays(corpus: Corpus, rng: np.random.Generator) -> dict[Kind, BoolImage]:
    """What is burned in at the same place of many frames of a kind, found on a sample stretched to one size."""
    members = defaultdict(list)
    for row, frame in enumerate(corpus.frames):
        if (
            not frame.flaw and place(frame)[1].partition(":")[0] not in AXES
        ):  # slices of a volume carry no overlay
            members[_kind(frame)].append(row)
    samples = {
        kind: np.sort(rng.permutation(rows)[:OVERLAY_SAMPLE])
        for kind, rows in members.items()
        if len(rows) >= 8
    }
    return {kind: group_overlay(_stretched(corpus, rows)) for kind, rows in samples.items()}


def _stretched(corpus: Corpus, rows: Int64[np.ndarray, "m"]) -> Images:
    return np.stack([fit(image, OVERLAY_SIZE) for _, image in corpus.images(rows.tolist())])


def _score(
    work: Workspace, corpus: Corpus, accepted: list[KeyPatch], mae: Artifact | str, size: int, seed: int
) -> None:
    """Crops at the model's size, their vectors, error and null error; the null model is the mean crop."""
    row_of = {frame.id: row for row, frame in enumerate(corpus.frames)}
    pixels = work.open_array("pixels.npy", (len(accepted), size, size, 3), np.uint8)
    for start, stop in work.blocks(len(accepted), 256, "crops"):
        places = defaultdict(list)
        for number in range(start, stop):
            places[row_of[accepted[number].frame]].append(number)
        for row, image in corpus.images(sorted(places)):
            for number in places[row]:
                pixels[number] = crop(image, accepted[number].box, size)
    write_scores(
        work, pixels, mae_folder(mae), None, mean_image(pixels, np.random.default_rng(seed)), seed, device()
    )
