"""Files at a URL: listed, and brought to this disk a block at a time.

Whatever reads an image reads a local file. A corpus at a URL is therefore never opened where it lies: its
files are fetched into a folder of their own, some at a time and ahead of who reads them, and deleted behind
them. Decoding processes never see the network, so that their limits count what they counted before.

A URL is written into artifacts, so it may hold no secret: one with a password or a query is refused. Access
is given in the environment, and errors are in our own words, for those of servers and libraries quote keys.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote
from urllib.request import url2pathname

from optidel.errors import ExtraError, InputError, OptidelError
from optidel.progress import say

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/+")
"""A URL that went through a path, which has one slash where there were two."""

OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl")
"""Schemes that obstore reads; fsspec reads all others."""

CHUNK = 8 << 20
"""Bytes fetched at a time: enough that a request costs nothing beside them; 16 of them fit into memory."""

THREADS = 16
"""Files fetched at a time: a store answers after some 50 ms, and a core decodes 100 images meanwhile."""

BLOCK = 64
"""Files fetched before they are read; two blocks lie on the disk at a time. Four a thread, so that none waits
long for the last.
"""

DEEPEST = 64
"""Folders in folders that are listed: no corpus is deeper, and a listing that leads back into itself ends."""

PAUSES = (0.5, 2.0)
"""Seconds before a file is asked for again; a server that is restarted is back after some."""

SILENT = 60
"""Seconds without an answer after which a server is given up; a round number."""

LONGEST_NAME = 255
"""Bytes of one part of a path that file systems take."""

FETCH = "cannot be fetched"
"""How the reasons begin that may not hold next time."""

VERSIONS = (
    *("etag", "e_tag", "lastmodified", "last_modified", "last-modified", "mtime", "modified", "created"),
    *("updated", "generation", "version", "version_id", "md5hash", "content-md5", "digest"),
    *("blob_id", "oid", "xet_hash"),
)
"""What the file systems call that which changes with a file, in lower case."""

GONE = ("FileNotFoundError", "NotFoundError")
DENIED = ("PermissionError", "PermissionDeniedError", "UnauthenticatedError")
CHANGED = ("PreconditionError",)
"""Names of the errors of fsspec and obstore."""

CLOSED = "access is denied"

STATUSES = {401: CLOSED, 403: CLOSED, 404: "it is not there", 410: "it is not there"}


class FetchError(InputError):
    """A file cannot be fetched; ``is_silent`` where the server gave no answer about it."""

    def __init__(self, why: str, *, is_silent: bool = False) -> None:
        """Args: ``why``, in our own words."""
        super().__init__(f"{FETCH}: {why}")
        self.why = why
        self.is_silent = is_silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A folder or file at a URL that holds no secret and does not end in a slash.

    Example:
        >>> place("s3://bucket/scans/").name
        'scans'
    """

    url: str

    @property
    def name(self) -> str:
        """The last part of the path, or the bucket's name."""
        return self.url.rstrip("/").rpartition("/")[2] or self.scheme

    @property
    def scheme(self) -> str:
        """What stands before the colon, in lower case."""
        return self.url.partition(":")[0].lower()

    @property
    def parent(self) -> "Remote":
        """One folder up; the bucket is its own."""
        head, _, tail = self.url.removeprefix(f"{self.url.partition('://')[0]}://").rpartition("/")
        return Remote(url=self.url.removesuffix(f"/{tail}")) if head else self

    def __truediv__(self, name: str) -> "Remote":
        """What lies below."""
        return Remote(url=f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        """The URL."""
        return self.url


Root = Path | Remote
"""Where a corpus lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file below a URL: path relative to it, bytes (None: not stated), and a number that changes with the
    file, as a time of last change does; ``is_dated`` where the server said anything to make it of.
    """

    name: str
    size: int | None
    stamp: int
    is_dated: bool = True


def is_url(text: str) -> bool:
    """Whether a text is a URL, not a path of this disk."""
    return bool(URL.match(text))


def place(where: str | Path | Remote) -> Root:
    """A path, or a URL that may be written down.

    Args:
        where: a path of this disk, or a URL such as ``s3://bucket/folder``, ``memory://folder`` or
            ``https://host/file.zip``; ``file://`` is a path.

    Raises:
        InputError: the URL holds a password or a query, or names nothing.
    """
    if isinstance(where, Remote):
        return where
    text = str(where)
    if not is_url(text):
        return Path(where)
    check_url(text)
    scheme, _, rest = text.partition("://")
    if scheme.lower() == "file":
        return Path(url2pathname(rest if rest.startswith("/") else f"/{rest.partition('/')[2]}"))
    parts = rest.strip("/").split("/")
    if not parts[0] or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"the URL {text} names no folder; pass one such as s3://bucket/scans")
    return Remote(url=f"{scheme.lower()}://{'/'.join(parts)}")


