"""One function a step: finished artifacts and options in, a finished artifact out. Every step resumes where
it was killed.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Int64
from PIL import Image as Picture

from optidel.arrays import Images, Scores
from optidel.corpus.frames import Corpus
from optidel.corpus.pixels import write_pixels
from optidel.datasets import Registry
from optidel.errors import BudgetError
from optidel.evaluation.metrics import score
from optidel.evaluation.tasks import known_set, load_task
from optidel.features.clusters import cluster
from optidel.features.composites import paste
from optidel.features.embedding import mean_image, write_scores
from optidel.methods import METHODS, count_for, select
from optidel.methods.composition import compose_plan, originals
from optidel.models.encoders import build_encoder, load_encoder, save_encoder
from optidel.models.presets import PRESETS
from optidel.models.segmenter import Protocol
from optidel.pipeline.reuse import earlier_scores, group_config, group_labels, since_earlier
from optidel.readers.decode import fit
from optidel.recipe import EvaluateSection, OptidelSection
from optidel.records import Composite, Frame, KeyPatch, Rejected, Selection, from_table, to_table
from optidel.store import Artifact, Store, Workspace, digest
from optidel.training.precision import device
from optidel.training.pretrain import PretrainOptions, pretrain
from optidel.training.segmentation import SCHEDULES, predict, train_segmenter
from optidel.vinformation import Scorer, difficulty

Rows = Int64[np.ndarray, "m"]
Groups = Literal["none", "spread", "together"]
PRETRAIN, EMBED = 1, 2
"""Versions of the code of two steps that look for their own earlier artifacts."""

COMPOSED = 64
"""Composites made in one pass over the files, and at most made again after a kill."""

SHOWN = 12
"""Test images whose prediction is kept for the report."""

WHOLE = ("full", "random")
"""Methods that look at no image: they may keep frames marked as worthless, the others never do."""


def pixels_step(store: Store, indexed: Artifact, size: int) -> Artifact:
    """Decode every frame once, at the model's size; everything that trains or embeds reads from here."""

    def make(work: Workspace) -> None:
        write_pixels(work, corpus=Corpus.load(indexed), size=size, store=store)

    return store.build("pixels", make, version=2, config={"size": size}, inputs={"index": indexed})


def pretrain_step(
    store: Store,
    name: str,
    pixels: Artifact,
    rows: Rows | None,
    preset: str,
    options: PretrainOptions,
    seed: int,
    extra: dict[str, Artifact],
) -> Artifact:
    """Pre-train on ``rows`` of ``pixels`` (all where None); ``extra`` are artifacts that ``rows`` came from."""

    def make(work: Workspace) -> None:
        images: Images = pixels.array("pixels.npy")
        if not work.has("log.parquet"):
            checkpoint = work.part("checkpoint.pt")
            model, log = pretrain(
                images, rows, PRESETS[preset], options, seed=seed, checkpoint=checkpoint, saved=work.clock
            )
            save_encoder(model, work.path / "encoder", PRESETS[preset].size)
            work.write_table("log.parquet", log)

    config = pretrain_config(preset, options, seed)
    return store.build(name, make, version=PRETRAIN, config=config, inputs={"pixels": pixels, **extra})


def pretrain_config(preset: str, options: PretrainOptions, seed: int) -> dict[str, Any]:
    """What of a pre-training, beside its images, decides the encoder."""
    return {"preset": preset, "options": options.config(), "seed": seed}


def embed_step(
    store: Store, pixels: Artifact, mae: Artifact | str, weights: str | None, seed: int
) -> Artifact:
    """Embedding, difficulty and error map of every frame; the vectors come from ``weights`` where given, else
    from the same pass.

    Rows of frames that an earlier state of the corpus held are copied from there.
    """
    own = isinstance(mae, Artifact)

    def make(work: Workspace) -> None:
        images: Images = pixels.array("pixels.npy")
        earlier = earlier_scores(store, pixels, inputs, config, EMBED)
        mean = mean_image(images, np.random.default_rng(seed))
        write_scores(work, images, mae_folder(mae), weights, mean, seed, device(), earlier)
        work.write_array("mean_image.npy", mean)
        copied = int((earlier.rows >= 0).sum()) if earlier else 0
        warmed = isinstance(mae, Artifact) and mae.inputs["pixels"] == pixels.content
        counts = {
            "copied": copied,
            "computed": len(images) - copied,
            "copied_from": earlier.name if earlier else None,
        }
        work.write_json(
            "summary.json",
            counts
            | {"warmup": mae.path.name if isinstance(mae, Artifact) else None, "warmup_is_own": warmed},
        )

    config: dict[str, Any] = {"seed": seed, "weights": weights, "mae": None if own else mae}
    inputs = {"pixels": pixels} | ({"mae": mae} if isinstance(mae, Artifact) else {})
    return store.build("embed", make, version=EMBED, config=config, inputs=inputs)


