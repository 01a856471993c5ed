"""Immutable, resumable artifacts: ``RUN/<step>-<fingerprint>/`` with a manifest written last.

A step's fingerprint is a hash of its name, code version, config and the content of its inputs; paths never
enter it. A step is built in ``….partial`` under a file lock, file by file, each written atomically; then the
manifest, then one rename. Same inputs: reuse.
Killed: the files already there stay and the step goes on. Changed config: a new folder beside the old.
Damaged: the manifest holds a hash of every file, and each file is compared with it when a process first
reads it.
"""

import errno
import glob
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from filelock import FileLock, Timeout

from optidel.errors import OptidelError, StoreError
from optidel.progress import bar, say
from optidel.remote import refuse_url

FORMAT = 1
# Says that a folder is a run, and of which format.
MARKER = "run.json"
MANIFEST = "manifest.json"
# The one file of an artifact that differs between equal runs: wall-clock seconds. It is not part of the
# manifest.
COST = "cost.json"
# Folder in a workspace for what only resuming needs (shards, checkpoints): it goes when everything else is
# safe.
PARTS = "parts"
LOCKS = ".locks"

# Of a file's BLAKE2b hash: 128 bits, so that no two files of one disk are confused by chance.
HASH_BYTES = 16

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
# Free bytes under which a library's failure to write is put down to the full disk.
NEARLY_FULL = 1 << 16
# Rows written as JSON at once: 10 MB of objects.
DIGESTED = 1 << 15


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(*parts: bytes) -> str:
    """First 16 hex digits of the BLAKE2b hash of the parts, length-prefixed."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(len(part).to_bytes(8, "little") + part)
    return state.hexdigest()


def rows_digest(rows: pl.DataFrame | pl.Series) -> str:
    """The digest of a table's rows, or a column's values, as one JSON list that is never whole in memory.

    Args:
        rows: n rows, each a list of values, or n values.
    """
    # Written twice, for the length comes first.
    length = sum(len(text) for text in _in_blocks(rows))
    state = hashlib.blake2b(digest_size=8)
    state.update(length.to_bytes(8, "little"))
    for text in _in_blocks(rows):
        state.update(text)
    return state.hexdigest()


def _in_blocks(rows: pl.DataFrame | pl.Series) -> Iterator[bytes]:
    """What ``canonical`` makes of all rows, in pieces."""
    yield b"["
    for start in range(0, len(rows), DIGESTED):
        block = rows.slice(start, DIGESTED)
        values = block.rows() if isinstance(block, pl.DataFrame) else block.to_list()
        separator = b"," if start else b""
        yield separator + canonical(values)[1:-1]  # without the brackets
    yield b"]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A finished step on disk.

    Args:
        path: its folder.
        step: name of the step.
        fingerprint: 16 hex digits that stand for everything it was made from.
        content: what later steps depend on; the fingerprint unless the step declared its own.
        hashes: BLAKE2b of each file, by POSIX path; empty in runs of the first version, which had none.
    """

    path: Path
    step: str
    fingerprint: str
    content: str
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def file(self, name: str) -> Path:
        """Path of a file, or of a folder with all that is in it, compared with its hash when this process
        first reads it.

        Raises:
            StoreError: the file was changed or is missing; the folder to delete is named.
        """
        inside = f"{name}/"
        parts = [name] if name in self.hashes else [part for part in self.hashes if part.startswith(inside)]
        for part in parts:
            _compare(self.path, part, self.hashes[part])
        return self.path / name

    def json(self, name: str) -> Any:
        """A JSON file of the artifact."""
        return _parsed(self.path, self.file(name), lambda path: json.loads(path.read_bytes()))

    def table(self, name: str) -> pl.DataFrame:
        """A Parquet file of the artifact."""
        table: pl.DataFrame = _parsed(self.path, self.file(name), pl.read_parquet)
        return table

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """A ``.npy`` file of the artifact, memory-mapped read-only."""
        array: np.ndarray[Any, Any] = _parsed(self.path, self.file(name), _mapped)
        return array

    @property
    def inputs(self) -> dict[str, str]:
        """Name to content of what the artifact was built from."""
        inputs: dict[str, str] = self.json(MANIFEST)["inputs"]
        return inputs

    @property
    def seconds(self) -> float:
        """Wall-clock seconds the step took, over all its resumed attempts; 0 where the note is damaged."""
        seconds = _seconds(self.path)
        if seconds is None:
            say(f"{self.path.name}: {COST} is damaged; its seconds count as 0")
        return seconds or 0.0


