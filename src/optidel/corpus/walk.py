"""The files under a folder, without following anything that could loop, block or lead elsewhere, and without
those that this project wrote itself.
"""

import json
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from optidel.errors import InputError
from optidel.progress import say
from optidel.records import Rejected
from optidel.remote import FETCH, Remote, Root, entries, is_safe, read_note
from optidel.store import COST, LOCKS, MANIFEST, MARKER, canonical, digest
from optidel.words import is_text

SKIPPED = {
    "dicomdir": "skipped: a DICOMDIR is a table of contents; the files it lists are read by themselves",
    "dataset_info.json": "skipped: describes a Hugging Face dataset and holds no image",
    "dataset_dict.json": "skipped: describes a Hugging Face dataset and holds no image",
    "state.json": "skipped: describes a Hugging Face dataset and holds no image",
}
"""Files that accompany images, by name in lower case, and what the quarantine says of them."""

EXPORT_NOTE = "export.json"

OWN_FIELDS: dict[str, dict[str, str | None]] = {
    MARKER: {"optidel": "run"},
    EXPORT_NOTE: {"optidel": "export"},
    MANIFEST: {"step": None, "fingerprint": None, "content": None},
}
"""What the JSON file says by which a folder of ours is recognised; None for any value. A bench is a run."""

OWN_KINDS = {MARKER: "run", EXPORT_NOTE: "export", MANIFEST: "artifact"}

NOTES = (*OWN_FIELDS, COST)
"""Files by which a folder of ours is known at a URL."""

LONGEST_NOTE = 1 << 26
"""Bytes up to which such a file is read: the manifest of a million files is half as long."""

