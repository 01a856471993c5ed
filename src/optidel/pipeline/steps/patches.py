"""Key patches: masks on the frames that survive de-duplication, squares around them, their scores."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from optidel.arrays import BoolImage, Image, Images
from optidel.corpus.frames import Corpus
from optidel.corpus.reading import place as member_and_locator
from optidel.errors import BudgetError
from optidel.features.embedding import mean_image, write_scores
from optidel.features.overlay import Zones, forbidden, group_overlay
from optidel.features.patches import PatchOptions, crop, key_patches, refusals, whole_frame
from optidel.features.prompts import error_points, grid_points
from optidel.mapping import Make, Plan, Tick, run
from optidel.methods import count_for, select
from optidel.models.mask_generators import load_mask_generator, mask_weights
from optidel.models.masks import MaskGenerator, mask_nms
from optidel.pipeline.weights import Weights
from optidel.readers.decode import fit
from optidel.readers.volume import AXES
from optidel.recipe import PatchesSection
from optidel.records import Frame, KeyPatch, from_table, to_table
from optidel.runs.summaries import PatchesSummary, write_summary
from optidel.store import PARTS, Artifact, Store, Workspace, read_artifact

# Folder, centre, shape and size of the frames of one kind of device.
Kind = tuple[str, str | None, int, int]

# What masking a frame costs, in embeddings of one: a shard is some ten seconds of work on a CPU.
MASK_COST = 256

# Key patches cropped between two writes; a round number, as crops are cheap.
CROPS = 256

# Frames of one kind from which constant overlay is learnt: more change it little and are slow to decode.
OVERLAY_SAMPLE = 48

# Frames of one kind from which overlay is learnt at all: in fewer, anatomy that stays looks like overlay.
OVERLAY_LEAST = 8

# Side in px to which those frames are stretched; small print is still some pixels high.
OVERLAY_SIZE = 384

# Steps of width : height, and of the area in octaves, that tell kinds apart.
#
# Crops of one device differ by less than a fifth in shape and by less than half an octave in area.
SHAPES, SIZES = 5, 2


def patches_step(
    store: Store,
    indexed: Artifact,
    embedded: Artifact,
    mae: Weights,
    size: int,
    options: PatchesSection,
    seed: int,
    plan: Plan | None = None,
) -> Artifact:
    """Propose key patches, refuse the unusable ones, and score the others.

    Writes ``patches.parquet`` (accepted and refused ones with their reason), and of the accepted ones, in
    that order, pixels, vectors and errors.

    Args:
        store: the run.
        indexed: the corpus.
        embedded: its embedding and error maps.
        mae: the masked autoencoder that scores.
        size: side in px at which a crop is scored.
        options: which frames, what proposes masks, and what is refused.
        seed: of every draw.
        plan: who does the shards; None for this process.

    Raises:
        BudgetError: no key patch was accepted.
        PendingError: other processes are to do shards.
    """
    # Loaded before the step is looked for: which backend "auto" is decides the fingerprint.
    generator = load_mask_generator(options.backend, options.weights)

    def make(work: Workspace) -> None:
        corpus = Corpus.load(indexed)
        rows = candidate_rows(corpus, embedded, options.candidates, seed)
        where = Sources(index=indexed, embed=embedded, corpus=corpus, generator=generator)
        _propose(work, where, rows, options, seed, plan or Plan())

        patches = from_table(KeyPatch, work.table("patches.parquet"))
        accepted = [patch for patch in patches if not patch.refused]
        if not accepted:
            raise BudgetError(
                f"no key patch was accepted on {len(rows)} frames (refused: {refusals(patches)}); "
                "raise patches.candidates"
            )
        _score(work, corpus, accepted, mae, size, seed, plan or Plan())

        summary = PatchesSummary(
            backend=generator.name,
            weights=generator.weights,
            prompting=options.prompting,
            frames=len(rows),
            masks=len(patches),
            kept=len(accepted),
            refused=refusals(patches),
        )
        write_summary(work, summary)

    config: dict[str, Any] = {
        "options": options.model_dump(mode="json", exclude={"weights", "backend"}),
        "backend": generator.name,
        "weights": generator.weights,
        "size": size,
        "seed": seed,
        "mae": mae.name,
    }
    inputs = {"index": indexed, "embed": embedded, **mae.inputs}
    return store.build("patches", make, version=3, config=config, inputs=inputs)


def candidate_rows(corpus: Corpus, embedded: Artifact, fraction: float, seed: int) -> Int64[np.ndarray, "m"]:
    """Sound frames that are no near-duplicate of each other, int64 (m,), ascending.

    Masks are dear, and a copy would only give the same patch again.
    """
    sound = np.flatnonzero([not flaw for flaw in corpus.column("flaw")])
    count = min(count_for(fraction, len(corpus)), len(sound))
    vectors = embedded.array("vectors.npy")
    selection = select(np.asarray(vectors[sound]), "meddel", count, seed=seed)
    return np.sort(sound[selection.indices])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where key patches come from: the artifacts, and what this process has loaded of them."""

    index: Artifact
    embed: Artifact
    corpus: Corpus
    generator: MaskGenerator


