"""The index: every frame of a folder, its size, hash, groups and quality; every unreadable file, and why."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import polars as pl

from optidel.corpus.belonging import Resolver
from optidel.corpus.earlier import Earlier, earlier_index, unlucky_files
from optidel.corpus.frames import Corpus
from optidel.corpus.groups import group_key
from optidel.corpus.manifest import Manifest, as_on_disk, listed, load_manifest
from optidel.corpus.masks import masks_among, member_masks
from optidel.corpus.options import IndexOptions
from optidel.corpus.sandbox.workers import Scanned, scan_files
from optidel.corpus.scanning import scan_in_shards
from optidel.corpus.walk import Listing, printable, walk
from optidel.errors import InputError
from optidel.mapping import Plan
from optidel.progress import say, track
from optidel.records import Frame, Quality, Rejected, from_table, to_table
from optidel.remote import Remote, Root, place
from optidel.store import PARTS, Artifact, Store, Workspace, canonical, digest, disk_errors, rows_digest
from optidel.words import counted

SHARD = 256
"""Files indexed between two writes; at most this many are read again after a kill."""

VERSION = 4
"""Of the index's code: raised when equal files would give other rows."""

RETRIES = 2
"""How often a command tries in vain to read what was quarantined for time, memory or a crash; a round number.
"""

RETRY_NOTES = ".retries"
"""Folder in the run: one file an index, as many bytes long as there were vain tries."""

FILES = {"source": pl.String, "size": pl.Int64, "mtime_ns": pl.Int64}
FRAME_COLUMNS = to_table(Frame, []).columns
QUALITY_COLUMNS = ["id", *to_table(Quality, []).columns]


def index(path: str | Path | Remote, axes: Sequence[str] = ("axial",), **options: Any) -> Corpus:
    """Index a folder in memory.

    Args:
        path: folder of images and archives (searched through), or one file; a URL such as
            ``s3://bucket/scans`` too.
        axes: which slices of volumes become frames: axial, coronal, sagittal.
        options: the other fields of :class:`~optidel.corpus.options.IndexOptions`, such as ``pattern`` or
            ``manifest``.

    Raises:
        InputError: the path does not exist or holds no readable image.
        RecipeError: the pattern cannot be used.

    Example:
        ```python
        import optidel

        corpus = optidel.index("IMAGES")
        print(len(corpus), corpus.frames[0].id, corpus.image(0).shape)
        ```
    """
    settings = IndexOptions(axes=tuple(axes), **options)
    listing, manifest = _listing(place(path), settings)
    sources = [file.source for file in listing.files]
    scan = settings.scan(group_key(None))
    files = scan_files(listing.root, sources, scan, settings.workers)
    scanned = list(track(files, "index", len(sources)))

    resolver = Resolver(settings, manifest)
    frames = [frame for file in scanned for frame in resolver.frames(file.frames)]
    masks = {} if manifest else member_masks((frame.source, frame.locator) for frame in frames)
    frames = [frame for frame in frames if _member_of(frame.source, frame.locator) not in masks]
    rejected = [item for file in scanned for item in file.rejected]
    rejected += listing.refused
    rejected += resolver.missing(sources)
    rejected += _refused(masks)
    rejected.sort(key=_by_source)

    resolver.tell(len(frames))
    _complain(listing.root, len(frames), rejected)
    return Corpus(
        root=listing.root, frames=frames, rejected=rejected, crop=settings.crop, window=scan.decode.window
    )


