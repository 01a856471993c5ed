"""Masks of new images by a segmenter that a run kept, each at its image's own size."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from optidel.arrays import Image
from optidel.corpus.groups import group_key
from optidel.corpus.options import IndexOptions
from optidel.corpus.reading import local_file
from optidel.corpus.sandbox.workers import scan_files
from optidel.corpus.walk import walk
from optidel.datasets.masks import single_image
from optidel.errors import InputError
from optidel.evaluation.native import classes_at
from optidel.pipeline.predictors import FOLDER, load_predictor
from optidel.progress import say, track
from optidel.readers.decode import fit
from optidel.readers.decoded import Window, ending, window_of
from optidel.records import Rejected
from optidel.remote import Root, place
from optidel.runs.collect import open_store, read_run
from optidel.store import Artifact

# Of the classes, from the background on: Okabe and Ito's palette, which colour-blind people tell apart.
COLOURS = np.array(
    [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)],
    dtype=np.uint8,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """``masks``: the files written; ``rejected``: images that could not be read, and why."""

    masks: list[Path]
    rejected: list[Rejected]


def predict_masks(
    run: Path,
    images: Path | str,
    out: Path,
    *,
    method: str | None = None,
    seed: int | None = None,
    protocol: str | None = None,
) -> Predictions:
    """Segment every image of a folder.

    Args:
        run: a run whose recipe has ``evaluate.keep = true``.
        images: a folder, searched through, or one file.
        out: folder of the masks, PNG under the images' paths: 0 and 255 for one class, else a palette whose
            index is the class.
        method: whose encoder; by default the last of the recipe that kept a segmenter.
        seed: of the trial; by default the first.
        protocol: fine-tune, probe or ridge; by default the first that was kept.

    Raises:
        InputError: no such run, nothing kept, or no image.
    """
    evaluated = _kept(run, method, seed, protocol)
    predictor, classes = load_predictor(evaluated)
    recipe = read_run(run).recipe
    # CT is shown as it was when the segmenter was trained.
    window = window_of(recipe.corpus.window) if recipe else None
    listing = walk(place(images))
    rejected = list(listing.refused)
    masks: list[Path] = []
    sources = [file.source for file in listing.files]
    for source, image in _readable(listing.root, sources, rejected, window):
        small = fit(image, predictor.size)
        logits = next(iter(predictor.logits(small[None])))
        suffix = ending(source)
        path = out / f"{source.removesuffix(source[-len(suffix) :] if suffix else '')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_mask(path, classes_at(logits, *image.shape[:2]), classes)
        masks.append(path)
    if not masks:
        reason = f"; {rejected[0].source}: {rejected[0].reason}" if rejected else ""
        raise InputError(f"none of the files under {images} is a readable image{reason}")
    return Predictions(masks=masks, rejected=rejected)


def _kept(run: Path, method: str | None, seed: int | None, protocol: str | None) -> Artifact:
    """The evaluation whose segmenter is used."""
    open_store(run)
    candidates = [
        (trial, name, artifact)
        for trial in read_run(run).trials
        for name, artifact in trial.evaluate.items()
        if (artifact.path / FOLDER).is_dir()
    ]
    if not candidates:
        raise InputError(
            f"{run} kept no segmenter; on a set of masks, run it again with evaluate.keep = true in the "
            "recipe, or --set evaluate.keep=true"
        )
    fitting = [
        (trial, name, artifact)
        for trial, name, artifact in candidates
        if method in (None, trial.method) and seed in (None, trial.seed) and protocol in (None, name)
    ]
    if not fitting:
        kept = ", ".join(f"{trial.method} seed {trial.seed} {name}" for trial, name, _ in candidates)
        raise InputError(f"{run} kept no segmenter of that method, seed and protocol; it has {kept}")
    first_seed = min(trial.seed for trial, _, _ in fitting)
    trials = [choice for choice in fitting if choice[0].seed == first_seed]
    last_method = trials[-1][0].method
    trial, name, artifact = next(choice for choice in trials if choice[0].method == last_method)
    say(f"predict: the encoder of {trial.method}, seed {trial.seed}, {name}")
    return artifact


def _readable(
    root: Root, sources: list[str], rejected: list[Rejected], window: Window | None
) -> Iterator[tuple[str, Image]]:
    """The images that decoding processes could read, u8 (h, w, 3); CT through ``window`` where one is set."""
    scanned = scan_files(root, sources, IndexOptions().scan(group_key(None)))
    for file in track(scanned, "predict", len(sources)):
        if file.rejected:
            rejected.extend(file.rejected)
            continue
        try:
            with local_file(root, file.source) as path:
                image = single_image(path, window=window)
        except InputError as error:
            rejected.append(Rejected(source=file.source, reason=str(error)))
            continue
        yield file.source, image


def _write_mask(path: Path, mask: UInt8[np.ndarray, "h w"], classes: int) -> None:
    if classes == 2:
        PillowImage.fromarray(mask * np.uint8(255)).save(path, "png")
        return
    picture = PillowImage.fromarray(mask, mode="P")
    # Classes beyond the palette repeat its colours a little darker, so that no two are alike.
    rounds = np.arange(classes)[:, None] // len(COLOURS)
    colours = COLOURS[np.arange(classes) % len(COLOURS)] // (1 + rounds) + rounds
    picture.putpalette(colours.astype(np.uint8).tobytes())
    picture.save(path)