class Workspace:
    """The unfinished folder of one step: write files here; what is here after a kill need not be written
    again.
    """

    def __init__(self, path: Path) -> None:
        """Take over ``path``, with what an earlier attempt left there."""
        self.path = path
        self.content: str | None = None
        self._open: list[np.memmap[Any, Any]] = []
        self._spent = _seconds(path) or 0.0
        self._started = time.monotonic()

    def has(self, name: str) -> bool:
        """Whether ``name`` was finished, now or before a kill."""
        return (self.path / name).exists()

    def part(self, name: str) -> Path:
        """Path of a file that only resuming needs."""
        (self.path / PARTS).mkdir(exist_ok=True)
        return self.path / PARTS / name

    def table(self, name: str) -> pl.DataFrame:
        """A Parquet file written before."""
        table: pl.DataFrame = _parsed(self.path, self.path / name, pl.read_parquet)
        return table

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Write a file, or make a folder, at the yielded path; when the block ends without an error it
        becomes ``name``, atomically.
        """
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".tmp-{target.name}")
        _remove(scratch)  # what a kill left half-written must not mix with what comes now
        yield scratch
        _flush(scratch)
        scratch.replace(target)
        self.clock()

    def write_json(self, name: str, value: Any) -> None:
        """Indented JSON with sorted keys."""
        with self.writing(name) as path:
            path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")

    def write_table(self, name: str, table: pl.DataFrame) -> None:
        """Parquet."""
        with self.writing(name) as path:
            table.write_parquet(path, statistics=False)

    def write_array(self, name: str, array: np.ndarray[Any, Any]) -> None:
        """``.npy``, never pickled."""
        with self.writing(name) as path, path.open("wb") as handle:
            np.save(handle, array, allow_pickle=False)

    def open_array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """A writable memory-mapped ``.npy`` of the final size, zeros at first, kept over a kill.

        ``has`` is true of it from now on: the step itself notes how far it came, in a file of its own.
        """
        path = self.path / name
        if not path.exists():
            scratch = path.with_name(f".tmp-{path.name}")
            created = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.dtype(dtype), shape=shape)
            created.flush()
            del created
            # A sparse file on a full disk is a bus error at some later write; a reserved one is an error
            # here, with a message.
            if hasattr(os, "posix_fallocate"):
                with scratch.open("r+b") as handle:
                    os.posix_fallocate(handle.fileno(), 0, scratch.stat().st_size)
            scratch.replace(path)
        array: np.memmap[Any, Any] = _parsed(self.path, path, _writable)
        self._open.append(array)
        return array

    def blocks(self, count: int, block: int, label: str) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) over ``count`` rows under a progress bar; blocks finished before a kill are
        skipped.

        A block counts as finished when the loop asks for the next; open arrays are flushed then.
        """
        mark = f"{PARTS}/{label}.done"
        finished = 0
        if self.has(mark):
            with suppress(ValueError):  # a damaged mark: the blocks are made again
                finished = int((self.path / mark).read_text())
        with bar(label, count, finished) as advance:
            for start in range(finished, count, block):
                stop = min(start + block, count)
                yield start, stop
                for array in self._open:
                    array.flush()
                with self.writing(mark) as scratch:
                    scratch.write_text(str(stop))
                advance(stop - start)

    def charge(self, seconds: float) -> None:
        """Count what another artifact cost as this step's own: its result is a part of that one's."""
        self._spent += seconds

    def clock(self) -> float:
        """Seconds spent on this step so far, over all attempts; also noted on disk."""
        seconds = self._spent + time.monotonic() - self._started
        note: dict[str, Any] = {"seconds": round(seconds, 3), "finished": time.time_ns()}
        note["check"] = _cost_check(note)
        # Not flushed here: it is written after every file, and a lost note costs some seconds of a sum.
        scratch = self.path / f".tmp-{COST}"
        scratch.write_text(json.dumps(note) + "\n")
        scratch.replace(self.path / COST)
        return seconds


