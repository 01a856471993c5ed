"""Archives read in place: zip, tar, WebDataset shards, and the shards of Hugging Face datasets. Nothing is
ever written to disk.
"""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from optidel.archives.member import MAX_LABEL, MAX_MEMBER, Member
from optidel.errors import InputError
from optidel.readers.source import Source
from optidel.words import is_text

# Times its packed size to which an archive may unpack; pictures, text and tables stay under 20.
RATIO = 100

# Bytes to which anything may unpack, whatever its ratio: an empty mask packs 1,000 to 1 and does no harm.
HARMLESS = 64 << 20

# Bytes of a label file beside an image; a label is a word, so longer files are something else.
MAX_SIDECAR = 1 << 16

OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".tar": lambda raw: raw,
    ".tar.gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".tgz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".tar.bz2": bz2.BZ2File,
    ".tbz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
    ".txz": lzma.LZMAFile,
}
TABLES = (".parquet", ".arrow")

# First bytes of archives; a tar that is not packed has its mark behind its first name (POSIX ustar header).
PACKED = (
    (b"PK\x03\x04", ".zip"),
    (b"\x1f\x8b", ".tar.gz"),
    (b"BZh", ".tar.bz2"),
    (b"\xfd7zXZ\0", ".tar.xz"),
)
TAR_MARK = slice(257, 262)

# Archives inside an archive are refused: what they hold could only be bounded by unpacking them.
NESTED = (*OPENERS, *TABLES, ".zip", ".7z", ".rar", ".tar.zst")

# Files beside an image of the same name; a ``.txt`` is a caption or a report and is not read.
SIDECARS = (".cls", ".json", ".txt")

# What the decompressors raise on damaged bytes.
BROKEN = (EOFError, OSError, lzma.LZMAError, zlib.error)

# Bit of a zip entry's flags (APPNOTE 4.4.4).
ENCRYPTED = 1

TWICE = "comes twice in the archive; the first is taken"

# Keys of a ``.json`` beside an image that hold its label; nothing else of it is read.
LABELS = ("label", "cls", "class")


class SpoiledError(InputError):
    """The checksum of a whole archive fails: something in it changed, and nothing says what, so all of it is
    quarantined.
    """


def ending(name: str) -> str:
    """The ending of an archive's name, in lower case; empty for what is none."""
    lower = name.lower()
    matches = (end for end in (*OPENERS, ".zip", *TABLES) if lower.endswith(end))
    return next(matches, "")