def check_url(text: str) -> None:
    """Refuse a URL that holds a secret, without quoting it.

    Raises:
        InputError: there is a user's name with a password, or a query, in it.
    """
    scheme, _, rest = text.partition("://")
    # A secret key may hold a slash, so what stands before any @ is looked at, not the host alone.
    user = rest.rpartition("@")[0]
    has_password = ":" in user or (bool(user) and scheme.lower() in ("http", "https"))
    if has_password or "?" in rest or "#" in rest:
        raise InputError(
            f"the {scheme}:// URL holds a password or a query, which would be written into the run; leave it "
            "out, and give the key in the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def refuse_url(out: Path | str, what: str = "results") -> None:
    """Refuse to write to a URL.

    Raises:
        InputError: says what to pass.
    """
    if COLLAPSED.match(str(out)):
        scheme = str(out).partition(":")[0]
        raise InputError(
            f"{what} are written to a folder of this machine, and a {scheme}:// URL is none; pass a path"
        )


class Store(Protocol):
    """What lists and reads the files below a URL."""

    def entries(self) -> Iterator[Entry]:
        """All files below, or the one that the URL names, under an empty name; lazily, in any order."""
        ...

    def folder(self, name: str) -> list[str]:
        """The names of the files in one folder below, without its path."""
        ...

    def read(self, name: str) -> tuple[Entry, Iterator[bytes]]:
        """What is said of a file, and its bytes, at most :data:`CHUNK` at a time and as many as were said."""
        ...


@lru_cache(maxsize=8)
def store_of(remote: Remote) -> Store:
    """What reads a URL; the connection is made when something is asked for.

    Raises:
        ExtraError: the package that reads such URLs is not installed.
    """
    if remote.scheme in OBJECT_STORES:
        with suppress(ImportError):
            import obstore.store  # noqa: F401

            return _Objects(remote)
    return _Files(remote)


class _Objects:
    """A bucket, through obstore: listed a thousand keys at a time, whatever their number."""

    def __init__(self, remote: Remote) -> None:
        from obstore.store import from_url

        scheme, _, rest = remote.url.partition("://")
        bucket, _, self.prefix = rest.partition("/")
        options: dict[str, Any] = {"timeout": f"{SILENT}s"}
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "") + os.environ.get("AWS_ENDPOINT", "")
        if endpoint.startswith("http://"):  # of a server of one's own: whoever names it so means it
            options["allow_http"] = True
        retry = {"max_retries": len(PAUSES), "retry_timeout": timedelta(seconds=SILENT)}
        self.store: Any = from_url(f"{scheme}://{bucket}", client_options=options, retry_config=retry)

    def entries(self) -> Iterator[Entry]:
        import obstore

        inside = f"{self.prefix}/" if self.prefix else ""
        is_folder = False
        for metas in obstore.list(self.store, prefix=self.prefix or None):
            for meta in metas:
                if meta["path"].startswith(inside):
                    is_folder = True
                    yield _object(meta, meta["path"][len(inside) :])
        if not is_folder and self.prefix:
            yield _object(obstore.head(self.store, self.prefix), "")

    def folder(self, name: str) -> list[str]:
        import obstore

        listing: Any = obstore.list_with_delimiter(self.store, prefix=self._key(name) or None)
        return [meta["path"].rpartition("/")[2] for meta in listing["objects"]]

    def read(self, name: str) -> tuple[Entry, Iterator[bytes]]:
        import obstore

        key = self._key(name)
        try:
            first: Any = obstore.get(self.store, key, options={"range": (0, CHUNK)})
        except Exception:
            meta = obstore.head(self.store, key)
            if meta["size"]:
                raise
            return _object(meta, name), iter(())  # no range of an empty object can be asked for
        return _object(first.meta, name), self._chunks(key, first)

    def _chunks(self, key: str, first: Any) -> Iterator[bytes]:
        import obstore

        yield bytes(first.bytes())
        size, version = first.meta["size"], first.meta.get("e_tag")
        for start in range(CHUNK, size, CHUNK):
            options: dict[str, Any] = {"range": (start, min(start + CHUNK, size))}
            if version:  # all chunks of one file are of one version of it
                options["if_match"] = version
            result: Any = obstore.get(self.store, key, options=options)
            yield bytes(result.bytes())

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)


