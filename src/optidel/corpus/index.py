"""The index: every frame of a folder, its size and hash; every unreadable file, and why."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optidel.arrays import Image, Pixels
from optidel.corpus.decode import DecodeOptions, fit, read_frame, reader_for, to_image
from optidel.corpus.quality import flaw
from optidel.errors import InputError
from optidel.progress import say
from optidel.records import Frame, Rejected, from_table, to_table
from optidel.store import PARTS, Artifact, Store, Workspace, canonical, digest

SHARD = 256
"""Files indexed between two writes; at most this many are read again after a kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Frames of a folder, decoded on demand."""

    root: Path
    frames: list[Frame]
    rejected: list[Rejected]

    def pixels(self, i: int) -> Pixels:
        """Frame ``i`` as float32 (h, w, c) in [0, 1], c 1 or 3.

        Raises:
            InputError: the file is gone.
        """
        frame = self.frames[i]
        return read_frame(self.root / frame.source, frame.locator)

    def image(self, i: int) -> Image:
        """Frame ``i`` as u8 (h, w, 3)."""
        return to_image(self.pixels(i))

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @staticmethod
    def load(artifact: Artifact) -> "Corpus":
        """The corpus of a finished index."""
        return Corpus(
            root=Path(artifact.json("index.json")["root"]),
            frames=from_table(Frame, artifact.table("frames.parquet")),
            rejected=from_table(Rejected, artifact.table("rejected.parquet")),
        )


def index(path: str | Path, axes: Sequence[str] = ("axial",)) -> Corpus:
    """Index a folder in memory.

    Args:
        path: folder of images (searched through) or one file.
        axes: which slices of volumes become frames: axial, coronal, sagittal.

    Raises:
        InputError: the path does not exist or holds no readable image.
    """
    root, sources = _sources(Path(path))
    frames, rejected = _index_files(root, sources, DecodeOptions(axes=tuple(axes)))
    return _checked(Corpus(root=root, frames=frames, rejected=rejected))


def index_step(store: Store, path: Path, axes: Sequence[str]) -> Artifact:
    """Index a folder as an artifact.

    Later steps depend on ids and pixels alone, not on where the folder lies or when a file was touched.
    """
    root, sources = _sources(path)
    options = DecodeOptions(axes=tuple(axes))

    def make(work: Workspace) -> None:
        starts = range(0, len(sources), SHARD)
        for start, stop in work.blocks(len(sources), SHARD, "index"):
            frames, rejected = _index_files(root, sources[start:stop], options)
            work.write_table(f"{PARTS}/rejected-{start}.parquet", to_table(Rejected, rejected))
            work.write_table(f"{PARTS}/frames-{start}.parquet", to_table(Frame, frames))
        corpus = Corpus(root=root, frames=_gather(work, Frame, "frames", starts), rejected=_gather(work, Rejected, "rejected", starts))
        _checked(corpus)
        work.write_table("frames.parquet", to_table(Frame, corpus.frames))
        work.write_table("rejected.parquet", to_table(Rejected, corpus.rejected))
        work.write_json("index.json", {"root": str(root), "files": len(sources)})
        work.content = digest(canonical([[frame.id, frame.sha256] for frame in corpus.frames]))

    config = {"axes": list(axes), "listing": listing(path), "root": digest(str(root).encode())}
    return store.build("index", make, version=1, config=config)


def write_pixels(work: Workspace, corpus: Corpus, size: int) -> None:
    """Decode every frame once, stretched to the model's size: ``pixels.npy`` u8 (n, size, size, 3), resumable block by block."""
    pixels = work.open_array("pixels.npy", (len(corpus), size, size, 3), np.uint8)
    for start, stop in work.blocks(len(corpus), SHARD, "pixels"):
        for i in range(start, stop):
            pixels[i] = fit(corpus.image(i), size)


def listing(path: Path) -> str:
    """Hash of the names, sizes and times of all files under ``path``: changes when a file is added, removed or written."""
    root, sources = _sources(path)
    stamps = [(root / source).lstat() for source in sources]
    return digest(canonical([[source, stamp.st_size, stamp.st_mtime_ns] for source, stamp in zip(sources, stamps, strict=True)]))


def _sources(path: Path) -> tuple[Path, list[str]]:
    """The corpus root and the POSIX paths of its files, sorted."""
    if not path.exists():
        raise InputError(f"no folder or file at {path}; pass the folder that holds the images")
    if path.is_file():
        return path.resolve().parent, [path.name]
    root = path.resolve()
    found = [(Path(folder) / name).relative_to(root).as_posix() for folder, _, names in os.walk(root) for name in names]
    sources = sorted(source for source in found if not any(part.startswith(".") for part in source.split("/")))
    if not sources:
        raise InputError(f"the folder {path} is empty; pass the folder that holds the images")
    return root, sources


def _index_files(root: Path, sources: Sequence[str], options: DecodeOptions) -> tuple[list[Frame], list[Rejected]]:
    frames: list[Frame] = []
    rejected: list[Rejected] = []
    for source in sources:
        try:
            frames.extend(_frames_of(root, source, options))
        except InputError as error:
            rejected.append(Rejected(source=source, reason=str(error).replace(str(root) + os.sep, "")))
        except Exception as error:  # decoders raise anything on a broken file, and one bad file never stops a run
            rejected.append(Rejected(source=source, reason=f"cannot be decoded ({type(error).__name__}: {error})"[:300]))
    return frames, rejected


def _frames_of(root: Path, source: str, options: DecodeOptions) -> Iterator[Frame]:
    path = root / source
    if not path.is_file():
        raise InputError("is no regular file")
    if path.stat().st_size == 0:
        raise InputError("has zero bytes")
    reader = reader_for(path)
    if reader is None:
        raise InputError(f"has the ending {path.suffix!r}, which no reader knows")
    found = []
    for decoded in reader(path, options):
        height, width, channels = decoded.pixels.shape
        found.append(
            Frame(
                id=f"{source}#{decoded.locator}" if decoded.locator else source,
                source=source,
                locator=decoded.locator,
                height=height,
                width=width,
                channels=channels,
                group=None,
                modality=decoded.modality,
                sha256=hashlib.sha256(repr(decoded.pixels.shape).encode() + decoded.pixels.tobytes()).hexdigest(),
                flaw=flaw(decoded.pixels),
            )
        )
    yield from found


def _gather(work: Workspace, kind: Any, name: str, starts: range) -> list[Any]:
    return [record for start in starts for record in from_table(kind, work.table(f"{PARTS}/{name}-{start}.parquet"))]


def _checked(corpus: Corpus) -> Corpus:
    if not corpus.frames:
        first = corpus.rejected[0]
        raise InputError(
            f"none of the {len(corpus.rejected)} files under {corpus.root} is a readable image; {first.source}: {first.reason}"
        )
    if corpus.rejected:
        first = corpus.rejected[0]
        say(f"index: {len(corpus)} frames, {len(corpus.rejected)} files quarantined; the first, {first.source}: {first.reason}")
    return corpus