def members(source: Source) -> Iterator[Member]:
    """Entries of an archive in the order of the file; a file that is no archive is its own single entry.

    Raises:
        InputError: the archive is damaged from here on, or a bomb.
    """
    end = ending(source.name)
    if not end:
        yield Member(name="", source=source)
    elif end in TABLES:
        from optidel.archives.shards import rows  # Arrow is imported only where it is needed

        yield from rows(source, end)
    else:
        kind = packing(source, end)
        shelf = ArchiveShelf.of(source)
        for member in _zipped(source) if kind == ".zip" else _tarred(source, kind):
            inside = member.source and replace(member.source, shelf=shelf)
            yield replace(member, source=inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveShelf:
    """The members of a zip or tar; ``modified`` in nanoseconds."""

    path: Path
    modified: int

    @classmethod
    def of(cls, source: Source) -> "ArchiveShelf | None":
        """That of an archive on disk."""
        if source.path is None:
            return None
        return cls(path=source.path, modified=source.path.stat().st_mtime_ns)

    def files(self) -> Iterator[Source]:
        """Every member once, in the order of the archive, as far as it can be read."""
        try:
            for member in members(Source(name=self.path.name, path=self.path)):
                if member.source is not None:
                    yield member.source
        except (InputError, zipfile.BadZipFile, tarfile.TarError, *BROKEN):
            return  # whoever lists the archive says so

    def again(self, names: Collection[str]) -> Iterator[Source]:
        """Some of the members; a zip is asked for each, a tar read to the last of them."""
        source = Source(name=self.path.name, path=self.path)
        if packing(source, ending(source.name)) == ".zip":
            yield from (read_zipped(source, name) for name in names)
            return
        left = set(names)
        for inside in self.files():
            if inside.name in left:
                yield inside
                left.remove(inside.name)
            if not left:
                return


def packing(source: Source, end: str) -> str:
    """How an archive is packed, by its first bytes; ``end``, how it is called, where they do not say it.

    Many a ``.tar`` is a ``.tar.gz``.
    """
    with source.open() as raw:
        head = raw.read(TAR_MARK.stop)
    if head[TAR_MARK] == b"ustar":
        return ".tar"
    return next((kind for magic, kind in PACKED if head.startswith(magic)), end)


def key(name: str) -> str:
    """The path up to the first dot of the file name: what the files of one WebDataset sample share."""
    path = PurePosixPath(name)
    return (path.parent / path.name.partition(".")[0]).as_posix()


def _refusal(name: str, size: int, packed: int) -> str:
    """Why a member is refused unread, or an empty string."""
    if not is_text(name):  # no table could hold it
        return "has a name that is not UTF-8; rename it"
    path = PurePosixPath(name.replace("\\", "/"))
    has_drive = ":" in name.partition("/")[0]
    if path.is_absolute() or ".." in path.parts or "\0" in name or has_drive or not path.name:
        return "has a path that leads out of the archive"
    if "#" in name:
        return "has a # in its name, which marks places inside a file; rename it"
    if size > MAX_MEMBER:
        return f"declares {size} bytes, more than the limit of {MAX_MEMBER}; unpack the archive"
    # Sizes are as declared; the readers below compare them with what comes out.
    if size > HARMLESS and size > RATIO * max(packed, 1):
        return f"is a decompression bomb: {size} bytes from {packed}"
    if name.lower().endswith(NESTED):
        return "is an archive inside an archive; unpack it"
    return ""


def _shown(name: str) -> str:
    """A name whose bytes that are no UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _hidden(name: str) -> bool:
    if name.startswith("__MACOSX/"):  # where macOS keeps the resource forks of a zip
        return True
    return any(part.startswith(".") and part not in ("..", ".") for part in name.split("/"))


def _entry(name: str, read: Callable[[], bytes], size: int) -> Member:
    lower = name.lower()
    if not lower.endswith(SIDECARS):
        return Member(name=name, source=Source(name=name, data=read()))
    if lower.endswith(".txt") or size > MAX_SIDECAR:
        return Member(name=name)
    return Member(name=name, label=_label(name, read()))


def _label(name: str, text: bytes) -> str | None:
    """The label in a file beside an image: its text, or for JSON the value of ``label``, ``cls`` or
    ``class``.
    """
    try:
        value = json.loads(text) if name.lower().endswith(".json") else text.decode().strip()
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value = next((value[name] for name in LABELS if name in value), None)
    # In Python true and false are numbers, and no labels.
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value):
        return None
    return str(value)[:MAX_LABEL]


def _zipped(source: Source) -> Iterator[Member]:
    with source.open() as raw, zipfile.ZipFile(raw) as archive:
        entries = [item for item in archive.infolist() if not item.is_dir() and not _hidden(item.filename)]
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > max(MAX_MEMBER, RATIO * source.size):
            raise InputError(f"is a decompression bomb: {unpacked} bytes from {source.size}")

        names: set[str] = set()
        for entry in entries:
            yield _zip_member(archive, entry, entry.filename in names)
            names.add(entry.filename)


def _zip_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, repeated: bool) -> Member:
    name = entry.filename
    reason = _refusal(name, entry.file_size, entry.compress_size)
    if not reason and entry.flag_bits & ENCRYPTED:
        reason = "is encrypted; unpack it"
    if not reason and repeated:
        reason = TWICE
    if reason:
        return Member(name=name, reason=reason)
    try:
        return _entry(name, partial(archive.read, entry), entry.file_size)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, *BROKEN) as error:
        return Member(name=name, reason=f"cannot be unpacked ({type(error).__name__}: {error})")


def read_zipped(source: Source, name: str) -> Source:
    """One member again, without reading the others."""
    with source.open() as raw, zipfile.ZipFile(raw) as archive:
        entry = next((entry for entry in archive.infolist() if entry.filename == name), None)
        if entry is None or entry.file_size > MAX_MEMBER:
            raise InputError(f"{source.name}#{name} is no longer what was indexed; index the corpus again")
        return Source(name=name, data=archive.read(entry), shelf=ArchiveShelf.of(source))


class _Metered(io.RawIOBase):
    """The unpacked bytes of a compressed tar; refuses to give more than a bomb's ratio."""

    def __init__(self, raw: BinaryIO, stream: BinaryIO, size: int) -> None:
        self.raw, self.stream, self.size = raw, stream, size
        self.unpacked = 0

    def read(self, count: int = -1) -> bytes:
        try:
            block = self.stream.read(count)
        except BROKEN as error:
            raise SpoiledError(f"is damaged: {error}") from error
        self.unpacked += len(block)
        if self.unpacked > max(HARMLESS, RATIO * self.size):
            raise InputError(f"is a decompression bomb: {self.unpacked} bytes and more from {self.size}")
        return block


class _StrictTarInfo(tarfile.TarInfo):
    """A header that is damaged, or missing at the end of the file, is an error and not the silent end of the
    archive.
    """

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise InputError(f"is no tar, or damaged, at byte {tar.offset}: {error}") from error


def _tarred(source: Source, end: str) -> Iterator[Member]:
    with source.open() as raw:
        stream = _Metered(raw, OPENERS[end](raw), source.size)
        try:
            with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=_StrictTarInfo) as archive:
                yield from _tar_entries(archive)
        except (InputError, tarfile.TarError):
            if end != ".tar":
                _drain(stream)  # where the checksum fails too, the members before are in doubt as well
            raise
        if end != ".tar":
            _drain(stream)


def _drain(stream: "_Metered") -> None:
    """Read to the end of a compressed file: its checksum is behind the last byte."""
    while stream.read(1 << 20):
        pass


def _tar_entries(archive: tarfile.TarFile) -> Iterator[Member]:
    names: set[str] = set()
    for entry in archive:
        # Else the headers of a shard of a million entries stay in memory.
        archive.members = []  # type: ignore[attr-defined]
        name = entry.name.removeprefix("./")
        if entry.isdir() or _hidden(name):
            continue
        reason = _refusal(name, entry.size, entry.size)
        if not entry.isreg() or entry.issparse():
            reason = "is a link, a device or a sparse file, which are not read from archives"
        if not reason and name in names:
            reason = TWICE
        names.add(name)
        if reason:
            yield Member(name=_shown(name), reason=reason)
        else:
            yield _entry(name, partial(_untar, archive, entry), entry.size)


def _untar(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    handle = archive.extractfile(entry)
    try:
        data = handle.read() if handle else b""
    except tarfile.ReadError as error:
        raise InputError(f"ends inside {entry.name}") from error
    if len(data) != entry.size:
        raise InputError(f"ends inside {entry.name}")
    return data
