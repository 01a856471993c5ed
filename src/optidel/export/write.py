"""Writing the images of a selection in a format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optidel.corpus.frames import Corpus
from optidel.corpus.names import names_of
from optidel.corpus.tags import Tags, load_tags
from optidel.errors import InputError, RecipeError, nearest
from optidel.export.formats import FORMATS, LEADING, READS
from optidel.export.job import Job
from optidel.export.manifest import FILE, manifest, write_manifest
from optidel.export.place import write_once
from optidel.export.selection import ExportedSelection, find_selection
from optidel.runs.collect import open_store
from optidel.store import Workspace

# Of what an export holds; raise it when that changes.
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A written export: its folder and format, how many images, and which selection of the run they are."""

    path: Path
    format: str
    images: int
    method: str
    budget: float
    seed: int
    select: str


def export(
    run: str | Path,
    format: str,
    *,
    method: str | None = None,
    budget: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    names: str = "plain",
    tags: str | Path | None = None,
) -> Export:
    """Write the training set that a run chose, for another trainer.

    Killed, the same call continues; what is finished is reused.

    Args:
        run: run folder in which the method has selected (and, where it makes images, composed).
        format: a name in ``FORMATS``.
        method: whose selection; may be left out where the run holds one method's.
        budget: which of its budgets; may be left out where there is one.
        seed: which of its seeds; by default the lowest.
        out: folder to write, new or empty; by default one in the run folder.
        names: ``hashed`` writes keyed hashes in place of the names of files and groups.
        tags: CSV with the columns id and tag, as the gallery saves it. Frames tagged ``drop``, and composites
            of any, are left out; frames tagged ``keep`` come behind the rest where whole frames are exported.

    Raises:
        InputError: no run, no such selection, files that are gone, or frames that this format cannot hold.
        RecipeError: unknown format or method, or several methods or budgets to choose from.
        StoreError: ``out`` holds something else, or cannot be written.
    """
    _check(format, names)
    store = open_store(Path(run))
    naming = names_of(names, store.root)
    selection = find_selection(store, method, budget, seed)
    corpus = Corpus.load(selection.index)
    decided = _tags(tags, corpus, store.root)
    default = store.root / "exports" / _name(selection, format, names, decided)
    target = Path(out) if out else default

    note = _note(selection, format, names, decided)

    def fill(work: Workspace) -> int:
        table = manifest(selection, corpus, decided)
        if table.is_empty():
            raise InputError("every chosen image is tagged drop, so there is nothing to export; tag fewer")
        job = Job(work=work, rows=table, selection=selection, corpus=corpus)
        paths = FORMATS[format](job)
        with work.writing(FILE) as scratch:
            write_manifest(table, paths, naming, scratch)
        return len(table)

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


def about_selection(selection: ExportedSelection) -> dict[str, Any]:
    """What the note of an export says for people."""
    return {
        "method": selection.method,
        "budget": selection.budget,
        "seed": selection.seed,
        "unit": selection.unit,
    }


def _check(format: str, names: str) -> None:
    if format not in FORMATS:
        raise RecipeError(
            f"unknown format {format!r}{nearest(format, FORMATS)}; there are {', '.join(FORMATS)}"
        )
    if names == "hashed" and format in LEADING:
        raise RecipeError(
            f"the format {format} leads to your own files and so cannot hide their names; "
            "pass --format folder, or leave out --names hashed"
        )


def _tags(path: str | Path | None, corpus: Corpus, root: Path) -> Tags:
    """What a person decided; nothing without a file."""
    if path is None:
        return Tags()
    ids = [frame.id for frame in corpus.frames]
    return load_tags(Path(path), ids, names_of("hashed", root))


def _name(selection: ExportedSelection, format: str, names: str, tags: Tags) -> str:
    """The folder of an export inside the run."""
    choice = f"{selection.method}-{selection.budget:g}-seed{selection.seed}"
    name = f"{choice}-{format}"
    if tags != Tags():
        name = f"{name}-tags-{tags.digest[:8]}"
    if names == "plain":
        return name
    return f"{name}-{names}"


def _note(selection: ExportedSelection, format: str, names: str, tags: Tags) -> dict[str, Any]:
    """What decides the content of an export."""
    compose = selection.compose
    note: dict[str, Any] = {
        "optidel": "export",
        "version": VERSION,
        "format": format,
        "index": selection.index.content,
        "select": selection.select.path.name,
        "compose": compose.path.name if compose else None,
    }
    # Left out where nothing is hashed, so that exports of earlier versions are still recognised.
    if names != "plain":
        note["names"] = names
    if tags != Tags():
        note["tags"] = tags.digest
    # Key patches or an embedding may be made after an export that did without.
    for field in READS.get(format, ()):
        artifact = getattr(selection, field)
        note[field] = artifact.path.name if artifact else None
    return note