def index_step(store: Store, path: Root, options: IndexOptions, plan: Plan | None = None) -> Artifact:
    """Index a folder as an artifact; of files that did not change since the newest earlier index of the
    folder the rows are taken over.

    Later steps depend on ids and pixels alone, not on where the folder lies or when a file was touched.

    Args:
        store: the run.
        path: the folder, or one file.
        options: what becomes a frame.
        plan: who reads the files; None, or a plan without workers, for the decoding processes of this one.

    Raises:
        PendingError: other processes are to read files.
    """
    listing, manifest = _listing(path, options)
    scan = options.config()
    groups = {
        "pattern": options.pattern,
        "group": options.group,
        "manifest": manifest.digest if manifest else None,
    }
    config = {
        "scan": scan,
        "groups": groups,
        "listing": listing.digest,
        "root": digest(str(listing.root).encode()),
    }
    build = _Build(store, listing, manifest, options, canonical(scan).decode(), plan or Plan())
    return _with_retries(store, build, config)


def _with_retries(store: Store, build: "_Build", config: dict[str, Any]) -> Artifact:
    """The index, or, where files were quarantined for what may have been bad luck, a later one with those
    that could be read this time.

    A command that finds a finished index tries such files again, at most ``RETRIES`` times in vain.
    """
    retry = 0
    is_new = store.finished("index", version=VERSION, config=config) is None
    artifact = store.build("index", build.make, version=VERSION, config=config)
    # What this very command has just tried it does not try again.
    while not is_new and (unlucky := unlucky_files(artifact)):
        retry += 1
        later = config | {"retry": retry}
        is_new = store.finished("index", version=VERSION, config=later) is None
        # Tried in memory first: a vain try leaves no folder.
        if is_new and (store.look or not build.rescues(artifact, unlucky)):
            break
        artifact = store.build("index", build.make, version=VERSION, config=later)
    return artifact


