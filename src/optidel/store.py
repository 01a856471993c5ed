"""Immutable, resumable artifacts: ``RUN/<step>-<fingerprint>/`` with a manifest written last.

A step's fingerprint is a hash of its name, code version, config and the content of its inputs; paths never
enter it. A step is built in ``….partial`` under a file lock, file by file, each written atomically; then the
manifest, then one rename. Same inputs: reuse.
Killed: the files already there stay and the step goes on. Changed config: a new folder beside the old.
"""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from filelock import FileLock, Timeout

from optidel.errors import OptidelError, StoreError
from optidel.progress import bar, say

FORMAT = 1
MANIFEST = "manifest.json"
COST = "cost.json"
"""The one file of an artifact that differs between equal runs: wall-clock seconds. It is not part of the
manifest.
"""
PARTS = "parts"
"""Folder in a workspace for what only resuming needs (shards, checkpoints): it goes when everything else is
safe.
"""

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
NEARLY_FULL = 1 << 16
"""Free bytes under which a library's failure to write is put down to the full disk."""


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(*parts: bytes) -> str:
    """First 16 hex digits of the BLAKE2b hash of the parts, length-prefixed."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(len(part).to_bytes(8, "little") + part)
    return state.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A finished step on disk. ``content`` is what later steps depend on: the fingerprint unless the step
    declared its own.
    """

    path: Path
    step: str
    fingerprint: str
    content: str

    def json(self, name: str) -> Any:
        """A JSON file of the artifact."""
        return json.loads((self.path / name).read_text())

    def table(self, name: str) -> pl.DataFrame:
        """A Parquet file of the artifact."""
        return pl.read_parquet(self.path / name)

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """A ``.npy`` file of the artifact, memory-mapped read-only."""
        loaded: np.ndarray[Any, Any] = np.load(self.path / name, mmap_mode="r", allow_pickle=False)
        return loaded

    @property
    def inputs(self) -> dict[str, str]:
        """Name to content of what the artifact was built from."""
        inputs: dict[str, str] = self.json(MANIFEST)["inputs"]
        return inputs

    @property
    def seconds(self) -> float:
        """Wall-clock seconds the step took, over all its resumed attempts."""
        return float(self.json(COST)["seconds"])