def _propose(
    work: Workspace,
    where: Sources,
    rows: Int64[np.ndarray, "m"],
    options: PatchesSection,
    seed: int,
    plan: Plan,
) -> None:
    """Write the key patches of some frames, shard by shard."""
    # Whole frames lie on whatever there is: nothing forbids them a place.
    filters = options.filter and where.generator.name != "frames"
    overlays = _overlays(where.corpus, np.random.default_rng(seed)) if filters else {}
    # Learnt once here, for all workers.
    shape = (len(overlays), OVERLAY_SIZE, OVERLAY_SIZE)
    work.write_array(f"{PARTS}/overlays.npy", np.array(list(overlays.values()), dtype=bool).reshape(shape))
    work.write_json(f"{PARTS}/kinds.json", [list(kind) for kind in overlays])
    work.write_array(f"{PARTS}/rows.npy", rows)
    worker = PatchWorker(
        index=str(where.index.path.absolute()),
        error_map=str(where.embed.file("error_map.npy").absolute()),
        parts=str((work.path / PARTS).absolute()),
        backend=where.generator.name,
        weights=mask_weights(where.generator.name, options.weights),
        options=options.model_dump(mode="json"),
    )
    job = run(work, worker, len(rows), "patches", plan, cost=MASK_COST)
    work.write_table("patches.parquet", job.table())


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchWorker:
    """Proposes key patches: on frames ``rows.npy`` of an index, with the overlays of each kind of device.

    ``parts`` is the folder of these two; ``options`` are those of the recipe.
    """

    index: str
    error_map: str
    parts: str
    backend: str
    weights: str | None
    options: dict[str, Any]

    def open(self) -> Make:
        """Load the mask generator, once in each process."""
        return _Proposer(self)

    def stand_in(self, row: int) -> pl.DataFrame:
        """A frame that no worker survives has no key patch."""
        return to_table(KeyPatch, [])


class _Proposer:
    """The mask generator, and the frames that it looks at."""

    def __init__(self, worker: PatchWorker) -> None:
        parts = Path(worker.parts)
        self.options = PatchesSection.model_validate(worker.options)
        self.corpus = Corpus.load(read_artifact(Path(worker.index)))
        self.error_maps = np.load(worker.error_map, mmap_mode="r")
        self.generator = load_mask_generator(worker.backend, worker.weights)
        self.rows = np.load(parts / "rows.npy")
        kinds = json.loads((parts / "kinds.json").read_bytes())
        overlays = np.load(parts / "overlays.npy")
        self.overlays = {tuple(kind): overlay for kind, overlay in zip(kinds, overlays, strict=True)}
        self.limits = PatchOptions() if self.options.filter else PatchOptions(contrast=0.0)

    def __call__(self, rows: range, tick: Tick) -> pl.DataFrame:
        """The key patches of some candidates, in the order of the frames."""
        by_row: dict[int, list[KeyPatch]] = {}
        for row, image in self.corpus.images(self.rows[rows.start : rows.stop].tolist()):
            by_row[row] = self._patches(self.corpus.frames[row], image, self.error_maps[row])
            tick(1)

        # Files are read in their own order; the table is in the order of the frames.
        proposals = [patch for row in sorted(by_row) for patch in by_row[row]]
        return to_table(KeyPatch, proposals)

    def _patches(self, frame: Frame, image: Image, error_map: Float32[np.ndarray, "g g"]) -> list[KeyPatch]:
        if self.generator.name == "frames":
            return [whole_frame(frame)]
        zones = _free(image)
        if self.options.filter:
            zones = forbidden(image, self.overlays.get(_kind(frame)))
        points = _points(frame, error_map, self.options, zones)
        # Everything may be forbidden: then there is nothing to ask for.
        masks = mask_nms(self.generator(image, points)) if len(points) else []
        return key_patches(frame.id, image, masks, zones, self.limits)