def _object(meta: Any, name: str) -> Entry:
    return Entry(name=name, size=meta["size"], stamp=_stamp(meta.get("e_tag"), meta.get("last_modified")))


class _Files:
    """Any other URL, through fsspec."""

    def __init__(self, remote: Remote) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise _no_package(remote.scheme) from error
        options: dict[str, Any] = {}
        if remote.scheme in ("http", "https"):
            import importlib.util

            if importlib.util.find_spec("aiohttp") is None:
                raise _no_package(remote.scheme)
            import aiohttp

            patience = aiohttp.ClientTimeout(total=None, sock_connect=SILENT, sock_read=SILENT)
            options["client_kwargs"] = {"timeout": patience}
        try:
            self.system: Any = fsspec.filesystem(remote.scheme, use_listings_cache=False, **options)
        except (ImportError, ValueError) as error:
            raise _no_package(remote.scheme) from error
        self.is_web = remote.scheme in ("http", "https")
        self.root = remote.url if self.is_web else self.system._strip_protocol(remote.url)

    def entries(self) -> Iterator[Entry]:
        if not self._is_folder():
            yield self._entry(self._info(self.root), "")
            return
        waiting = deque([self.root])
        seen = {self.root.rstrip("/")}
        while waiting:
            folder = waiting.pop()
            for info in self.system.ls(folder, detail=True):
                path = str(info["name"])
                if self.is_web and ("?" in path or "#" in path):
                    continue  # a listing's links to itself in another order
                name = path[len(self.root) :].lstrip("/") if path.startswith(self.root) else ""
                if not name or path.rstrip("/") in seen:
                    continue
                if info["type"] == "directory":
                    if name.count("/") < DEEPEST:
                        seen.add(path.rstrip("/"))
                        waiting.append(path)
                    continue
                # A web server says nothing of a file until it is asked for that file.
                yield self._entry(self._info(path) if self.is_web else info, name)

    def _is_folder(self) -> bool:
        if not self.is_web:
            return bool(self.system.isdir(self.root))
        # A page of links is a folder, whatever it is called.
        if self._info(self.root).get("mimetype", "").startswith("text/html"):
            self.root = self.root.rstrip("/") + "/"
            return True
        return False

    def _info(self, path: str) -> Mapping[str, Any]:
        info: Mapping[str, Any] = self.system.info(path)
        return info

    def _entry(self, info: Mapping[str, Any], name: str) -> Entry:
        known = {key.lower(): value for key, value in info.items()}
        versions = [known[key] for key in VERSIONS if known.get(key) is not None]
        size = info.get("size")
        return Entry(
            name=unquote(name) if self.is_web else name,
            size=None if size is None else int(size),
            stamp=_stamp(*versions),
            is_dated=bool(versions),
        )

    def folder(self, name: str) -> list[str]:
        listing = self.system.ls(self._path(name), detail=True)
        names = [str(info["name"]).rpartition("/")[2] for info in listing if info["type"] != "directory"]
        return [unquote(item) for item in names] if self.is_web else names

    def read(self, name: str) -> tuple[Entry, Iterator[bytes]]:
        path = self._path(name)
        entry = self._entry(self._info(path), name)
        return entry, self._chunks(path, entry.size or 0)

    def _chunks(self, path: str, size: int) -> Iterator[bytes]:
        # Without a block size a page is streamed, also by a server that gives no parts of it.
        options = {"block_size": 0} if self.is_web else {}
        left = size
        with self.system.open(path, "rb", **options) as stream:
            while left and (chunk := stream.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def _path(self, name: str) -> str:
        inner = quote(name) if self.is_web else name
        return f"{self.root.rstrip('/')}/{inner}" if inner else self.root


def _no_package(scheme: str) -> OptidelError:
    known = (*OBJECT_STORES, "http", "https", "memory")
    if scheme in known:
        return ExtraError(f"reading {scheme}:// needs obstore or fsspec; pip install 'optidel[cloud]'")
    if scheme == "hf":
        return ExtraError("reading hf:// needs huggingface_hub; pip install 'optidel[cloud,train]'")
    return ExtraError(
        f"nothing that is installed reads {scheme}:// URLs; install the package that fsspec names for it"
    )


def _stamp(*versions: object) -> int:
    """A number that stands for a version: 62 bits, which a file's time in ns can hold."""
    texts = [value.isoformat() if isinstance(value, datetime) else repr(value) for value in versions]
    state = hashlib.blake2b("\n".join(texts).encode(), digest_size=8)
    return int.from_bytes(state.digest(), "little") >> 2


@contextmanager
def _own_words() -> Iterator[None]:
    """What a server or a library raises, in our own words: theirs quote keys, signatures and headers.

    Raises:
        FetchError: instead of it.
    """
    try:
        yield
    except OptidelError:
        raise
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        text = str(error)
        status = getattr(error, "status", None)
        if status in STATUSES:
            raise FetchError(STATUSES[status]) from None
        if kinds & set(DENIED) or "AccessDenied" in text or "403 Forbidden" in text:
            raise FetchError(CLOSED) from None
        if kinds & set(GONE) or "NoSuchBucket" in text:
            raise FetchError("it is not there") from None
        if kinds & set(CHANGED):
            raise FetchError("it changed while it was read") from None
        if "Path" in text and ("empty" in text.lower() or "illegal" in text.lower()):
            raise FetchError("it holds a key with an empty part, . or .. between its slashes") from None
        raise FetchError(
            f"the server gave no usable answer ({type(error).__name__})", is_silent=True
        ) from None


def entries(remote: Remote) -> Iterator[Entry]:
    """All files below a URL, or the one that it names, under its own name.

    Raises:
        InputError: the URL cannot be listed.
    """
    undated = 0
    try:
        with _own_words():
            for entry in store_of(remote).entries():
                undated += not entry.is_dated
                yield entry
    except FetchError as error:
        raise InputError(
            f"{remote} cannot be listed: {error.why}; check the URL and the access to it"
        ) from None
    if undated:
        say(
            f"{remote.name}: the server states neither time nor version of {undated} files; "
            "a change that keeps the size is not seen"
        )


def why_closed(remote: Remote) -> str:
    """Why the URL cannot be listed now; an empty text where it can."""
    try:
        with _own_words():
            next(iter(store_of(remote).entries()), None)
    except FetchError as error:
        return error.why
    return ""


def read_note(remote: Remote, name: str, most: int) -> bytes | None:
    """A small file below a URL; None where it is gone or longer than ``most`` bytes."""
    try:
        with _own_words():
            entry, chunks = store_of(remote).read(name)
            return None if entry.size is None or entry.size > most else b"".join(chunks)
    except FetchError:
        return None


def fetch(remote: Remote, name: str, target: Path) -> None:
    """Write a file below a URL to this disk, its stamp as the time of its last change.

    Raises:
        FetchError: it is gone, denied, changes while it is read, or the server is silent.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for pause in (*PAUSES, None):
        try:
            with _own_words():
                entry, chunks = store_of(remote).read(name)
                _write(entry, chunks, target)
            return
        except FetchError as error:
            target.unlink(missing_ok=True)
            if pause is None or not error.is_silent:
                raise
            time.sleep(pause)


def _write(entry: Entry, chunks: Iterator[bytes], target: Path) -> None:
    if entry.size is None:
        raise FetchError("the server does not state its size")
    _make_room(entry.size)
    written = 0
    with target.open("wb") as file:
        for chunk in chunks:
            written += len(chunk)
            if written > entry.size:
                break
            try:
                file.write(chunk)
            except OSError as error:
                raise _no_room(error.strerror) from None
    if written != entry.size:
        raise FetchError(f"{written} of its {entry.size} bytes came", is_silent=True)
    os.utime(target, ns=(entry.stamp, entry.stamp))


def _make_room(size: int) -> None:
    """Refuse to fill the disk to the last byte with what a server declares.

    Raises:
        OptidelError: there is less room than the file needs.
    """
    if size > shutil.disk_usage(tempfile.gettempdir()).free:
        raise _no_room(f"a file of {size} bytes is asked for")


def _no_room(why: str | None) -> OptidelError:
    return OptidelError(
        f"{tempfile.gettempdir()} has no room for what is fetched ({why}); set TMPDIR to a folder with more"
    )


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Block:
    """Some files of a corpus on this disk: ``names`` below ``root``, ``failed`` with the reason for those
    that are not there.
    """

    root: Path
    names: list[str]
    failed: dict[str, str] = field(default_factory=dict)


Beside = Callable[[Path, Sequence[str], Callable[[str], list[str]]], set[str]]
"""Local root, files in it, and what tells the names in a folder, to further files that a reader looks for."""


def blocks(root: Root, names: Sequence[str], beside: Beside) -> Iterator[Block]:
    """Files, block by block in their order, on this disk until the next block is asked for.

    Of a folder of this disk there is one block, the folder itself. From a URL the next block is fetched while
    this one is read.

    Args:
        root: where the corpus lies.
        names: POSIX paths below it.
        beside: finds what readers look for beside a file.

    Raises:
        OptidelError: the server answers no more, or the disk is full.
    """
    if isinstance(root, Path):
        yield Block(root=root, names=list(names))
        return
    parts = [names[start : start + BLOCK] for start in range(0, len(names), BLOCK)]
    with ThreadPoolExecutor(1) as ahead:
        waiting = deque([ahead.submit(fetch_block, root, part, beside) for part in parts[:1]])
        try:
            for following in (*parts[1:], None):
                block = waiting.popleft().result()
                if following is not None:
                    waiting.append(ahead.submit(fetch_block, root, following, beside))
                yield block
                shutil.rmtree(block.root, ignore_errors=True)
        finally:
            for future in waiting:
                future.cancel()


def fetch_block(root: Remote, names: Sequence[str], beside: Beside) -> Block:
    """Fetch some files, and what is looked for beside them; they are deleted with the block.

    Raises:
        OptidelError: the server answers no more, or the disk is full.
    """
    folder = Path(tempfile.mkdtemp(prefix="optidel-"))
    block = Block(root=folder, names=list(names))
    weakref.finalize(block, shutil.rmtree, folder, ignore_errors=True)

    @cache
    def names_in(inner: str) -> list[str]:
        try:
            with _own_words():
                return store_of(root).folder(inner)
        except FetchError:
            return []  # whoever needs what is beside it says that it is missing

    failed = _fetch_all(root, names, block)
    further = beside(folder, [name for name in names if name not in block.failed], names_in) - set(names)
    companions = Block(root=folder, names=sorted(further))
    failed |= _fetch_all(root, companions.names, companions)
    # A key that expired, or a server that died, is no fault of the files: they are not quarantined for it.
    if failed and (why := why_closed(root)):
        raise OptidelError(f"{root} cannot be listed any more: {why}; the same command goes on from here")
    return block


def _fetch_all(root: Remote, names: Sequence[str], block: Block) -> bool:
    """Fetch, noting what fails; whether any did so for what may be true of all: silence, or access denied."""

    def one(name: str) -> FetchError | None:
        try:
            fetch(root, name, block.root / name)
        except FetchError as error:
            return error
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        errors = list(pool.map(one, names))
    block.failed.update({name: str(error) for name, error in zip(names, errors, strict=True) if error})
    return any(error is not None and (error.is_silent or error.why == CLOSED) for error in errors)


@lru_cache(maxsize=2)
def kept_block(root: Remote, name: str, beside: Beside) -> Block:
    """One file, kept for the next slice of it."""
    return fetch_block(root, [name], beside)


@lru_cache(maxsize=8)
def _mirror(remote: Remote) -> Block:
    listing = list(entries(remote))
    inner = Block(root=Path(tempfile.mkdtemp(prefix="optidel-")), names=[])
    weakref.finalize(inner, shutil.rmtree, inner.root, ignore_errors=True)
    names = [entry.name for entry in listing if entry.name and is_safe(entry.name) and entry.size]
    block = Block(root=inner.root / remote.name, names=names)
    block.root.mkdir()
    if _fetch_all(remote, names, block) or block.failed:
        first, why = next(iter(block.failed.items()))
        raise InputError(f"{remote}: {first} {why}; run the command again")
    return inner


def here(root: Root) -> Path:
    """A small folder on this disk: itself, or all files at a URL, fetched once and kept for as long as this
    process lives.

    Raises:
        InputError: a file cannot be fetched.
    """
    if isinstance(root, Path):
        return root
    return _mirror(root).root / root.name


def is_safe(name: str) -> bool:
    """Whether a key can be a file's path below a folder, and leads nowhere else."""
    parts = name.split("/")
    return "\0" not in name and not any(
        part in ("", ".", "..") or len(part.encode(errors="replace")) > 255 for part in parts
    )