class Workspace:
    """The unfinished folder of one step: write files here; what is here after a kill need not be written
    again.
    """

    def __init__(self, path: Path) -> None:
        """Take over ``path``, with what an earlier attempt left there."""
        self.path = path
        self.content: str | None = None
        self._open: list[np.memmap[Any, Any]] = []
        self._spent = (
            float(json.loads((path / COST).read_text())["seconds"]) if (path / COST).exists() else 0.0
        )
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
        return pl.read_parquet(self.path / name)

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
        for written in [scratch] if scratch.is_file() else sorted(scratch.rglob("*")):
            if written.is_file():
                with written.open("rb") as handle:
                    os.fsync(handle.fileno())
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
        array = np.lib.format.open_memmap(path, mode="r+")
        self._open.append(array)
        return array

    def blocks(self, count: int, block: int, label: str) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) over ``count`` rows under a progress bar; blocks finished before a kill are
        skipped.

        A block counts as finished when the loop asks for the next; open arrays are flushed then.
        """
        mark = f"{PARTS}/{label}.done"
        done = int((self.path / mark).read_text()) if self.has(mark) else 0
        with bar(label, count, done) as advance:
            for start in range(done, count, block):
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
        scratch = self.path / f".tmp-{COST}"
        scratch.write_text(json.dumps({"seconds": round(seconds, 3)}) + "\n")
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
        marker = self.root / "run.json"
        with disk_errors(self.root):
            if self.root.exists() and not self.root.is_dir():
                raise StoreError(f"the run folder {self.root} is a file; pass a folder")
            if not marker.exists():
                foreign = self.root.exists() and any(
                    not path.name.startswith(".") for path in self.root.iterdir()
                )
                if (
                    foreign and not marker.exists()
                ):  # asked again: another process may just have started this run
                    raise StoreError(
                        f"the run folder {self.root} is not empty and holds no run of OptiDEL (no run.json); pass a new or empty folder"
                    )
                (self.root / ".locks").mkdir(parents=True, exist_ok=True)
                scratch = self.root / f".tmp-run-{os.getpid()}"
                scratch.write_text(json.dumps({"optidel": "run", "format": FORMAT}) + "\n")
                scratch.replace(marker)
            (self.root / ".locks").mkdir(exist_ok=True)
            text = marker.read_bytes()
        try:
            found = json.loads(text).get("format")
        except (ValueError, AttributeError) as error:
            raise StoreError(f"{marker} is not readable ({error}); pass another run folder") from error
        if found != FORMAT:
            raise StoreError(
                f"the run in {self.root} has format {found!r}, this version writes {FORMAT}; pass a new folder"
            )

    def artifacts(self, step: str | None = None) -> list[Artifact]:
        """Finished artifacts, of one step where given, oldest first."""
        folders = "*" if step is None else f"{step}-*"
        found = [
            _read(path.parent)
            for path in self.root.glob(f"{folders}/{MANIFEST}")
            if not path.parent.name.endswith(".partial")
        ]
        chosen = [artifact for artifact in found if step is None or artifact.step == step]
        return sorted(
            chosen, key=lambda artifact: ((artifact.path / MANIFEST).stat().st_mtime_ns, artifact.path.name)
        )

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
        origin = {name: artifact.content for name, artifact in sorted((inputs or {}).items())}
        fingerprint = digest(step.encode(), str(version).encode(), canonical(dict(config)), canonical(origin))
        final = self.root / f"{step}-{fingerprint}"
        partial = final.with_name(final.name + ".partial")
        if self.look:
            return (
                _read(final)
                if final.exists()
                else Artifact(path=final, step=step, fingerprint=fingerprint, content=fingerprint)
            )
        with disk_errors(self.root), self._locked(final.name):
            if final.exists():
                return _read(final)
            partial.mkdir(exist_ok=True)
            workspace = Workspace(partial)
            if not workspace.has(MANIFEST):  # else killed while tidying up
                make(workspace)
                for leftover in list(partial.rglob(".tmp-*")):
                    _remove(leftover)
                manifest = {
                    "step": step,
                    "version": version,
                    "config": dict(config),
                    "inputs": origin,
                    "fingerprint": fingerprint,
                    "content": workspace.content or fingerprint,
                    "files": _sizes(partial),
                }
                workspace.write_json(MANIFEST, manifest)
            for name in (PARTS, f".tmp-{COST}"):
                _remove(partial / name)
            partial.rename(final)
        return _read(final)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = FileLock(self.root / ".locks" / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is building {name}; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file that belongs to the artifact, by POSIX path."""
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return {
        name: path.stat().st_size
        for name, path in files.items()
        if name not in (COST, MANIFEST) and not name.startswith(f"{PARTS}/")
    }


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> Artifact:
    remedy = f"delete the folder {path.name} and run the same command again"
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        artifact = Artifact(
            path=path, step=manifest["step"], fingerprint=manifest["fingerprint"], content=manifest["content"]
        )
        sizes = dict(manifest["files"])
    except FileNotFoundError as error:
        raise StoreError(f"{path} has no {MANIFEST}; {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path / MANIFEST} is damaged ({error}); {remedy}") from error
    for name, size in sizes.items():
        found = (path / name).stat().st_size if (path / name).exists() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes, the manifest says {size}"
            raise StoreError(f"{path / name} {state}; {remedy}")
    return artifact


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Full or read-only disks become one clear sentence; everything already written stays."""
    try:
        yield
    except OptidelError:
        raise
    except Exception as error:
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

    Two processes may do so at once.

    Raises:
        StoreError: the disk is full or the folder cannot be written to.
    """
    scratch = target.with_name(f".tmp-{os.getpid()}-{digest(target.name.encode())}{target.suffix}")
    with disk_errors(target.parent):
        try:
            yield scratch
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)


def newest(artifacts: Sequence[Artifact], content: str) -> Artifact | None:
    """Of artifacts, oldest first, the last one of that content."""
    return next((artifact for artifact in reversed(artifacts) if artifact.content == content), None)


def make_folder(path: Path) -> Path:
    """Make the folder of an output, and those above it.

    Raises:
        StoreError: a file stands in the way, or the disk is full or read-only.
    """
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
