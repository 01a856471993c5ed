"""Frames of an index again: one pass over each file, whatever it is, and only the frames asked for."""

import atexit
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from optidel.archives.archive import ending, members, packing, read_zipped
from optidel.archives.member import Member
from optidel.corpus.companions import beside
from optidel.errors import InputError
from optidel.readers.decode import cropped, read_frames
from optidel.readers.decoded import Decoded, Window
from optidel.readers.source import Source
from optidel.records import Frame
from optidel.remote import FetchError, Root, blocks, kept_block


def read_rows(
    root: Root,
    frames: Sequence[Frame],
    rows: Sequence[int],
    crop: str = "none",
    window: Window | None = None,
) -> Iterator[tuple[int, Decoded]]:
    """Yield (row, frame) for some rows, file by file and in the order of each file, cropped as they were
    indexed.

    Args:
        root: folder of the corpus.
        frames: all frames of its index.
        rows: which of them.
        crop: ``none``, or ``content`` for the lit area of a frame alone.
        window: level and width in HU for CT; None for what the files state.

    Raises:
        InputError: a file is gone or is no longer what was indexed.
    """
    files = _by_file(frames, rows)
    for block in blocks(root, list(files), beside):
        for name in block.names:
            if name in block.failed:
                raise InputError(f"{root / name} {block.failed[name]}; run the command again, or index again")
            with _as_lies(block.root, root):
                for member, rows_of in files[name].items():
                    yield from _read(Source(name=name, path=block.root / name), member, rows_of, crop, window)


@contextmanager
def local_file(root: Root, name: str) -> Iterator[Path]:
    """The path of a file on this disk, with what is looked for beside it.

    Raises:
        InputError: it cannot be fetched; and in the block, errors that name the file name it where it lies.
    """
    if isinstance(root, Path):
        yield root / name
        return
    block = kept_block(root, name, beside)
    if name in block.failed:
        kept_block.cache_clear()
        raise InputError(f"{root / name} {block.failed[name]}; run the command again, or index again")
    with _as_lies(block.root, root):
        yield block.root / name


@contextmanager
def _as_lies(folder: Path, root: Root) -> Iterator[None]:
    """Errors name a file where it lies, not where it was fetched to."""
    try:
        yield
    except FetchError:
        raise
    except InputError as error:
        if folder == root:
            raise
        raise InputError(str(error).replace(str(folder), str(root))) from error


def _read(
    source: Source, member: str, rows_of: dict[str, list[int]], crop: str, window: Window | None
) -> Iterator[tuple[int, Decoded]]:
    """The frames of one file, or of one member of an archive."""
    try:
        inside = _cursor().member(source, member) if member else source
        for decoded in read_frames(inside, tuple(rows_of), window):
            frame = cropped(decoded) if crop == "content" else decoded
            for row in rows_of[decoded.locator]:
                yield row, frame
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{source.path} is gone or cannot be opened ({error.strerror}); index the corpus again"
        ) from error
    except Exception as error:  # it was decoded before, so it is another file now
        raise InputError(
            f"{source.path} is no longer what was indexed ({type(error).__name__}); index the corpus again"
        ) from error


def _by_file(frames: Sequence[Frame], rows: Sequence[int]) -> dict[str, dict[str, dict[str, list[int]]]]:
    """File to member of an archive to locator to rows."""
    files: dict[str, dict[str, dict[str, list[int]]]] = {}
    for row in rows:
        member, locator = place(frames[row])
        locators = files.setdefault(frames[row].source, {}).setdefault(member, {})
        locators.setdefault(locator, []).append(row)
    return files


def place(frame: Frame) -> tuple[str, str]:
    """The member of an archive that a frame lies in (empty for a plain file), and its locator in there."""
    if not ending(frame.source):
        return "", frame.locator
    # No member has a # in its name: the archive reader refuses them.
    member, _, locator = frame.locator.partition("#")
    return member, locator


class _Cursor:
    """Where the reading of an archive stands: members read in the order of the file cost one pass in all."""

    def __init__(self) -> None:
        self.state: tuple[str, int] | None = None
        self.entries: Iterator[Member] = iter(())
        self.passed: set[str] = set()
        self.last: Source | None = None

    def member(self, source: Source, name: str) -> Source:
        """One member of an archive; going back means starting again."""
        assert source.path
        state = (str(source.path), source.path.stat().st_mtime_ns)
        if state == self.state and self.last and self.last.name == name:
            return self.last
        # A zip has a table of contents; a tar can only be read on.
        if packing(source, ending(source.name)) == ".zip":
            self.state, self.last = state, read_zipped(source, name)
            return self.last
        # Another archive, or a member behind: start again.
        if state != self.state or name in self.passed:
            self.state, self.passed, self.entries = state, set(), members(source)
        for member in self.entries:
            self.passed.add(member.name)
            if member.name == name and member.source:
                self.last = member.source
                return member.source
        self.state = None
        raise InputError(f"{source.path} no longer holds {name}; index the corpus again")

    def close(self) -> None:
        """Let go of the archive."""
        self.state, self.last, self.entries = None, None, iter(())


_thread = threading.local()


@atexit.register
def _let_go() -> None:
    """Before modules are torn down, or the generator that holds an archive finds them gone."""
    _cursor().close()


def _cursor() -> _Cursor:
    if not hasattr(_thread, "cursor"):
        _thread.cursor = _Cursor()
    cursor: _Cursor = _thread.cursor
    return cursor