KINDS = (
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file: POSIX path relative to the root, bytes, and time of the last change in ns; at a URL, a
    number that stands for the version. A link counts as what it leads to.
    """

    source: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies under ``root``: ``files`` sorted by path, and what is refused by its kind or name alone.

    ``beside``: files that are not indexed themselves, and hold the values of a header that is.
    """

    root: Root
    files: list[File]
    refused: list[Rejected]
    beside: tuple[File, ...] = ()

    @property
    def digest(self) -> str:
        """Changes when a file is added, removed or written."""
        files = [[file.source, file.size, file.mtime_ns] for file in self.files]
        parts = [files, [[item.source, item.reason] for item in self.refused]]
        if self.beside:
            parts.append([[file.source, file.size, file.mtime_ns] for file in self.beside])
        return digest(canonical(parts))


def walk(path: Root) -> Listing:
    """List a folder, or the folder of one file with that file alone. Hidden files and folders are passed
    over, and so are, aloud, the runs, exports and artifacts that lie in it.

    Links to files are read as the files they lead to; links to folders are never followed, so no loop can
    arise.

    Raises:
        InputError: there is nothing at ``path``, the folder is empty, or it is a run itself.
    """
    if isinstance(path, Remote):
        return _walk_url(path)
    if not path.exists():
        raise InputError(f"no folder or file at {path}; pass the folder that holds the images")
    root = path.resolve() if path.is_dir() else path.resolve().parent
    own_folders: list[str] = []
    entries = _entries(root, own_folders) if path.is_dir() else iter([_look(path.name, path.resolve())])
    files: list[File] = []
    refused: list[Rejected] = []
    for source, outcome in entries:
        if isinstance(outcome, str):
            refused.append(Rejected(source=printable(source), reason=outcome))
        else:
            files.append(File(source=source, size=outcome.st_size, mtime_ns=outcome.st_mtime_ns))

    return _listed(root, files, refused, own_folders)


def _listed(root: Root, files: list[File], refused: list[Rejected], own_folders: list[str]) -> Listing:
    """In order, and not empty."""
    if own_folders:
        names = ", ".join(map(printable, sorted(own_folders)))
        say(f"passed over, for OptiDEL wrote it: {names}")
    if not files and not refused:
        raise InputError(f"the folder {root} is empty; pass the folder that holds the images")
    # The system lists in any order; equal folders must give equal tables.
    files.sort(key=lambda file: file.source)
    refused.sort(key=lambda item: item.source)
    return Listing(root=root, files=files, refused=refused)


def _walk_url(remote: Remote) -> Listing:
    """List what lies at a URL, as a folder of this disk with the same files would be listed.

    Raises:
        InputError: nothing lies there, it cannot be listed, or it is a run itself.
    """
    files: list[File] = []
    refused: list[Rejected] = []
    folders: set[str] = set()
    notes: dict[str, set[str]] = {}
    for entry in entries(remote):
        if not entry.name:  # the URL is that of a file
            file = File(source=remote.name, size=entry.size or 0, mtime_ns=entry.stamp)
            return Listing(root=remote.parent, files=[file], refused=[])
        folder, _, name = entry.name.rpartition("/")
        if name in NOTES or f"/{LOCKS}/" in f"/{folder}/":
            at = f"/{folder}/".partition(f"/{LOCKS}/")[0].strip("/")
            notes.setdefault(at, set()).add(name if at == folder else LOCKS)
        if any(part.startswith(".") and part not in (".", "..") for part in entry.name.split("/")):
            continue
        why = _unfit(entry.name, entry.size)
        if why:
            refused.append(Rejected(source=printable(entry.name), reason=why))
            continue
        folders.add(folder)
        files.append(File(source=entry.name, size=entry.size or 0, mtime_ns=entry.stamp))

    own = {at: kind for at, names in notes.items() if (kind := _kind_at(remote, at, names))}
    root_kind = own.pop("", None)
    if root_kind and root_kind != "export":
        raise InputError(f"{remote} is of OptiDEL ({root_kind}); pass the folder that holds the images")
    above = {folder for inner in folders for folder in _above(inner)}
    own_above = {at for at in own if not any(folder in own for folder in _above(at) if folder != at)}

    def is_own(source: str) -> bool:
        return any(folder in own for folder in _above(source.rpartition("/")[0]))

    kept = [file for file in files if not is_own(file.source) and (file.size or file.source not in above)]
    both = {file.source for file in kept if file.source in above}
    refused += [
        Rejected(source=printable(name), reason="is a file and a folder; rename one") for name in both
    ]
    kept = [file for file in kept if file.source not in both]
    return _listed(remote, kept, refused, [f"{at} ({own[at]})" for at in own_above])


def _above(folder: str) -> list[str]:
    """A folder and those it lies in, without the root."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _unfit(name: str, size: int | None) -> str:
    """Why a key is refused unread, or an empty text."""
    if not is_text(name):
        return "has a name that is not UTF-8; rename it"
    if not is_safe(name):
        return "has a key that is no path: a part is empty, . or .., or too long; rename it"
    if size is None:
        return f"{FETCH}: the server does not state its size"
    return SKIPPED.get(name.rpartition("/")[2].lower(), "")


def _kind_at(remote: Remote, folder: str, names: Collection[str]) -> str | None:
    """As :func:`own_kind`, at a URL."""
    return _kind(folder, names, lambda name: read_note(remote, f"{folder}/{name}".lstrip("/"), LONGEST_NOTE))


def _entries(root: Path, own_folders: list[str]) -> Iterator[tuple[str, os.stat_result | str]]:
    """Path and either its status or why it is refused; folders are kept on a list of our own, so depth costs
    no stack. Folders that this project wrote are added to ``own_folders``.

    Raises:
        InputError: the root itself is a run or an artifact.
    """
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            everything = list(os.scandir(folder))
        except OSError as error:
            yield prefix.rstrip("/") or ".", f"cannot be listed: {error.strerror}"
            continue
        kind = own_kind(folder, {entry.name for entry in everything})
        if kind and prefix:
            # Its pictures and arrays are results: read as images they would be trained on.
            own_folders.append(f"{prefix} ({kind})")
            continue
        if kind and kind != "export":  # an exported training set may be a corpus, if it is asked for
            article = "an" if kind == "artifact" else "a"
            raise InputError(
                f"{folder} is {article} {kind} of OptiDEL; pass the folder that holds the images"
            )
        for entry in everything:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), f"{prefix}{entry.name}/"))
            else:
                yield _look(prefix + entry.name, Path(entry.path))


def own_kind(folder: Path, names: Collection[str]) -> str | None:
    """Whether this project wrote a folder: ``run`` (a bench is one too), ``export``, ``artifact`` or None.

    Args:
        folder: the folder.
        names: of everything in it.
    """
    return _kind(folder.name, names, lambda name: _note(folder / name))


def _kind(folder: str, names: Collection[str], note: Callable[[str], bytes | None]) -> str | None:
    for name, fields in OWN_FIELDS.items():
        if name in names and _says(note(name), fields):
            return OWN_KINDS[name]
    if MARKER in names and LOCKS in names:
        return "run"  # its marker is damaged
    if folder.endswith(".partial") and COST in names:
        return "artifact"  # of a run that was moved in pieces, unfinished
    return None


def _note(path: Path) -> bytes | None:
    """The bytes of a small regular file; None for anything else."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LONGEST_NOTE:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _says(note: bytes | None, fields: dict[str, str | None]) -> bool:
    """Whether a JSON file holds these fields."""
    try:
        content = json.loads(note or b"")
    except (ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    return all(name in content and value in (None, content[name]) for name, value in fields.items())


def _look(source: str, path: Path) -> tuple[str, os.stat_result | str]:
    """The status of one entry, or why it is refused unopened."""
    if not is_text(source):  # no table could hold it
        return source, "has a name that is not UTF-8; rename it"
    try:
        status = path.stat()
    except OSError as error:
        return (
            source,
            f"is a link that leads nowhere ({error.strerror})"
            if path.is_symlink()
            else f"cannot be opened: {error.strerror}",
        )
    # ``stat`` follows a link, so these are links: a folder itself never comes here.
    if stat.S_ISDIR(status.st_mode):
        return source, "is a link to a folder; links to folders are not followed"
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in KINDS if test(status.st_mode)), "special file")
        return source, f"is a {kind}, no regular file"
    return source, SKIPPED.get(path.name.lower(), status)


def printable(name: str) -> str:
    """A file's name for tables and terminals: bytes that are no UTF-8 and control characters are written as
    escapes.
    """
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
