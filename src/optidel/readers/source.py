"""Where bytes come from: a file on disk, or a member of an archive already in memory."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to decode.

    ``name`` is its POSIX path, relative to the corpus root or to its archive; readers take the ending from
    it. Exactly one of ``path`` (a file on disk) and ``data`` (a member of an archive, read within the limits)
    is given.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None

    def open(self) -> BinaryIO:
        """A seekable stream from the start."""
        if self.path is not None:
            return self.path.open("rb")
        return BytesIO(self.data or b"")

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.path is not None else len(self.data or b"")
