"""Writing an export: into a hidden folder beside its place, resumed after a kill, renamed at the end."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from optidel.corpus.frames import Corpus
from optidel.corpus.names import Names, names_of
from optidel.corpus.tags import Tags, load_tags
from optidel.errors import InputError, RecipeError, StoreError, nearest
from optidel.export.formats import FORMATS, LEADING, READS
from optidel.export.job import Job
from optidel.export.manifest import FILE, manifest, write_manifest
from optidel.export.selection import ExportedSelection, find_selection
from optidel.runs.collect import open_store
from optidel.store import COST, PARTS, Store, Workspace, canonical, digest, disk_errors, make_folder

# Of what an export holds; raise it when that changes.
VERSION = 1

# The file that says which selection an export is.
NOTE = "export.json"


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
    # A full disk is one sentence, and what is written so far stays for the next attempt.
    with disk_errors(target.parent):
        make_folder(target.parent)
        with _lock(store, target):
            count = _finished(target, digest(canonical(note)))
            if count is None:
                count = _write(target, format, selection, note, naming, corpus, decided)
    return Export(
        path=target,
        format=format,
        images=count,
        method=selection.method,
        budget=selection.budget,
        seed=selection.seed,
        select=selection.select.path.name,
    )


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


def _lock(store: Store, target: Path) -> FileLock:
    """One process at a time writes an export; the run may lie on a disk that cannot be written to."""
    folder = store.root / ".locks"
    if not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir())
    resolved = str(target.resolve())
    mark = digest(resolved.encode())
    return FileLock(folder / f"export-{mark}.lock")


def _finished(target: Path, mark: str) -> int | None:
    """How many images a finished export of the same selection holds; None where ``target`` is new or empty.

    Raises:
        StoreError: it holds something else, or what was written there was changed.
    """
    if not target.exists():
        return None
    if target.is_dir() and not any(target.iterdir()):
        # The finished export is renamed to this place, which must be free.
        target.rmdir()
        return None

    try:
        note = json.loads((target / NOTE).read_text())
        same = note["mark"] == mark
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(
            f"{target} is not empty and holds no export of OptiDEL; pass --out with a new or empty folder"
        ) from None
    if not same:
        content = f"{note.get('images')} images of {note.get('method')} as {note.get('format')}"
        raise StoreError(
            f"{target} holds another export ({content}, {note.get('select')}); "
            "pass --out with a new or empty folder, or delete it"
        )
    # Sizes alone are compared: reading an export again would take as long as writing it.
    if note["files"] != _listing(target):
        raise StoreError(
            f"{target} was changed after it was exported; delete it and run the same command again"
        )
    return int(note["images"])


def _write(
    target: Path,
    format: str,
    selection: ExportedSelection,
    note: Mapping[str, Any],
    names: Names,
    corpus: Corpus,
    tags: Tags,
) -> int:
    """Fill a hidden folder beside ``target``, resuming, then rename it."""
    mark = digest(canonical(dict(note)))
    # Hidden and named by its content: another selection never continues what this one began.
    partial = target.with_name(f".{target.name}-{mark}.partial")
    partial.mkdir(exist_ok=True)
    work = Workspace(partial)

    table = manifest(selection, corpus, tags)
    if table.is_empty():
        raise InputError("every chosen image is tagged drop, so there is nothing to export; tag fewer")
    job = Job(work=work, rows=table, selection=selection, corpus=corpus)
    paths = FORMATS[format](job)
    with work.writing(FILE) as scratch:
        write_manifest(table, paths, names, scratch)

    # The marks of a resumable write are of no use to whoever gets the folder.
    shutil.rmtree(partial / PARTS, ignore_errors=True)
    (partial / COST).unlink(missing_ok=True)
    written = {
        **note,
        "method": selection.method,
        "budget": selection.budget,
        "seed": selection.seed,
        "unit": selection.unit,
        "images": len(table),
        "mark": mark,
        "files": _listing(partial),
    }
    text = json.dumps(written, indent=1, sort_keys=True)
    (partial / NOTE).write_text(f"{text}\n")
    partial.rename(target)
    return len(table)


def _listing(folder: Path) -> str:
    """Hash of the names and sizes of everything in an export but the note that holds it."""
    files = []
    for path in sorted(folder.rglob("*")):
        is_file = path.is_symlink() or path.is_file()
        if is_file and path.name != NOTE:
            name = path.relative_to(folder).as_posix()
            files.append([name, path.lstat().st_size])
    return digest(canonical(files))
