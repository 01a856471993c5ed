"""The index: every frame of a folder, its size, hash, groups and quality; every unreadable file, and why."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from optidel.arrays import Image, Pixels
from optidel.corpus.earlier import Earlier, earlier_index
from optidel.corpus.groups import compile_pattern, group_key, resolve
from optidel.corpus.manifest import Manifest, listed, load_manifest
from optidel.corpus.reuse import known_rows
from optidel.corpus.sandbox.scan import ScanOptions
from optidel.corpus.sandbox.workers import Scanned, scan_files
from optidel.corpus.walk import Listing, printable, walk
from optidel.errors import InputError
from optidel.progress import say, track
from optidel.readers import Decoded, DecodeOptions
from optidel.readers.decode import fit, read_frame, to_image
from optidel.readers.reading import place, read_rows
from optidel.records import Frame, Quality, Rejected, from_table, to_table
from optidel.store import PARTS, Artifact, Store, Workspace, canonical, digest

SHARD = 256
"""Files indexed between two writes; at most this many are read again after a kill."""

VERSION = 2
"""Of the index's code: raised when equal files would give other rows."""

FILES = {"source": pl.String, "size": pl.Int64, "mtime_ns": pl.Int64}
MEASURED = ["id", *to_table(Quality, []).columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """What becomes a frame and what belongs together; the defaults are those of the recipe's section
    ``corpus``, explained there.

    ``seconds`` and ``memory`` (GiB) are the limits of one file. ``crop``: ``none``, or ``content`` for the
    lit area of a frame alone.
    """

    axes: tuple[str, ...] = ("axial",)
    every: float = 1.0
    scenes: bool = False
    crop: str = "none"
    pattern: str | None = None
    group: str | None = None
    manifest: str | None = None
    seconds: float = 10.0
    memory: float = 4.0
    workers: int | None = None

    def scan(self, key: bytes) -> ScanOptions:
        """How one file is read."""
        decode = DecodeOptions(axes=tuple(self.axes), every=self.every, scenes=self.scenes)
        return ScanOptions(
            decode=decode, seconds=self.seconds, memory=round(self.memory * 2**30), key=key, crop=self.crop
        )

    def config(self) -> dict[str, Any]:
        """What of this decides the rows of a file."""
        config = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("pattern", "group", "manifest", "workers")
        }
        if self.crop == "none":
            del config["crop"]  # so that indexes made before there was a choice stay valid
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Frames of a folder, decoded on demand; ``crop`` as in :class:`IndexOptions`."""

    root: Path
    frames: list[Frame]
    rejected: list[Rejected]
    crop: str = "none"

    def decoded(self, rows: Sequence[int]) -> Iterator[tuple[int, Decoded]]:
        """Yield (row, frame) for some rows, in one pass over each file and in the order of the files.

        Raises:
            InputError: a file is gone or is no longer what was indexed.
        """
        return read_rows(self.root, self.frames, rows, self.crop)

    def pixels(self, i: int) -> Pixels:
        """Frame ``i`` as float32 (h, w, c) in [0, 1], c 1 or 3.

        Raises:
            InputError: the file is gone or is no longer what was indexed.
        """
        frame = self.frames[i]
        member, locator = place(frame)
        if member or self.crop != "none":
            return next(self.decoded([range(len(self))[i]]))[1].pixels
        return read_frame(self.root / frame.source, locator)

    def image(self, i: int) -> Image:
        """Frame ``i`` as u8 (h, w, 3)."""
        return to_image(self.pixels(i))

    def images(self, rows: Sequence[int]) -> Iterator[tuple[int, Image]]:
        """Yield (row, u8 (h, w, 3)) for some rows, in one pass over each file; use it rather than
        :meth:`image` for many frames.
        """
        for row, decoded in self.decoded(rows):
            image = decoded.image
            yield row, np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))

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
            crop=json.loads(artifact.json("index.json")["scan"]).get("crop", "none"),
        )


def index(path: str | Path, axes: Sequence[str] = ("axial",), **options: Any) -> Corpus:
    """Index a folder in memory.

    Args:
        path: folder of images and archives (searched through), or one file.
        axes: which slices of volumes become frames: axial, coronal, sagittal.
        options: the other fields of :class:`IndexOptions`, such as ``pattern`` or ``manifest``.

    Raises:
        InputError: the path does not exist or holds no readable image.
        RecipeError: the pattern cannot be used.
    """
    chosen = IndexOptions(axes=tuple(axes), **options)
    listing, manifest = _listing(Path(path), chosen)
    sources = [file.source for file in listing.files]
    scanned = list(
        track(
            scan_files(listing.root, sources, chosen.scan(group_key(None)), chosen.workers),
            "index",
            len(sources),
        )
    )
    resolver = _Resolver(chosen, manifest)
    frames = [frame for file in scanned for frame in resolver.frames(file.frames)]
    rejected = [item for file in scanned for item in file.rejected]
    rejected += [*listing.refused, *resolver.missing(sources)]
    resolver.tell(len(frames))
    return _checked(
        Corpus(root=listing.root, frames=frames, rejected=sorted(rejected, key=_by_source), crop=chosen.crop)
    )


def index_step(store: Store, path: Path, options: IndexOptions) -> Artifact:
    """Index a folder as an artifact; of files that did not change since the newest earlier index of the
    folder the rows are taken over.

    Later steps depend on ids and pixels alone, not on where the folder lies or when a file was touched.
    """
    listing, manifest = _listing(path, options)
    scan = options.config()
    config = {
        "scan": scan,
        "groups": {
            "pattern": options.pattern,
            "group": options.group,
            "manifest": manifest.digest if manifest else None,
        },
        "listing": listing.digest,
        "root": digest(str(listing.root).encode()),
    }
    build = _Build(store, listing, manifest, options, canonical(scan).decode())
    return store.build("index", build.make, version=VERSION, config=config)


class _Build:
    """The making of an index artifact."""

    def __init__(
        self, store: Store, listing: Listing, manifest: Manifest | None, options: IndexOptions, scan: str
    ) -> None:
        self.store, self.listing, self.options, self.scan = store, listing, options, scan
        self.resolver = _Resolver(options, manifest)

    def make(self, work: Workspace) -> None:
        """Scan shard by shard, then put the tables together."""
        if not self.listing.files:
            _complain(self.listing.root, 0, self.listing.refused)
        earlier = earlier_index(self.store, self.listing, self.scan, VERSION)
        if earlier:
            say(earlier.told)
        self._scan(work, earlier)
        starts = range(0, len(self.listing.files), SHARD)
        frames = _one(self._resolved(work.table(f"{PARTS}/scan-{start}.parquet")) for start in starts)
        scanned = _one(work.table(f"{PARTS}/scan-{start}.parquet") for start in starts)
        rejected = [
            item
            for start in starts
            for item in from_table(Rejected, work.table(f"{PARTS}/rejected-{start}.parquet"))
        ]
        rejected += [
            *self.listing.refused,
            *self.resolver.missing([file.source for file in self.listing.files]),
        ]
        rejected.sort(key=_by_source)
        self.resolver.tell(len(frames))
        _complain(self.listing.root, len(frames), rejected)
        files = pl.DataFrame([astuple(file) for file in self.listing.files], FILES, orient="row")
        counts = scanned.group_by("source").len("frames").with_columns(pl.col("frames").cast(pl.Int64))
        work.write_table("frames.parquet", frames)
        work.write_table(
            "quality.parquet",
            frames.select("id").join(scanned.select(MEASURED), on="id", how="left", maintain_order="left"),
        )
        work.write_table("scan.parquet", scanned)
        work.write_table("rejected.parquet", to_table(Rejected, rejected))
        work.write_table(
            "files.parquet", files.join(counts, on="source", how="left", maintain_order="left").fill_null(0)
        )
        work.write_json(
            "index.json",
            {
                "root": str(self.listing.root),
                "scan": self.scan,
                "version": VERSION,
                "files": len(self.listing.files),
                "frames": len(frames),
                "rejected": len(rejected),
                "groups": digest(canonical(frames["group"].to_list())),
                "since": earlier.counts if earlier else None,
            },
        )
        work.content = digest(canonical(frames.select("id", "sha256").rows()))

    def _scan(self, work: Workspace, earlier: Earlier | None) -> None:
        """Rows of all files as their readers give them, shard by shard; groups are resolved later, so that
        they may change.
        """
        files = [file.source for file in self.listing.files]
        scanned: Iterator[Scanned] | None = None
        try:
            for start, stop in work.blocks(len(files), SHARD, "index"):
                if scanned is None:
                    unknown = [source for source in files[start:] if not (earlier and earlier.knows(source))]
                    scanned = scan_files(
                        self.listing.root,
                        unknown,
                        self.options.scan(group_key(self.store.root)),
                        self.options.workers,
                    )
                tables: list[pl.DataFrame] = [_scan_table([])]
                fresh: list[Scanned] = []
                rejected: list[Rejected] = []
                for source in files[start:stop]:
                    if earlier and earlier.knows(source):
                        tables += [_scan_table(fresh), earlier.rows(source)]
                        fresh = []
                        rejected += earlier.rejected.get(source, [])
                    else:
                        fresh.append(next(scanned))
                        rejected += fresh[-1].rejected
                work.write_table(f"{PARTS}/scan-{start}.parquet", pl.concat([*tables, _scan_table(fresh)]))
                work.write_table(f"{PARTS}/rejected-{start}.parquet", to_table(Rejected, rejected))
        finally:
            if scanned is not None:
                scanned.close()  # type: ignore[attr-defined]  # ends the processes at once, also when interrupted

    def _resolved(self, scanned: pl.DataFrame) -> pl.DataFrame:
        names = to_table(Frame, []).columns
        return to_table(Frame, self.resolver.frames(from_table(Frame, scanned.select(names))))


class _Resolver:
    """Groups, labels and splits of frames from the file, the pattern and the manifest."""

    def __init__(self, options: IndexOptions, manifest: Manifest | None) -> None:
        self.pattern, self.chosen, self.manifest = compile_pattern(options.pattern), options.group, manifest
        self.matched = self.grouped = 0
        self.found: set[str] = set()

    def frames(self, frames: Iterable[Frame]) -> list[Frame]:
        """The frames that belong to the corpus, resolved."""
        resolved = []
        for frame in frames:
            row: Mapping[str, str] | None = {}
            if self.manifest:
                row = self.manifest.of(frame)
                if row is None:
                    continue
                self.found.update(self.manifest.places(frame))
            resolved.append(resolve(frame, self.pattern, row or {}, self.chosen))
            self.matched += bool(self.pattern and self.pattern.search(frame.id))
            self.grouped += resolved[-1].group is not None
        return resolved

    def missing(self, sources: Sequence[str]) -> list[Rejected]:
        """Members of archives that the manifest lists and that did not become frames."""
        if not self.manifest:
            return []
        files = set(sources)
        inside = [
            place
            for place in self.manifest.rows
            if "#" in place and place not in files and place not in self.found
        ]
        reason = "is listed in the manifest but did not become a frame"
        return [
            Rejected(source=printable(place), reason=reason)
            for place in inside
            if place.partition("#")[0] in files
        ]

    def tell(self, count: int) -> None:
        """Say where an option did nothing."""
        if self.pattern and self.matched < count:
            say(
                f"index: the pattern matches {self.matched} of {count} frames; the others have only the groups that their files state"
            )
        if self.chosen and self.grouped < count:
            say(f"index: {count - self.grouped} of {count} frames have no {self.chosen}, and so no group")


def write_pixels(work: Workspace, corpus: Corpus, size: int, store: Store | None = None) -> None:
    """Decode every frame once, stretched to the model's size, block by block.

    Writes ``pixels.npy`` u8 (n, size, size, 3) and ``rows.parquet`` (id, sha256). Rows of frames that an
    earlier artifact of the same size holds are copied from there.
    """
    pixels = work.open_array("pixels.npy", (len(corpus), size, size, 3), np.uint8)
    hashes = [frame.sha256 for frame in corpus.frames]
    earlier = _earlier_pixels(store, size) if store else None
    known = known_rows(earlier.table("rows.parquet")["sha256"].to_list() if earlier else [], hashes)
    held = earlier.array("pixels.npy") if earlier else np.empty((0, size, size, 3), np.uint8)
    for start, stop in work.blocks(len(corpus), SHARD, "pixels"):
        rows = np.arange(start, stop)
        copied = rows[known[start:stop] >= 0]
        pixels[copied] = held[known[copied]]
        for row, image in corpus.images(rows[known[start:stop] < 0].tolist()):
            pixels[row] = fit(image, size)
    work.write_table(
        "rows.parquet", pl.DataFrame({"id": [frame.id for frame in corpus.frames], "sha256": hashes})
    )


def _earlier_pixels(store: Store, size: int) -> Artifact | None:
    for artifact in reversed(store.artifacts("pixels")):
        if (artifact.path / "rows.parquet").exists() and artifact.array("pixels.npy").shape[1] == size:
            return artifact
    return None


def listing(path: Path) -> str:
    """Hash of the names, sizes and times of all files under ``path``: changes when a file is added, removed
    or written.
    """
    return walk(path).digest


def _listing(path: Path, options: IndexOptions) -> tuple[Listing, Manifest | None]:
    found = walk(path)
    if options.manifest is None:
        return found, None
    manifest = load_manifest(Path(options.manifest), found.root)
    return listed(found, manifest), manifest


def _scan_table(scanned: Sequence[Scanned]) -> pl.DataFrame:
    """Frames as scanned, with what was measured of them."""
    frames = to_table(Frame, [frame for file in scanned for frame in file.frames])
    quality = to_table(Quality, [quality for file in scanned for quality in file.quality]).drop("flaw")
    return pl.concat([frames, quality], how="horizontal")


def _one(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Tables below each other, laid out as if written at once: equal rows give equal bytes, however many
    parts they came in.
    """
    return pl.concat(list(tables)).rechunk()


def _by_source(item: Rejected) -> str:
    return item.source


def _checked(corpus: Corpus) -> Corpus:
    _complain(corpus.root, len(corpus), corpus.rejected)
    return corpus


def _complain(root: Path, frames: int, rejected: Sequence[Rejected]) -> None:
    """Say what was quarantined.

    Raises:
        InputError: there is no frame at all.
    """
    first = f"{printable(rejected[0].source)}: {rejected[0].reason}" if rejected else ""
    if not frames:
        raise InputError(f"none of the {len(rejected)} files under {root} is a readable image; {first}")
    if rejected:
        say(f"index: {frames} frames, {len(rejected)} files quarantined; the first, {first}")
