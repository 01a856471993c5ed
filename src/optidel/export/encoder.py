"""A pre-trained encoder for another library: as it is, under timm's names, or as an ONNX file.

Beside it lie a model card and ``training-set.csv``: what it was trained on, without a name of a file or a
person.
"""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optidel.corpus.frames import Corpus
from optidel.corpus.names import names_of
from optidel.errors import InputError, RecipeError, nearest
from optidel.export.card import Card, TrainingSet, card_text
from optidel.export.place import write_once
from optidel.export.selection import ExportedSelection, find_selection, made_from
from optidel.export.write import Export, about_selection
from optidel.progress import say
from optidel.records import Composite, from_table
from optidel.runs.collect import open_store
from optidel.store import MANIFEST, Artifact, Store, Workspace

# Of what an exported encoder holds; raise it when that changes.
VERSION = 1

# Where the pre-trained encoder lies in its artifact.
ENCODER = "encoder"

TRAINING_SET = "training-set.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFrame:
    """A frame that an encoder was trained on: number of its image from 1, hash of its pixels, its group as a
    keyed hash (None where it has none).
    """

    image: int
    sha256: str
    group: str | None


def write_folder(work: Workspace, folder: Path) -> None:
    """Copy the Hugging Face folder as it is, with the decoder of a masked autoencoder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with work.writing(path.relative_to(folder).as_posix()) as scratch:
                shutil.copyfile(path, scratch)


def write_timm(work: Workspace, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` as ``timm.create_model("local-dir:…")`` reads them."""
    from safetensors.torch import save_file

    from optidel.models.encoders import load_encoder
    from optidel.models.timm_names import eps_difference, to_timm

    encoder = load_encoder(folder)
    exported = to_timm(encoder)
    difference = eps_difference(encoder)
    if difference:
        say(
            f"export: with timm's own layers of normalisation outputs differ by up to {difference:.1e}; "
            "with the norm_layer in the README.md of the export they are equal"
        )
    with work.writing("model.safetensors") as path:
        save_file(exported.state, path)
    work.write_json("config.json", exported.config)


def write_graph(work: Workspace, folder: Path) -> None:
    """Write ``encoder.onnx``, compared with the encoder."""
    from optidel.models.encoders import load_encoder
    from optidel.models.onnx_file import write_onnx

    with work.writing("encoder.onnx") as path:
        difference = write_onnx(load_encoder(folder), path)
    say(f"export: the outputs of the ONNX file differ from the encoder's by at most {difference:.1e}")


# Each writes the encoder of a Hugging Face folder into the workspace.
ENCODERS: dict[str, Callable[[Workspace, Path], None]] = {
    "encoder": write_folder,
    "timm": write_timm,
    "onnx": write_graph,
}


def export_encoder(
    run: str | Path,
    format: str,
    *,
    method: str | None = None,
    budget: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
) -> Export:
    """Write the encoder that was pre-trained on a selection, for another library.

    Args:
        run: run folder in which the encoder was pre-trained.
        format: a name in :data:`ENCODERS`.
        method: whose encoder; may be left out where the run holds one method's.
        budget: which of its budgets; may be left out where there is one.
        seed: which of its seeds; by default the lowest.
        out: folder to write, new or empty; by default one in the run folder.

    Returns:
        The export; ``images`` is how many the encoder was trained on.

    Raises:
        InputError: no run, no such selection, or no encoder of it.
        RecipeError: unknown format or method, or several methods or budgets to choose from.
        StoreError: ``out`` holds something else, or cannot be written.
        WeightsError: an encoder that the format cannot hold.

    Example:
        >>> from optidel.export import export_encoder
        >>> export_encoder("RUN", "timm", method="optidel").path  # doctest: +SKIP
    """
    if format not in ENCODERS:
        hint = nearest(format, ENCODERS)
        raise RecipeError(f"unknown format {format!r} of an encoder{hint}; there are {', '.join(ENCODERS)}")
    store = open_store(Path(run))
    selection = find_selection(store, method, budget, seed)
    pretrain = _pretrained(store, selection)
    choice = f"{selection.method}-{selection.budget:g}-seed{selection.seed}"
    target = Path(out) if out else store.root / "exports" / f"{choice}-{format}"
    note = {
        "optidel": "export",
        "version": VERSION,
        "format": format,
        "index": selection.index.content,
        "select": selection.select.path.name,
        "pretrain": pretrain.path.name,
    }

    def fill(work: Workspace) -> int:
        frames = _training_frames(store, selection)
        ENCODERS[format](work, pretrain.file(ENCODER))
        _write_training_set(work, frames)
        with work.writing("README.md") as path:
            path.write_text(card_text(_card(format, selection, pretrain, frames)), encoding="utf-8")
        return frames[-1].image

    count = write_once(store, target, note, about_selection(selection), fill)
    return Export(
        path=target,
        format=format,
        images=count,
        method=selection.method,
        budget=selection.budget,
        seed=selection.seed,
        select=selection.select.path.name,
    )


