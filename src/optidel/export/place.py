"""Where an export goes: into a hidden folder beside its place, resumed after a kill, renamed at the end."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from optidel.errors import StoreError
from optidel.store import COST, PARTS, Store, Workspace, canonical, digest, disk_errors, make_folder

# The file that says what an export is.
NOTE = "export.json"


def write_once(
    store: Store,
    target: Path,
    note: Mapping[str, Any],
    about: Mapping[str, Any],
    fill: Callable[[Workspace], int],
) -> int:
    """Write an export, or find it finished.

    Args:
        store: the run.
        target: folder to write, new or empty.
        note: what decides the content.
        about: what else the note says of it.
        fill: writes the files into a workspace, which may hold some of a killed attempt, and returns the
            number of images.

    Returns:
        The number of images.

    Raises:
        StoreError: ``target`` holds something else, or cannot be written.
    """
    # A full disk is one sentence, and what is written so far stays for the next attempt.
    with disk_errors(target.parent):
        make_folder(target.parent)
        with _lock(store, target):
            count = _finished(target, digest(canonical(dict(note))))
            if count is None:
                count = _write(target, note, about, fill)
    return count


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
    target: Path, note: Mapping[str, Any], about: Mapping[str, Any], fill: Callable[[Workspace], int]
) -> int:
    """Fill a hidden folder beside ``target``, resuming, then rename it."""
    mark = digest(canonical(dict(note)))
    # Hidden and named by its content: another selection never continues what this one began.
    partial = target.with_name(f".{target.name}-{mark}.partial")
    partial.mkdir(exist_ok=True)
    count = fill(Workspace(partial))

    # The marks of a resumable write are of no use to whoever gets the folder.
    shutil.rmtree(partial / PARTS, ignore_errors=True)
    (partial / COST).unlink(missing_ok=True)
    written = {**note, **about, "images": count, "mark": mark, "files": _listing(partial)}
    text = json.dumps(written, indent=1, sort_keys=True)
    (partial / NOTE).write_text(f"{text}\n")
    partial.rename(target)
    return count


def _listing(folder: Path) -> str:
    """Hash of the names and sizes of everything in an export but the note that holds it."""
    files = []
    for path in sorted(folder.rglob("*")):
        is_file = path.is_symlink() or path.is_file()
        if is_file and path.name != NOTE:
            name = path.relative_to(folder).as_posix()
            files.append([name, path.lstat().st_size])
    return digest(canonical(files))