def mae_folder(mae: Artifact | str) -> str:
    """Where a masked autoencoder lies: our own artifact, or the folder or id a person gave."""
    return str(mae.file("encoder")) if isinstance(mae, Artifact) else mae


def select_step(
    store: Store,
    indexed: Artifact,
    embedded: Artifact | None,
    method: str,
    budget: float,
    seed: int,
    groups: Groups = "none",
) -> Artifact:
    """Choose whole frames; ``embedded`` is None for the methods that look at no image, ``groups`` is the rule
    for frames that belong together."""

    def make(work: Workspace) -> None:
        frames = from_table(Frame, indexed.table("frames.parquet"))
        sound = np.array([method in WHOLE or not frame.flaw for frame in frames])
        rows = np.flatnonzero(sound)
        count = count_for(budget, len(frames))
        if count > len(rows):
            raise BudgetError(
                f"{method}: budget {budget:g} asks for {count} of {len(frames)} frames, {len(rows)} are not blank or dark; lower it"
            )
        vectors = embedded.array("vectors.npy") if embedded else _hash_vectors(frames)
        hard = hardness(embedded, METHODS[method].scorer, rows) if embedded else None
        rule: dict[str, Any] = (
            {}
            if groups == "none"
            else {"groups": group_labels([frames[row] for row in rows]), "group_rule": groups}
        )
        selection = select(
            vectors if sound.all() else vectors[rows], method, count, difficulty=hard, seed=seed, **rule
        )
        table = selection_table([frames[row].id for row in rows], rows, selection)
        work.content = kept_content(table)
        flawed = [frame for frame in frames if method not in WHOLE and frame.flaw]
        work.write_table(
            "selection.parquet",
            pl.concat([table, _dropped(flawed, {frame.id: i for i, frame in enumerate(frames)})]),
        )
        summary = {
            "method": method,
            "budget": budget,
            "seed": seed,
            "unit": "frame",
            "items": len(frames),
            "kept": count,
        }
        summary |= {"index": indexed.content}
        work.write_json(
            "summary.json",
            summary | since_earlier(store, indexed, summary, table.filter("kept")["id"].to_list()),
        )

    config = {"method": method, "budget": budget, "seed": seed} | group_config(indexed, groups)
    inputs = {"index": indexed} | ({"embed": embedded} if embedded else {})
    return store.build("select", make, version=2, config=config, inputs=inputs)


def _hash_vectors(frames: Sequence[Frame]) -> np.ndarray[Any, Any]:
    """Pixel hashes as rows: a draw that follows them does not depend on the order of files and needs no
    embedding.
    """
    return (
        np.array([np.frombuffer(bytes.fromhex(frame.sha256), np.uint8) for frame in frames], np.float32) + 1
    )


def selection_table(ids: Sequence[str], items: Rows, selection: Selection) -> pl.DataFrame:
    """A selection as a table, a row per item: item, id, kept, rank, gain, twin, similarity, reason."""
    rank = np.full(len(ids), -1, np.int64)
    gain = np.full(len(ids), np.nan)
    rank[selection.indices] = np.arange(len(selection.indices))
    gain[selection.indices] = selection.gains
    return pl.DataFrame(
        {
            "item": np.asarray(items, np.int64),
            "id": list(ids),
            "kept": rank >= 0,
            "rank": rank,
            "gain": pl.Series(gain).fill_nan(None),
            "twin": pl.Series(
                [ids[twin] if twin >= 0 else None for twin in selection.kept_twin], dtype=pl.String
            ),
            "similarity": pl.Series(np.asarray(selection.similarity, np.float64)).fill_nan(None),
            "reason": [str(reason) for reason in selection.reason],
        }
    )


def kept_content(table: pl.DataFrame) -> str:
    """What training on a selection depends on: which items, in which order. Equal choices then share their
    encoder.
    """
    return digest(
        b"kept", table.filter(pl.col("kept")).sort("rank")["item"].to_numpy().astype("<i8").tobytes()
    )


def _dropped(frames: Sequence[Frame], row_of: dict[str, int]) -> pl.DataFrame:
    nothing = Selection(
        indices=np.empty(0, np.int64),
        gains=np.empty(0),
        kept_twin=np.full(len(frames), -1, np.int64),
        similarity=np.full(len(frames), np.nan),
        reason=np.array([frame.flaw for frame in frames], dtype=str),
    )
    return selection_table(
        [frame.id for frame in frames], np.array([row_of[frame.id] for frame in frames], np.int64), nothing
    )


