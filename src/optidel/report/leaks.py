"""Test images in the pre-training corpus: what a run found, in one sentence and in pictures."""

from dataclasses import dataclass

from PIL import Image

from optidel.copies.pixels import UNCALIBRATED
from optidel.report.pictures import Tile, picture_tile
from optidel.runs.collect import Run
from optidel.runs.summaries import LeaksSummary, read_summary
from optidel.store import Artifact

NAMED = 3
"""Test images named in the sentence."""

LISTED = 200
"""Pairs in the table."""

UNSEEN = "changed copies were not looked for: the corpus is too small, of one group, or too much alike"

UNITS = {"exact": "equal pixels", "perceptual": "bits of 256 differ", "embedding": "cosine similarity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakedPair:
    """A test image beside the corpus frame it was found in; ``how`` says how alike they are."""

    test: Tile
    train: Tile
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakSection:
    """What the page shows: the sentence, how it was looked for, pairs in pictures, and rows (test, train,
    how).
    """

    found: bool
    sentence: str
    method: str
    pairs: tuple[LeakedPair, ...]
    rows: tuple[tuple[str, str, str], ...]
    more: int


def sentence(leaks: Artifact, *, drop: bool) -> str:
    """What was found, and what follows from it."""
    summary = read_summary(leaks, LeaksSummary)
    unseen = f" ({UNSEEN})" if summary.threshold is None else ""
    if not summary.leaked:
        return f"none of the {summary.test} test images was found in the pre-training corpus{unseen}"
    names = leaks.table("leaks.parquet")["test"].unique(maintain_order=True).to_list()
    listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    kinds = ", ".join(f"{summary.images[kind]} {kind}" for kind in UNITS if summary.images[kind])
    verb = "was" if summary.leaked == 1 else "were"
    found = f"{summary.leaked} of {summary.test} test images {verb} found in the pre-training corpus ({kinds}): {listed}"
    remedy = (
        "their frames are left out of all training"
        if drop
        else 'scores may flatter; leaks = "drop" leaves their frames out'
    )
    return f"{found}; {remedy}{unseen}"


def section(run: Run) -> LeakSection | None:
    """The section of a run's page; None where the run did not look."""
    if run.leaks is None:
        return None
    summary, table = read_summary(run.leaks, LeaksSummary), run.leaks.table("leaks.parquet")
    rows = tuple(
        (test, train, _how(kind, value)) for kind, test, train, value in table.head(LISTED).iter_rows()
    )
    text = sentence(run.leaks, drop=dropped(run))
    return LeakSection(
        found=bool(summary.leaked),
        sentence=text[0].upper() + text[1:] + ".",
        method=_method(summary),
        pairs=_pairs(run.leaks),
        rows=rows,
        more=len(table) - len(rows),
    )


def dropped(run: Run) -> bool:
    """Whether the run left the frames out."""
    return run.index.step == "clean"


def _how(kind: str, value: float) -> str:
    if kind == "exact":
        return UNITS[kind]
    return f"{value:.0f} {UNITS[kind]}" if kind == "perceptual" else f"{UNITS[kind]} {value:.3f}"


def _method(summary: LeaksSummary) -> str:
    looked = (
        f"Looked for: equal pixels, and perceptual hashes that differ in at most {summary.near} of 256 bits"
    )
    if summary.threshold is None:
        return f"{looked}. {UNCALIBRATED}"
    return (
        f"{looked}, and embeddings whose cosine similarity is above {summary.threshold:.3f}. "
        f"{by_chance(summary.rate, summary.test)}"
    )


def by_chance(rate: float, tested: int) -> str:
    """How many of the test images pass the threshold of the embedding without a copy in the corpus."""
    told = f"Test images without a copy pass it at a rate of {rate:.2%}: about {rate * tested:.2g} of these {tested:,} by chance."
    return told.replace("%", " %")


def _pairs(leaks: Artifact) -> tuple[LeakedPair, ...]:
    pairs = []
    for number, (kind, test, train, value) in enumerate(leaks.table("pictures.parquet").iter_rows()):
        sides = []
        for side, name in (("test", test), ("train", train)):
            with Image.open(leaks.file(f"pictures/{number}-{side}.png")) as picture:
                sides.append(
                    picture_tile(
                        picture.convert("RGB"), name, {"test": "test image", "train": "in the corpus"}[side]
                    )
                )
        pairs.append(LeakedPair(test=sides[0], train=sides[1], how=_how(kind, value)))
    return tuple(pairs)