class _Build:
    """The making of an index artifact."""

    def __init__(
        self,
        store: Store,
        listing: Listing,
        manifest: Manifest | None,
        options: IndexOptions,
        scan: str,
        plan: Plan,
    ) -> None:
        self.store = store
        self.listing = listing
        self.options = options
        self.scan = scan
        self.plan = plan
        self.resolver = Resolver(options, manifest)
        self.has_manifest = manifest is not None
        self.sources = [file.source for file in listing.files]

    def make(self, work: Workspace) -> None:
        """Scan shard by shard, then put the tables together."""
        if not self.sources:  # an error now, rather than an artifact without rows
            _complain(self.listing.root, 0, self.listing.refused)
        # Groups are not part of what is scanned, so that a new pattern or manifest reads nothing again.
        earlier = earlier_index(self.store, self.listing, self.scan, VERSION)
        if earlier:
            say(earlier.summary)
        self._scan(work, earlier)

        starts = range(0, len(self.sources), SHARD)
        shards = [work.table(_scan_part(start)) for start in starts]
        scanned = _joined(shards)
        frames = _joined(self._resolved(shard) for shard in shards)
        frames, masks = self._without_member_masks(frames)
        rejected = sorted([*self._rejected(work, starts), *masks], key=_by_source)
        self.resolver.tell(len(frames))
        _complain(self.listing.root, len(frames), rejected)
        self._write(work, scanned, frames, rejected)

        since = earlier.counts if earlier else None
        work.write_json("index.json", self._summary(frames, rejected, since))
        # Not the fingerprint: a corpus that was moved or touched is indexed again and nothing else is.
        work.content = rows_digest(frames.select("id", "sha256"))

    def rescues(self, artifact: Artifact, sources: Sequence[str]) -> bool:
        """Try quarantined files again; whether one of them can be read now. A vain try is noted in the run
        folder, and after some no more are made.
        """
        note = self.store.root / RETRY_NOTES / artifact.path.name
        tries = len(note.read_bytes()) if note.exists() else 0
        if tries >= RETRIES:
            return False
        say(
            f"index: {counted(len(sources), 'file', ('was', 'were'))} quarantined for time, memory or a "
            "crash; trying again"
        )
        options = self.options.scan(group_key(self.store.root))
        scanned = scan_files(self.listing.root, sources, options, self.options.workers)
        if any(file.frames for file in scanned):
            return True
        with disk_errors(self.store.root):
            note.parent.mkdir(exist_ok=True)
            note.write_bytes(b"." * (tries + 1))
        return False

    def _scan(self, work: Workspace, earlier: Earlier | None) -> None:
        """Rows of all files as their readers give them, shard by shard; groups are resolved later, so that
        they may change.
        """
        scanned: Iterator[Scanned] | None = None
        try:
            for start, stop in work.blocks(len(self.sources), SHARD, "index"):
                if scanned is None:  # not before: a killed index may have finished all blocks
                    scanned = self._read(work, start, earlier)
                self._scan_shard(work, start, stop, earlier, scanned)
        finally:
            if scanned is not None:
                # Ends the processes at once, also when interrupted.
                scanned.close()  # type: ignore[attr-defined]

    def _read(self, work: Workspace, start: int, earlier: Earlier | None) -> Iterator[Scanned]:
        """Read the files from ``start`` on that no earlier index knows."""
        unknown = [source for source in self.sources[start:] if not (earlier and earlier.knows(source))]
        # Without workers the decoding processes of this one are enough, and pass from shard to shard.
        if self.plan.is_shared:
            before = [source for source in self.sources[:start] if not (earlier and earlier.knows(source))]
            files = before + unknown  # the same list after a kill, so that the same parts serve
            return scan_in_shards(work, self.listing.root, files, self.options, self.plan, len(before))
        options = self.options.scan(group_key(self.store.root))
        return scan_files(self.listing.root, unknown, options, self.options.workers)

    def _scan_shard(
        self, work: Workspace, start: int, stop: int, earlier: Earlier | None, scanned: Iterator[Scanned]
    ) -> None:
        """Write the rows of the files ``start`` to ``stop``, in their order, known and read ones mixed."""
        # An empty table first, so that a shard without frames has columns.
        tables: list[pl.DataFrame] = [_scan_table([])]
        fresh: list[Scanned] = []
        rejected: list[Rejected] = []
        for source in self.sources[start:stop]:
            if earlier and earlier.knows(source):
                tables += [_scan_table(fresh), earlier.rows(source)]
                fresh = []
                rejected += earlier.rejected.get(source, [])
            else:
                file = next(scanned)
                fresh.append(file)
                rejected += file.rejected
        tables.append(_scan_table(fresh))
        work.write_table(_scan_part(start), pl.concat(tables))
        work.write_table(_rejected_part(start), to_table(Rejected, rejected))

    def _resolved(self, scanned: pl.DataFrame) -> pl.DataFrame:
        """The frames of a shard with their groups."""
        frames = from_table(Frame, scanned.select(FRAME_COLUMNS))
        return to_table(Frame, self.resolver.frames(frames))

    def _without_member_masks(self, frames: pl.DataFrame) -> tuple[pl.DataFrame, list[Rejected]]:
        """The frames without masks that lie in an archive, unless a manifest lists what goes in."""
        places = list(frames.select("source", "locator").iter_rows())
        masks = {} if self.has_manifest else member_masks(places)
        if not masks:
            return frames, []
        stays = [_member_of(source, locator) not in masks for source, locator in places]
        return frames.filter(pl.Series(stays)), _refused(masks)

    def _rejected(self, work: Workspace, starts: Iterable[int]) -> list[Rejected]:
        """Everything that is quarantined, by path."""
        rejected = []
        for start in starts:
            rejected += from_table(Rejected, work.table(_rejected_part(start)))
        rejected += self.listing.refused
        rejected += self.resolver.missing(self.sources)
        return sorted(rejected, key=_by_source)

    def _write(
        self, work: Workspace, scanned: pl.DataFrame, frames: pl.DataFrame, rejected: list[Rejected]
    ) -> None:
        """The tables of the artifact."""
        ids = frames.select("id")
        quality = ids.join(scanned.select(QUALITY_COLUMNS), on="id", how="left", maintain_order="left")
        files = pl.DataFrame([astuple(file) for file in self.listing.files], FILES, orient="row")
        # Also files without a frame are listed, or the next index would read them again.
        counts = scanned.group_by("source").len("frames").with_columns(pl.col("frames").cast(pl.Int64))
        counted = files.join(counts, on="source", how="left", maintain_order="left").fill_null(0)

        work.write_table("frames.parquet", frames)
        work.write_table("quality.parquet", quality)
        work.write_table("scan.parquet", scanned)
        work.write_table("rejected.parquet", to_table(Rejected, rejected))
        work.write_table("files.parquet", counted)

    def _summary(
        self, frames: pl.DataFrame, rejected: Sequence[Rejected], since: dict[str, int] | None
    ) -> dict[str, Any]:
        """The content of ``index.json``."""
        return {
            "root": str(self.listing.root),
            "scan": self.scan,
            "version": VERSION,
            "files": len(self.sources),
            "frames": len(frames),
            "rejected": len(rejected),
            "groups": rows_digest(frames["group"]),
            "since": since,
        }


