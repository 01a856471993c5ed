"""The files under a folder, without following anything that could loop, block or lead elsewhere."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optidel.errors import InputError
from optidel.records import Rejected
from optidel.store import canonical, digest

SKIPPED = {
    "dicomdir": "skipped: a DICOMDIR is a table of contents; the files it lists are read by themselves",
    "dataset_info.json": "skipped: describes a Hugging Face dataset and holds no image",
    "dataset_dict.json": "skipped: describes a Hugging Face dataset and holds no image",
    "state.json": "skipped: describes a Hugging Face dataset and holds no image",
}
"""Files that accompany images, by name in lower case, and what the quarantine says of them."""

KINDS = (
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file: POSIX path relative to the root, bytes, and time of the last change in ns. A link
    counts as what it leads to.
    """

    source: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies under ``root``: ``files`` sorted by path, and what is refused by its kind or name alone."""

    root: Path
    files: list[File]
    refused: list[Rejected]

    @property
    def digest(self) -> str:
        """Changes when a file is added, removed or written."""
        files = [[file.source, file.size, file.mtime_ns] for file in self.files]
        return digest(canonical([files, [[item.source, item.reason] for item in self.refused]]))


def walk(path: Path) -> Listing:
    """List a folder, or the folder of one file with that file alone. Hidden files and folders are passed
    over.

    Links to files are read as the files they lead to; links to folders are never followed, so no loop can
    arise.

    Raises:
        InputError: there is nothing at ``path``, or the folder is empty.
    """
    if not path.exists():
        raise InputError(f"no folder or file at {path}; pass the folder that holds the images")
    root = path.resolve() if path.is_dir() else path.resolve().parent
    files: list[File] = []
    refused: list[Rejected] = []
    for source, outcome in [_look(path.name, path.resolve())] if path.is_file() else _entries(root, ""):
        if isinstance(outcome, str):
            refused.append(Rejected(source=printable(source), reason=outcome))
        else:
            files.append(File(source=source, size=outcome.st_size, mtime_ns=outcome.st_mtime_ns))
    if not files and not refused:
        raise InputError(f"the folder {path} is empty; pass the folder that holds the images")
    files.sort(key=lambda file: file.source)
    refused.sort(key=lambda item: item.source)
    return Listing(root=root, files=files, refused=refused)


def _entries(folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result | str]]:
    """Path and either its status or why it is refused; folders are kept on a list of our own, so depth costs
    no stack.
    """
    waiting = [(folder, prefix)]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except OSError as error:
            yield prefix.rstrip("/") or ".", f"cannot be listed: {error.strerror}"
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), f"{prefix}{entry.name}/"))
            else:
                yield _look(prefix + entry.name, Path(entry.path))


def _look(source: str, path: Path) -> tuple[str, os.stat_result | str]:
    """The status of one entry, or why it is refused unopened."""
    if not _is_text(source):
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
    if stat.S_ISDIR(status.st_mode):
        return source, "is a link to a folder; links to folders are not followed"
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in KINDS if test(status.st_mode)), "special file")
        return source, f"is a {kind}, no regular file"
    return source, SKIPPED.get(path.name.lower(), status)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """A file's name for tables and terminals: bytes that are no UTF-8 and control characters are written as
    escapes.
    """
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