def _points(
    frame: Frame, error_map: Float32[np.ndarray, "g g"], options: PatchesSection, zones: Zones
) -> Float32[np.ndarray, "p 2"]:
    """Points that prompt the mask generator, float32 (p, 2), x and y in px."""
    if options.prompting == "grid":
        return grid_points(frame.height, frame.width)
    return error_points(error_map, frame.height, frame.width, options.points, zones.valid)


def _free(image: Image) -> Zones:
    """Nothing of an image (h, w, 3) is forbidden: what ``filter = false`` means."""
    height, width, _ = image.shape
    nothing = np.zeros((height, width), dtype=bool)
    return Zones(border=nothing, overlay=nothing, glare=nothing, background=nothing)


def _kind(frame: Frame) -> Kind:
    """Frames of one folder, centre, and nearly one shape and size come from one kind of device.

    It burns in the same overlay.
    """
    folder = Path(frame.source).parent.as_posix()
    shape = SHAPES * frame.width / frame.height
    size = SIZES * math.log2(frame.width * frame.height)
    return folder, frame.centre, round(shape), round(size)


def _overlays(corpus: Corpus, rng: np.random.Generator) -> dict[Kind, BoolImage]:
    """What is burned in at the same position of many frames of a kind, learnt on a sample."""
    members = defaultdict(list)
    for row, frame in enumerate(corpus.frames):
        if not frame.flaw and not _is_slice(frame):  # slices of a volume carry no overlay
            members[_kind(frame)].append(row)

    overlays = {}
    for kind, rows in members.items():
        if len(rows) >= OVERLAY_LEAST:
            sample = np.sort(rng.permutation(rows)[:OVERLAY_SAMPLE])
            overlays[kind] = group_overlay(_stretched(corpus, sample))
    return overlays


def _is_slice(frame: Frame) -> bool:
    """Whether a frame is a slice of a volume: its locator begins with an axis."""
    _, locator = member_and_locator(frame)
    return locator.partition(":")[0] in AXES


def _stretched(corpus: Corpus, rows: Int64[np.ndarray, "m"]) -> Images:
    images = corpus.images(rows.tolist())
    return np.stack([fit(image, OVERLAY_SIZE) for _, image in images])


def _score(
    work: Workspace,
    corpus: Corpus,
    accepted: Sequence[KeyPatch],
    mae: Weights,
    size: int,
    seed: int,
    plan: Plan,
) -> None:
    """Crops at the model's size, their vectors, error and null error; the null model is the mean crop."""
    row_of = {frame.id: row for row, frame in enumerate(corpus.frames)}
    pixels = work.open_array("pixels.npy", (len(accepted), size, size, 3), np.uint8)
    for start, stop in work.blocks(len(accepted), CROPS, "crops"):
        # Each frame is read once for all its patches in the block.
        numbers = defaultdict(list)
        for number in range(start, stop):
            numbers[row_of[accepted[number].frame]].append(number)

        for row, image in corpus.images(sorted(numbers)):
            for number in numbers[row]:
                pixels[number] = crop(image, accepted[number].box, size)

    mean = mean_image(pixels, np.random.default_rng(seed))
    write_scores(work, work.path / "pixels.npy", mae.folder, None, mean, seed, None, plan)