class Store:
    """A run folder.

    Raises:
        StoreError: the folder holds something else, or a run of another format.
    """

    def __init__(self, root: Path | str, *, look: bool = False) -> None:
        """Open or create the run folder ``root``.

        Args:
            root: the folder.
            look: make nothing; ``build`` only names what it would return.
        """
        self.root = Path(root)
        self.look = look
        marker = self.root / MARKER
        refuse_url(root)
        with disk_errors(self.root):
            if self.root.exists() and not self.root.is_dir():
                raise StoreError(f"the run folder {self.root} is a file; pass a folder")
            if not marker.exists():
                self._refuse_foreign()
                self._mark()
            elif not marker.read_bytes().strip(b"\0") and (self.root / LOCKS).is_dir():
                self._mark()  # lost to a power cut: what lies in the folder is a run all the same
            with suppress(OSError):  # a run on a read-only disk can be read; a step that is made says it
                (self.root / LOCKS).mkdir(exist_ok=True)
            text = marker.read_bytes()
        try:
            version = json.loads(text).get("format")
        except (ValueError, AttributeError) as error:
            raise StoreError(f"{marker} is not readable ({error}); pass another run folder") from error
        if version != FORMAT:
            raise StoreError(
                f"the run in {self.root} has format {version!r}, this version writes {FORMAT}; "
                "pass a new folder"
            )

    def _refuse_foreign(self) -> None:
        """Touch no folder that holds something else.

        Raises:
            StoreError: it does.
        """
        foreign = self.root.exists() and any(not path.name.startswith(".") for path in self.root.iterdir())
        # Looked at again: another process may just have started this run.
        if foreign and not (self.root / MARKER).exists():
            raise StoreError(
                f"the run folder {self.root} is not empty and holds no run of OptiDEL (no {MARKER}); "
                "pass a new or empty folder"
            )

    def _mark(self) -> None:
        """Write the marker of a run."""
        (self.root / LOCKS).mkdir(parents=True, exist_ok=True)
        scratch = self.root / f".tmp-run-{os.getpid()}"
        scratch.write_text(json.dumps({"optidel": "run", "format": FORMAT}) + "\n")
        _flush(scratch)
        scratch.replace(self.root / MARKER)
        _flush_folder(self.root)

    def artifacts(self, step: str | None = None) -> list[Artifact]:
        """Finished artifacts, of one step where given, oldest first."""
        folders = "*" if step is None else f"{step}-*"
        artifacts = []
        for manifest in self.root.glob(f"{folders}/{MANIFEST}"):
            if manifest.parent.name.endswith(".partial"):
                continue
            artifact = read_artifact(manifest.parent)
            if step is None or artifact.step == step:
                artifacts.append(artifact)
        return sorted(artifacts, key=_age)

    def build(
        self,
        step: str,
        make: Callable[[Workspace], None],
        *,
        version: int,
        config: Mapping[str, Any],
        inputs: Mapping[str, Artifact] | None = None,
    ) -> Artifact:
        """Return the finished artifact of ``step``, making it only where it does not exist.

        Where the store only looks, an artifact that does not exist is named with the content it would have,
        were it not to declare its own.

        Args:
            step: name, first part of the folder name.
            make: writes the files into the workspace; on a second call after a kill it finds what it had
                written.
            version: version of the step's code; raise it when the step's output changes.
            config: JSON values that determine the output.
            inputs: artifacts read.

        Raises:
            StoreError: disk full or not writable.
        """
        origin = _contents(inputs)
        fingerprint = _fingerprint(step, version, config, origin)
        final = self.root / f"{step}-{fingerprint}"
        partial = final.with_name(final.name + ".partial")
        if self.look:
            return (
                read_artifact(final)
                if final.exists()
                else Artifact(path=final, step=step, fingerprint=fingerprint, content=fingerprint)
            )
        with disk_errors(self.root), self._locked(final.name):
            if final.exists():
                return read_artifact(final)
            partial.mkdir(exist_ok=True)
            workspace = Workspace(partial)
            if not workspace.has(MANIFEST):  # else killed while tidying up
                make(workspace)
                for leftover in list(partial.rglob(".tmp-*")):
                    _remove(leftover)
                files = _files(partial)
                manifest = {
                    "step": step,
                    "version": version,
                    "config": dict(config),
                    "inputs": origin,
                    "fingerprint": fingerprint,
                    "content": workspace.content or fingerprint,
                    "files": {name: path.stat().st_size for name, path in files.items()},
                    "hashes": {name: _hash(path) for name, path in files.items()},
                }
                manifest["check"] = digest(canonical(manifest))
                _flush_folders(partial)  # before the manifest says that all is there
                workspace.write_json(MANIFEST, manifest)
            for name in (PARTS, f".tmp-{COST}"):
                _remove(partial / name)
            _flush(partial / COST)
            _flush_folder(partial)
            partial.rename(final)
            _flush_folder(self.root)
        return read_artifact(final)

    def finished(
        self,
        step: str,
        *,
        version: int,
        config: Mapping[str, Any],
        inputs: Mapping[str, Artifact] | None = None,
    ) -> Artifact | None:
        """The artifact that :meth:`build` would find, or None where it would make one."""
        origin = _contents(inputs)
        path = self.root / f"{step}-{_fingerprint(step, version, config, origin)}"
        return read_artifact(path) if path.exists() else None

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = FileLock(self.root / LOCKS / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is building {name}; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A folder of a run that cannot be trusted, and why."""

    folder: Path
    reason: str


def check(root: Path | str) -> list[Damage]:
    """Compare every file of every artifact of a run with its manifest.

    Artifacts of the first version hold no hashes: of them sizes are compared, and tables, arrays and JSON
    files are parsed.

    Raises:
        StoreError: the folder holds no run.
    """
    folder = Path(root)
    if not (folder / MARKER).is_file():
        raise StoreError(f"{folder} holds no run of OptiDEL (no {MARKER}); pass the folder given to --out")
    damages = []
    for path in sorted(_artifact_folders(folder)):
        try:
            artifact = read_artifact(path)
            for name in _files(path):
                _read_whole(artifact, name)
            if _seconds(path) is None:
                raise StoreError(f"{path / COST} is damaged; {_remedy(path)}")
        except StoreError as error:
            damages.append(Damage(folder=path, reason=str(error)))
    return damages


def _artifact_folders(root: Path) -> Iterator[Path]:
    """Finished artifacts, also those that have lost their manifest."""
    for path in root.iterdir():
        _, _, fingerprint = path.name.rpartition("-")
        is_fingerprint = len(fingerprint) == 16 and set(fingerprint) <= set("0123456789abcdef")
        if path.is_dir() and (is_fingerprint or (path / MANIFEST).exists()):
            yield path


def _read_whole(artifact: Artifact, name: str) -> None:
    """Compare a file with its hash, or parse it where the run is of the first version."""
    if artifact.hashes:
        artifact.file(name)
    elif name.endswith(".json"):
        artifact.json(name)
    elif name.endswith(".parquet"):
        artifact.table(name)
    elif name.endswith(".npy"):
        artifact.array(name)


def _files(folder: Path) -> dict[str, Path]:
    """Every file that belongs to the artifact, by POSIX path."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        belongs = name not in (COST, MANIFEST) and not name.startswith(f"{PARTS}/")
        if path.is_file() and belongs:
            files[name] = path
    return files


def _hash(path: Path) -> str:
    """BLAKE2b of a file's bytes, as hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()


# What files were when this process compared them: inode, size and time of the last change of any kind.
_compared: dict[Path, tuple[int, int, int]] = {}


def _compare(folder: Path, name: str, expected: str) -> None:
    """Compare a file of an artifact with its hash, unless this process did so since the file last changed."""
    path = folder / name
    try:
        status = path.stat()
        stamp = (status.st_ino, status.st_size, status.st_ctime_ns)
        # The time of a change of any kind: unlike that of the last write, nobody can set it.
        if _compared.get(path) == stamp:
            return
        actual = _hash(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); {_remedy(folder)}") from error
    if actual != expected:
        raise StoreError(f"{path} is not what was written: its hash differs; {_remedy(folder)}")
    _compared[path] = stamp


def _parsed(folder: Path, path: Path, parse: Callable[[Path], Any]) -> Any:
    """Parse a file of an artifact; whatever a damaged one makes a library raise becomes one sentence."""
    try:
        return parse(path)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # NumPy alone raises a tokenizer's errors, a zip file's and its own
        raise StoreError(f"{path} is damaged ({type(error).__name__}); {_remedy(folder)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what Polars raises is no Exception
            raise
        raise StoreError(f"{path} is damaged; {_remedy(folder)}") from error


def _mapped(path: Path) -> np.ndarray[Any, Any]:
    mapped: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _writable(path: Path) -> np.memmap[Any, Any]:
    return np.lib.format.open_memmap(path, mode="r+")


def _seconds(folder: Path) -> float | None:
    """The seconds noted in a folder: 0 without a note, None where the note is damaged."""
    if not (folder / COST).exists():
        return 0.0
    note = _cost(folder)
    return None if note is None else float(note["seconds"])


def _cost(folder: Path) -> dict[str, Any] | None:
    """What a step noted of its cost; None where there is no note, or it is damaged."""
    try:
        note: dict[str, Any] = json.loads((folder / COST).read_bytes())
        is_first_version = note.keys() == {"seconds"}
        is_sound = is_first_version or note.get("check") == _cost_check(note)
        float(note["seconds"])
        int(note.get("finished", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return note if is_sound else None


def _cost_check(note: Mapping[str, Any]) -> str:
    """Hash of the numbers of a note. Notes of the second version had no time of the finish."""
    numbers = [note["seconds"], note["finished"]] if "finished" in note else note["seconds"]
    return digest(canonical(numbers))


def _age(artifact: Artifact) -> tuple[int, str]:
    """By which artifacts are ordered: when they were finished, then the name.

    The file system's time is asked only where that was not noted: copying a run changes it.
    """
    note = _cost(artifact.path)
    if note and "finished" in note:
        return int(note["finished"]), artifact.path.name
    return (artifact.path / MANIFEST).stat().st_mtime_ns, artifact.path.name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Bring a file, or all files of a folder, to the disk: what is renamed later must be whole after a power
    cut.
    """
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def _flush_folder(path: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):  # Windows opens no folder, and some network disks flush none
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _flush_folders(path: Path) -> None:
    """The same for a folder and those in it."""
    for folder in (*(inner for inner in path.rglob("*") if inner.is_dir()), path):
        _flush_folder(folder)


def _remedy(path: Path) -> str:
    return f"delete the folder {path.name} and run the same command again"


def read_artifact(path: Path) -> Artifact:
    """The artifact of a folder, all its files there and of the right size.

    Raises:
        StoreError: not so; the folder to delete is named.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        sizes = dict(manifest["files"])
        artifact = Artifact(
            path=path,
            step=manifest["step"],
            fingerprint=manifest["fingerprint"],
            content=manifest["content"],
            hashes=dict(manifest.get("hashes", {})),
        )
        _check_manifest(manifest, sizes)
    except FileNotFoundError as error:
        raise StoreError(f"{path} has no {MANIFEST}; {_remedy(path)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path / MANIFEST} is damaged ({error}); {_remedy(path)}") from error
    # Sizes at once, for they cost nothing; hashes when a file is read.
    for name, size in sizes.items():
        try:
            actual = (path / name).stat().st_size
        except OSError:
            raise StoreError(f"{path / name} is missing; {_remedy(path)}") from None
        if actual != size:
            raise StoreError(f"{path / name} has {actual} bytes, the manifest says {size}; {_remedy(path)}")
    return artifact


def _check_manifest(manifest: dict[str, Any], sizes: Mapping[str, int]) -> None:
    """Compare a manifest with the hash it holds of itself; of the first version, with its fingerprint.

    Raises:
        ValueError: it was changed.
        KeyError: something is missing.
    """
    # Either key alone means that the other was damaged, not that the run is of the first version.
    if "check" in manifest or "hashes" in manifest:
        rest = {name: value for name, value in manifest.items() if name != "check"}
        if manifest["check"] != digest(canonical(rest)) or manifest["hashes"].keys() != sizes.keys():
            raise ValueError("its own hash differs")
        return
    if manifest["fingerprint"] != _fingerprint(
        manifest["step"], manifest["version"], manifest["config"], manifest["inputs"]
    ):
        raise ValueError("its fingerprint differs")


def _contents(inputs: Mapping[str, Artifact] | None) -> dict[str, str]:
    return {name: artifact.content for name, artifact in sorted((inputs or {}).items())}


def _fingerprint(step: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """What stands for everything that an artifact is made from; ``inputs`` are name to content."""
    return digest(step.encode(), str(version).encode(), canonical(dict(config)), canonical(dict(inputs)))


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Full or read-only disks become one clear sentence; everything already written stays."""
    try:
        yield
    except OptidelError:
        raise
    except Exception as error:  # libraries wrap the system's error in what they like
        if _is_full(error, root):
            raise StoreError(
                f"no space left on the disk of {root}; free some and run the same command again, it continues"
            ) from error
        name = getattr(error, "filename", None) or root
        if (
            isinstance(error, OSError)
            and error.errno in FORBIDDEN
            and Path(os.fsdecode(name)).is_relative_to(root)
        ):
            raise StoreError(
                f"cannot write to {name}: {error.strerror}; pass a run folder you may write to"
            ) from error
        raise


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Write a file beside the artifacts at the yielded path; when the block ends without an error it becomes
    ``target``.

    Two processes may do so at once; what one that was killed left behind is removed by the next.

    Raises:
        StoreError: the disk is full or the folder cannot be written to.
    """
    # Of this machine alone: nobody knows whether a process of another one that shares the disk still writes.
    start, end = f".tmp-{socket.gethostname()}-", f"-{digest(target.name.encode())}{target.suffix}"
    scratch = target.with_name(f"{start}{os.getpid()}{end}")
    with disk_errors(target.parent):
        for leftover in target.parent.glob(f"{glob.escape(start)}*{glob.escape(end)}"):
            process = leftover.name.removeprefix(start).removesuffix(end)
            if process.isdigit() and not _runs(int(process)):
                leftover.unlink(missing_ok=True)
        try:
            yield scratch
            _flush(scratch)
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process of this machine is there; True where the system does not tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def newest(artifacts: Sequence[Artifact], content: str) -> Artifact | None:
    """Of artifacts, oldest first, the last one of that content."""
    return next((artifact for artifact in reversed(artifacts) if artifact.content == content), None)


def make_folder(path: Path) -> Path:
    """Make the folder of an output, and those above it.

    Raises:
        StoreError: a file stands in the way, or the disk is full or read-only.
    """
    refuse_url(path)
    with disk_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreError(
                f"{path} cannot be a folder, for a file stands in the way; pass another --out"
            ) from error
    return path


def _is_full(error: Exception, root: Path) -> bool:
    """Polars and safetensors wrap the system's error in their own; torch only says that a position is
    unexpected.
    """
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left on device" in str(error) or (
        root.exists() and shutil.disk_usage(root).free < NEARLY_FULL
    )