def _pretrained(store: Store, selection: ExportedSelection) -> Artifact:
    """The newest encoder that was trained on a selection.

    Raises:
        InputError: there is none.
    """
    artifacts = store.artifacts()
    compose = selection.compose
    pixels = [compose] if compose else made_from([selection.index], artifacts, "pixels")
    chosen = {artifact.path for artifact in made_from([selection.select], artifacts, "pretrain")}
    # Equal choices share their encoder; another corpus may have rows of the same numbers.
    trained = [artifact for artifact in made_from(pixels, artifacts, "pretrain") if artifact.path in chosen]
    of_seed = [artifact for artifact in trained if _config(artifact)["seed"] == selection.seed]
    if not of_seed:
        raise InputError(
            f"no encoder is pre-trained on {selection.select.path.name} (method {selection.method}, "
            f"seed {selection.seed}) yet; run `optidel pretrain` with the same options first"
        )
    if len(of_seed) > 1:
        say(
            f"{len(of_seed)} encoders were trained on this selection; the newest, {of_seed[-1].path.name}, "
            "is taken"
        )
    return of_seed[-1]


def _config(pretrain: Artifact) -> dict[str, Any]:
    config: dict[str, Any] = pretrain.json(MANIFEST)["config"]
    return config


def _training_frames(store: Store, selection: ExportedSelection) -> list[TrainingFrame]:
    """Every frame that the encoder was trained on, image by image, best first."""
    corpus = Corpus.load(selection.index)
    columns = zip(corpus.column("id"), corpus.column("sha256"), corpus.column("group"), strict=True)
    known = {name: (sha256, group) for name, sha256, group in columns}
    if selection.compose:
        composites = from_table(Composite, selection.compose.table("composites.parquet"))
        images = [composite.sources for composite in composites]
    else:
        kept = selection.select.table("selection.parquet").filter("kept").sort("rank")
        images = [(name,) for name in kept["id"]]

    grouped = any(group is not None for _, group in known.values())
    # The key is made in the run folder where it is first needed.
    names = names_of("hashed", store.root) if grouped else names_of("plain", None)
    frames = []
    for number, sources in enumerate(images, start=1):
        # A frame may give several patches to an image.
        for source in dict.fromkeys(sources):
            sha256, group = known[source]
            hidden = None if group is None else names(group)
            frames.append(TrainingFrame(image=number, sha256=sha256, group=hidden))
    return frames


def _write_training_set(work: Workspace, frames: list[TrainingFrame]) -> None:
    with work.writing(TRAINING_SET) as path, path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["image", "sha256", "group"])
        for frame in frames:
            writer.writerow([frame.image, frame.sha256, frame.group or ""])


def _card(format: str, selection: ExportedSelection, pretrain: Artifact, frames: list[TrainingFrame]) -> Card:
    folder = pretrain.file(ENCODER)
    config = _config(pretrain)
    groups = {frame.group for frame in frames if frame.group is not None}
    training_set = TrainingSet(
        images=frames[-1].image,
        frames=len({frame.sha256 for frame in frames}),
        groups=len(groups) or None,
        composed=selection.compose is not None,
        corpus=int(selection.index.json("index.json")["frames"]),
        index=selection.index.content,
    )
    return Card(
        format=format,
        model=json.loads((folder / "config.json").read_text()),
        convention=json.loads((folder / "preprocessor_config.json").read_text()),
        method=selection.method,
        budget=selection.budget,
        seed=selection.seed,
        select=selection.select.path.name,
        pretrain=pretrain.path.name,
        options=config["options"],
        training_set=training_set,
    )