def hardness(scored: Artifact, scorer: Scorer, rows: Rows | slice = slice(None)) -> Scores:
    """Difficulty of frames or key patches, higher is harder: of all that an artifact scored, or of ``rows``."""
    error, null_error = (
        np.asarray(scored.array(f"{name}.npy")[rows], np.float64) for name in ("error", "null_error")
    )
    return difficulty(error, null_error, scorer)


def kept_rows(selected: Artifact) -> Rows:
    """Items kept, best first."""
    table = selected.table("selection.parquet").filter(pl.col("kept")).sort("rank")
    return table["item"].to_numpy().astype(np.int64)


def accepted_patches(patched: Artifact) -> list[KeyPatch]:
    """Key patches that may be used, in the order of their vectors."""
    return [patch for patch in from_table(KeyPatch, patched.table("patches.parquet")) if not patch.refused]


def select_patches_step(
    store: Store,
    indexed: Artifact,
    patched: Artifact,
    options: OptidelSection,
    budget: float,
    seed: int,
    groups: Groups = "none",
) -> Artifact:
    """Choose key patches: as many as fill the composites that the budget buys, and one for every image that
    stays a whole frame; a patch belongs to its frame's group."""
    frames = int(indexed.json("index.json")["frames"])
    images = count_for(budget, frames)
    whole = int(options.originals * images)  # less than all: at least one is a composite
    composites = images - whole
    count = composites * options.grid + whole

    def make(work: Workspace) -> None:
        patches = accepted_patches(patched)
        if count > len(patches):
            raise BudgetError(
                f"optidel: budget {budget:g} of {frames} frames is {composites} composites of {options.grid} key patches, {count} in all, "
                f"but there are {len(patches)}; lower the budget, raise patches.points or patches.candidates, or lower optidel.grid"
            )
        hard, vectors = hardness(patched, options.scorer), patched.array("vectors.npy")
        rule: dict[str, Any] = {}
        if groups != "none":
            corpus = from_table(Frame, indexed.table("frames.parquet"))
            group_of = dict(zip((frame.id for frame in corpus), group_labels(corpus), strict=True))
            rule = {"groups": [group_of[patch.frame] for patch in patches], "group_rule": groups}
        selection = select(
            vectors, "optidel", count, difficulty=hard, seed=seed, diversity=options.diversity, **rule
        )
        ids = [f"{patch.frame}@{','.join(map(str, patch.box))}" for patch in patches]
        table = selection_table(ids, np.arange(len(ids)), selection)
        work.content = kept_content(table)
        work.write_table("selection.parquet", table)
        summary = {
            "method": "optidel",
            "budget": budget,
            "seed": seed,
            "unit": METHODS["optidel"].unit,
            "items": len(ids),
            "kept": count,
        }
        summary |= {"index": indexed.content, "originals": whole}
        work.write_json(
            "summary.json",
            summary | since_earlier(store, indexed, summary, [ids[row] for row in selection.indices]),
        )

    config = {
        "method": "optidel",
        "options": options.model_dump(mode="json"),
        "budget": budget,
        "frames": frames,
        "seed": seed,
    }
    config |= group_config(indexed, groups)
    return store.build("select", make, version=3, config=config, inputs={"patches": patched})


def compose_step(
    store: Store, indexed: Artifact, patched: Artifact, selected: Artifact, grid: int, size: int, seed: int
) -> Artifact:
    """Deal the chosen key patches into new images; each can be rebuilt from its row in
    ``composites.parquet``. Those that stay whole frames follow the composites."""
    whole = int(selected.json("summary.json")["originals"])

    def make(work: Workspace) -> None:
        corpus = Corpus.load(indexed)
        patches = accepted_patches(patched)
        rng = np.random.default_rng(seed)
        rows = kept_rows(selected)
        labels = cluster(np.asarray(patched.array("vectors.npy")[rows]), rng=rng).labels
        side = composite_side(corpus.frames, grid)
        chosen = [patches[row] for row in rows]
        kept = originals(chosen, whole)
        parts = np.setdiff1d(np.arange(len(rows)), kept)
        plan = compose_plan(
            [chosen[part] for part in parts], grid=grid, side=side, rng=rng, labels=labels[parts]
        )
        row_of = {frame.id: row for row, frame in enumerate(corpus.frames)}
        for number, frame in enumerate(
            (corpus.frames[row_of[chosen[place].frame]] for place in kept), start=1
        ):
            box = (0, 0, frame.width, frame.height)
            plan.append(Composite(id=f"original-{number:05d}", sources=(frame.id,), boxes=(box,), side=side))
        work.write_table("composites.parquet", to_table(Composite, plan))
        pixels = work.open_array("pixels.npy", (len(plan), size, size, 3), np.uint8)
        for start, stop in work.blocks(len(plan), COMPOSED, "compose"):
            made = np.empty((stop - start, side, side, 3), np.uint8)
            wanted = sorted(
                {row_of[source] for composite in plan[start:stop] for source in composite.sources}
            )
            for row, image in corpus.images(
                wanted
            ):  # one pass over each file, whichever composites its frames are for
                name = corpus.frames[row].id
                for canvas, composite in zip(made, plan[start:stop], strict=True):
                    paste(canvas, composite, name, image)
            for number, image in enumerate(made, start):
                with work.writing(f"images/{plan[number].id}.png") as path:
                    Picture.fromarray(image).save(path, format="PNG")
                pixels[number] = fit(image, size)

    config = {"grid": grid, "size": size, "seed": seed} | ({"originals": whole} if whole else {})
    inputs = {"index": indexed, "patches": patched, "select": selected}
    return store.build("compose", make, version=1, config=config, inputs=inputs)