def listing(path: Root) -> str:
    """Hash of the names, sizes and times of all files under ``path``: changes when a file is added, removed
    or written.
    """
    return walk(path).digest


def _listing(path: Root, options: IndexOptions) -> tuple[Listing, Manifest | None]:
    """The files of the corpus, and the manifest that says which they are."""
    everything = walk(path)
    if options.manifest is None:
        return _without_masks(everything), None
    manifest = as_on_disk(load_manifest(Path(options.manifest), everything.root), everything)
    return listed(everything, manifest), manifest


def _without_masks(listing: Listing) -> Listing:
    """Refuse the masks of a labelled set, aloud: nobody means to train on them as images."""
    masks = masks_among(file.source for file in listing.files)
    if not masks:
        return listing
    refused = _refused(masks)
    files = [file for file in listing.files if file.source not in masks]
    return replace(listing, files=files, refused=sorted([*listing.refused, *refused], key=_by_source))


def _refused(masks: Mapping[str, str]) -> list[Rejected]:
    """Say that masks stay out, and why each does."""
    if masks:
        first = next(iter(masks))
        looking = counted(len(masks), "file", ("looks", "look"))
        say(
            f"index: {looking} like a mask, left out of the corpus, such as {printable(first)}; "
            "to take them in, list them in a manifest or pass their folder itself"
        )
    return [Rejected(source=printable(source), reason=reason) for source, reason in masks.items()]


def _member_of(source: str, locator: str) -> str:
    """An archive and its member, as masks in it are named."""
    return f"{source}#{locator.partition('#')[0]}"


def _scan_part(start: int) -> str:
    return f"{PARTS}/scan-{start}.parquet"


def _rejected_part(start: int) -> str:
    return f"{PARTS}/rejected-{start}.parquet"


def _scan_table(scanned: Sequence[Scanned]) -> pl.DataFrame:
    """Frames as scanned, with what was measured of them."""
    frames = to_table(Frame, [frame for file in scanned for frame in file.frames])
    quality = to_table(Quality, [quality for file in scanned for quality in file.quality]).drop("flaw")
    return pl.concat([frames, quality], how="horizontal")


def _joined(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Tables below each other, laid out as if written at once: equal rows give equal bytes, however many
    parts they came in.
    """
    return pl.concat(list(tables)).rechunk()


def _by_source(item: Rejected) -> str:
    return item.source


def _complain(root: Root, frames: int, rejected: Sequence[Rejected]) -> None:
    """Say what was quarantined.

    Raises:
        InputError: there is no frame at all.
    """
    first = f"{printable(rejected[0].source)}: {rejected[0].reason}" if rejected else ""
    if not frames:
        raise InputError(
            f"{root} holds no readable image: {counted(len(rejected), 'file')} set aside; {first}"
        )
    if rejected:
        say(
            f"index: {counted(frames, 'frame')}, {counted(len(rejected), 'file')} quarantined; "
            f"the first, {first}"
        )
