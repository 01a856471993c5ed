"""Where bytes come from: a file on disk, or a member of an archive already in memory."""

from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from optidel.errors import InputError

SIGN_OF_LIFE: ContextVar[Callable[[], None]] = ContextVar("sign of life", default=lambda: None)
"""Called with every header and slice of a series that is read: a process that decodes may take some seconds
for each of them.
"""


class Shelf(Protocol):
    """The files among which the other slices of a DICOM series are looked for: of a folder, or of an archive.

    Equal as long as nothing changed there.
    """

    def __hash__(self) -> int:
        """For caches."""

    def files(self) -> Iterator["Source"]:
        """Every file once, in any order that is always the same."""

    def again(self, names: Collection[str]) -> Iterator["Source"]:
        """Those of these names, in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to decode.

    ``name`` is its POSIX path, relative to the corpus root or to its archive; readers take the ending from
    it. Exactly one of ``path`` (a file on disk) and ``data`` (a member of an archive, read within the limits)
    is given. ``shelf``: the archive of a member.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    shelf: Shelf | None = None

    def open(self) -> BinaryIO:
        """A seekable stream from the start."""
        if self.path is not None:
            return self.path.open("rb")
        return BytesIO(self.data or b"")

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.path is not None else len(self.data or b"")

    def sibling(self, name: str) -> "Source":
        """A file that this one names, beside it: a plain file of the same folder, and no link out of it.

        Args:
            name: as stated in this file.

        Raises:
            InputError: it lies elsewhere, is no regular file, or this one is inside an archive.
        """
        if self.path is None:
            raise InputError("names a second file, which is not looked for inside an archive; unpack it")
        path = self.path.with_name(name) if name and not set(name) & set("/\\\0") and name != ".." else None
        if path is None or path.is_symlink() or not path.is_file():
            raise InputError("names a second file that is not beside it in the same folder")
        return Source(name=f"{self.name.rpartition('/')[0]}/{name}".lstrip("/"), path=path)