def composite_side(frames: Sequence[Frame], grid: int) -> int:
    """Side in px of a square with as many pixels as the median frame, a multiple of the patches along one
    side.
    """
    across = math.isqrt(grid)
    side = math.sqrt(float(np.median([frame.height * frame.width for frame in frames])))
    return max(across, round(side / across) * across)


def task_step(
    store: Store, folder: Path, size: int, options: EvaluateSection, listing: str, registry: Registry
) -> Artifact:
    """Read the labelled set at the model's size and split it; the split is the same for every method and
    seed.
    """

    def make(work: Workspace) -> None:
        task = load_task(
            folder,
            size,
            train=options.train,
            test=options.test,
            seed=0,
            group=options.group,
            registry=registry,
        )
        work.write_array("images.npy", task.images)
        work.write_array("masks.npy", task.masks)
        schema = {"id": pl.String, "split": pl.String, "source": pl.String, "group": pl.String}
        items = pl.DataFrame(
            {
                "id": task.ids.tolist(),
                "split": task.split.tolist(),
                "source": task.sources,
                "group": task.groups,
            },
            schema,
        )
        work.write_table("items.parquet", items)
        work.write_table("rejected.parquet", to_table(Rejected, task.rejected))
        work.write_json("summary.json", {"name": task.name, "classes": task.classes})

    config: dict[str, Any] = {
        "size": size,
        "train": options.train,
        "test": options.test,
        "listing": listing,
        "group": options.group,
    }
    if options.group and Path(options.group).is_file():
        config["manifest"] = digest(Path(options.group).read_bytes())
    if known := known_set(folder, registry):
        config["set"] = digest(repr(known.dataset).encode())
    return store.build("task", make, version=2, config=config)


def evaluate_step(
    store: Store,
    task: Artifact,
    encoder: Artifact | None,
    preset: str,
    protocol: Protocol,
    options: EvaluateSection,
    seed: int,
) -> Artifact:
    """Train a segmenter on the labelled training images and score the test images; from scratch where
    ``encoder`` is None.
    """

    def make(work: Workspace) -> None:
        classes = int(task.json("summary.json")["classes"])
        items = task.table("items.parquet")
        train, test = (np.flatnonzero(items["split"].to_numpy() == part) for part in ("train", "test"))
        images, masks = task.array("images.npy"), task.array("masks.npy")
        generator = torch.Generator().manual_seed(seed)
        start = (
            load_encoder(encoder.file("encoder")) if encoder else build_encoder(PRESETS[preset], generator)
        )
        plan = SCHEDULES[protocol]
        schedule = replace(plan, steps=options.steps or plan.steps, batch=options.batch or plan.batch)
        segmenter = train_segmenter(
            start.to(device()),
            images[train],
            masks[train],
            classes,
            protocol=protocol,
            generator=generator,
            schedule=schedule,
        )
        predictions = predict(segmenter, images[test])
        scores = score(predictions, masks[test], classes)
        work.write_array("predictions.npy", predictions[:SHOWN])
        foreground = np.arange(1, classes)
        work.write_table(
            "images.parquet",
            pl.DataFrame(
                {
                    "id": np.repeat(items["id"].to_numpy()[test], len(foreground)).tolist(),
                    "class": np.tile(foreground, len(test)),
                    "iou": scores.iou.ravel(),
                    "dice": scores.dice.ravel(),
                }
            ),
        )
        work.write_json(
            "summary.json",
            {
                "miou": scores.miou,
                "dice": scores.mdice,
                "n_train": len(train),
                "n_test": len(test),
                "classes": classes,
            },
        )

    config = {
        "preset": preset,
        "protocol": protocol,
        "options": options.model_dump(mode="json", include={"steps", "batch"}),
        "seed": seed,
    }
    inputs = {"task": task} | ({"encoder": encoder} if encoder else {})
    return store.build("evaluate", make, version=1, config=config, inputs=inputs)
