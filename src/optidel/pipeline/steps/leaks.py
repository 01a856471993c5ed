"""The leak check of a run: which test images lie in the pre-training corpus."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl
from PIL import Image as PillowImage

from optidel.arrays import Image
from optidel.copies.leaks import KINDS, find_leaks
from optidel.copies.prints import describe_images
from optidel.corpus.frames import Corpus
from optidel.datasets.masks import single_image
from optidel.mapping import Plan
from optidel.pipeline.steps.prints import load_prints, prints_step
from optidel.progress import track
from optidel.readers import Window
from optidel.runs.summaries import LeaksSummary, write_summary
from optidel.store import Artifact, Store, Workspace

# Of the step: 2 looks for turned and cropped copies too, and calibrates concept by concept.
VERSION = 2

# Pairs of each kind kept as pictures for the report: one row of the page.
SHOWN = 4

# Longest side of such a picture, px: a quarter of the page's width.
SIDE = 260

COLUMNS = {"kind": pl.String, "test": pl.String, "train": pl.String, "value": pl.Float64}


def leaks_step(
    store: Store, indexed: Artifact, task: Artifact, folder: Path, plan: Plan | None = None
) -> Artifact:
    """Compare the test images of a labelled set, at full size, to the corpus.

    Writes ``leaks.parquet`` (kind, test, train, value: bits that differ of perceptual hashes, cosine
    similarity of embeddings, agreeing points), ``summary.json`` (counts, the threshold of the embedding and
    its rate of false positives), and of some pairs the two pictures, ``pictures/0-test.png`` and
    ``pictures/0-train.png``, listed in ``pictures.parquet``.
    """

    corpus = Corpus.load(indexed)

    def make(work: Workspace) -> None:
        items = task.table("items.parquet").filter(pl.col("split") == "test")
        corpus_prints = load_prints(prints_step(store, indexed, plan), indexed)
        test_prints = describe_images(_images(folder, items, corpus.window), folder.resolve().name)
        leaks = find_leaks(corpus_prints, test_prints)

        rows = [(kind, match.test, match.train, match.value) for kind in KINDS for match in leaks.of(kind)]
        table = pl.DataFrame(rows, COLUMNS, orient="row")
        work.write_table("leaks.parquet", table)
        sources = dict(items.select("id", "source").iter_rows())
        _write_pictures(work, table, corpus, folder, sources)
        summary = LeaksSummary(
            test=leaks.test,
            train=leaks.train,
            leaked=len(leaks.leaked),
            rate=leaks.rate,
            threshold=leaks.threshold,
            reason=leaks.reason or None,
            near=leaks.near,
            images={kind: len({match.test for match in leaks.of(kind)}) for kind in KINDS},
        )
        write_summary(work, summary)

    # Earlier versions read test images without it.
    config = {} if corpus.window is None else {"window": corpus.window}
    return store.build("leaks", make, version=VERSION, config=config, inputs={"index": indexed, "task": task})


def _images(folder: Path, items: pl.DataFrame, window: Window | None) -> Iterator[tuple[str, Image]]:
    rows: Iterable[tuple[str, str]] = items.select("id", "source").iter_rows()
    for name, source in track(rows, "test images", len(items)):
        yield name, _image(folder, source, window)


def _image(folder: Path, source: str, window: Window | None) -> Image:
    """A labelled image, or the slice of a volume that its source names behind a ``#``; CT as the corpus shows
    it.
    """
    file, _, locator = source.rpartition("#")
    if file and not (folder / source).exists():
        return single_image(folder / file, locator, window)
    return single_image(folder / source, window=window)


def _write_pictures(
    work: Workspace, table: pl.DataFrame, corpus: Corpus, folder: Path, sources: Mapping[str, str]
) -> None:
    """Pictures of a few pairs of each kind, for the report: the originals may not be there when it is
    read."""
    images = table.unique("test", keep="first", maintain_order=True)
    pairs = images.group_by("kind", maintain_order=True).head(SHOWN)
    rows = {frame.id: row for row, frame in enumerate(corpus.frames)}
    for number, (test, train) in enumerate(pairs.select("test", "train").iter_rows()):
        sides = {"test": _image(folder, sources[test], corpus.window), "train": corpus.image(rows[train])}
        for side, image in sides.items():
            picture = PillowImage.fromarray(image)
            picture.thumbnail((SIDE, SIDE), PillowImage.Resampling.LANCZOS)
            with work.writing(f"pictures/{number}-{side}.png") as path:
                picture.save(path, format="PNG")
    work.write_table("pictures.parquet", pairs)
