"""The leak check of a run: which test images lie in the pre-training corpus, and a corpus without them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl
from PIL import Image as Picture

from optidel.arrays import Image
from optidel.corpus.frames import Corpus
from optidel.errors import InputError
from optidel.pipeline.leaks import Leaks, Match, describe_images, find_leaks, load_prints, prints_step
from optidel.progress import track
from optidel.readers.decode import read_frame, to_image
from optidel.records import Rejected, to_table
from optidel.store import Artifact, Store, Workspace, canonical, digest

KINDS = ("exact", "perceptual", "embedding")
SHOWN = 4
"""Pairs of each kind kept as pictures for the report."""

SIDE = 260
"""Longest side of such a picture, px."""

COLUMNS = {"kind": pl.String, "test": pl.String, "train": pl.String, "value": pl.Float64}


def leaks_step(store: Store, indexed: Artifact, task: Artifact, folder: Path) -> Artifact:
    """Compare the test images of a labelled set, at full size, to the corpus.

    Writes ``leaks.parquet`` (kind, test, train, value: bits that differ of perceptual hashes, cosine
    similarity of embeddings), ``summary.json`` (counts, the threshold of the embedding and its rate of false
    positives), and of some pairs the two pictures, ``pictures/0-test.png`` and ``pictures/0-train.png``,
    listed in ``pictures.parquet``.
    """

    def make(work: Workspace) -> None:
        items = task.table("items.parquet").filter(pl.col("split") == "test")
        known = load_prints(prints_step(store, indexed), indexed)
        found = find_leaks(known, describe_images(_images(folder, items), folder.resolve().name))
        rows = [(kind, match.test, match.train, match.value) for kind in KINDS for match in _of(found, kind)]
        table = pl.DataFrame(rows, COLUMNS, orient="row")
        work.write_table("leaks.parquet", table)
        _write_pictures(
            work,
            table,
            Corpus.load(indexed),
            {name: folder / source for name, source in items.select("id", "source").iter_rows()},
        )
        counts = {kind: len({match.test for match in _of(found, kind)}) for kind in KINDS}
        summary = {"test": found.test, "train": found.train, "leaked": len(found.leaked), "rate": found.rate}
        work.write_json(
            "summary.json", summary | {"threshold": found.threshold, "near": found.near, "images": counts}
        )

    return store.build("leaks", make, version=1, config={}, inputs={"index": indexed, "task": task})


def _of(found: Leaks, kind: str) -> tuple[Match, ...]:
    matches: tuple[Match, ...] = getattr(found, kind)
    return matches


def _images(folder: Path, items: pl.DataFrame) -> Iterator[tuple[str, Image]]:
    rows: Iterable[tuple[str, str]] = items.select("id", "source").iter_rows()
    for name, source in track(rows, "test images", len(items)):
        yield name, to_image(read_frame(folder / source, ""))


def _write_pictures(
    work: Workspace, table: pl.DataFrame, corpus: Corpus, sources: Mapping[str, Path]
) -> None:
    """Pictures of a few pairs of each kind, for the report: the originals may not be there when it is read."""
    shown = (
        table.unique("test", keep="first", maintain_order=True)
        .group_by("kind", maintain_order=True)
        .head(SHOWN)
    )
    rows = {frame.id: row for row, frame in enumerate(corpus.frames)}
    for number, (test, train) in enumerate(shown.select("test", "train").iter_rows()):
        pair = {"test": to_image(read_frame(sources[test], "")), "train": corpus.image(rows[train])}
        for side, image in pair.items():
            picture = Picture.fromarray(image)
            picture.thumbnail((SIDE, SIDE), Picture.Resampling.LANCZOS)
            with work.writing(f"pictures/{number}-{side}.png") as path:
                picture.save(path, format="PNG")
    work.write_table("pictures.parquet", shown)


def clean_step(store: Store, indexed: Artifact, leaks: Artifact) -> Artifact:
    """The index without the frames that are test images: they are quarantined like files that cannot be read,
    with the reason.
    """

    def make(work: Workspace) -> None:
        frames = indexed.table("frames.parquet")
        found = leaks.table("leaks.parquet").unique("train", keep="first", maintain_order=True)
        found = found.filter(
            pl.col("train").is_in(frames["id"].to_list())
        )  # another task's leaks may have left before
        staying = frames.join(found, left_on="id", right_on="train", how="anti", maintain_order="left")
        if staying.is_empty():
            raise InputError(
                f"all {len(frames)} frames of the corpus are test images; pass other images or another --labelled"
            )
        rows = found.select("kind", "test", "train").iter_rows()
        gone = [
            Rejected(source=frame, reason=f"is the test image {test} ({kind})") for kind, test, frame in rows
        ]
        work.write_table("frames.parquet", staying)
        work.write_table(
            "rejected.parquet", pl.concat([indexed.table("rejected.parquet"), to_table(Rejected, gone)])
        )
        measured = indexed.table("quality.parquet")
        work.write_table(
            "quality.parquet", measured.join(staying.select("id"), on="id", how="semi", maintain_order="left")
        )
        told = indexed.json("index.json") | {
            "frames": len(staying),
            "groups": digest(canonical(staying["group"].to_list())),
        }
        work.write_json(
            "index.json",
            told | {"rejected": told["rejected"] + len(gone), "leaks": told.get("leaks", 0) + len(gone)},
        )
        work.content = digest(canonical(staying.select("id", "sha256").rows()))

    return store.build("clean", make, version=2, config={}, inputs={"index": indexed, "leaks": leaks})
