"""Test images in the pre-training corpus: what a run found, in one sentence and in pictures."""

from dataclasses import dataclass

from PIL import Image as PillowImage

from optidel.corpus.names import Names
from optidel.report.pictures import Tile, picture_tile
from optidel.runs.collect import Run
from optidel.runs.summaries import IndexSummary, LeaksSummary, read_summary
from optidel.store import Artifact
from optidel.words import counted

NAMED = 3  # test images named in the sentence, which must stay one line of a terminal
LISTED = 200  # pairs in the table; all of them are in leaks.parquet

# By kind of copy, in the order in which they are told.
UNITS = {
    "exact": "equal pixels",
    "perceptual": "bits of 256 differ",
    "embedding": "cosine similarity",
    "points": "points agree",
}

POINTS_ALONE = "changed copies were looked for by points alone"

SIDES = {"test": "test image", "train": "in the corpus"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakedPair:
    """A test image beside the corpus frame it was found in; ``how`` says how alike they are."""

    test: Tile
    train: Tile
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakSection:
    """What the page shows: the sentence, how copies were looked for, pairs in pictures, and rows.

    A row is (test image, corpus frame, how alike); ``more`` counts the pairs without a row.
    """

    any_leak: bool
    sentence: str
    method: str
    pairs: tuple[LeakedPair, ...]
    rows: tuple[tuple[str, str, str], ...]
    more: int


def sentence(leaks: Artifact, *, drop: bool, names: Names | None = None) -> str:
    """What was found, and what follows from it."""
    names = names or Names()
    summary = read_summary(leaks, LeaksSummary)
    reason = summary.reason or ""
    unseen = f" ({POINTS_ALONE} among {reason})" if summary.threshold is None else ""
    if not summary.leaked:
        return f"none of the {summary.test} test images was found in the pre-training corpus{unseen}"

    images = leaks.table("leaks.parquet")["test"].unique(maintain_order=True).to_list()
    examples = ", ".join(names(name) for name in images[:NAMED])
    more = ", …" if len(images) > NAMED else ""
    kinds = ", ".join(f"{summary.images[kind]} {kind}" for kind in UNITS if summary.images.get(kind))
    verb = "was" if summary.leaked == 1 else "were"
    remedy = (
        "their frames are left out of all training"
        if drop
        else 'scores may flatter; leaks = "drop" leaves their frames out'
    )
    return (
        f"{summary.leaked} of {summary.test} test images {verb} found in the pre-training corpus ({kinds}): "
        f"{examples}{more}; {remedy}{unseen}"
    )


def leak_section(run: Run, names: Names) -> LeakSection | None:
    """The section of a run's page; None where the run did not look."""
    if run.leaks is None:
        return None
    summary = read_summary(run.leaks, LeaksSummary)
    table = run.leaks.table("leaks.parquet")
    rows = [
        (names(test), names(train), _how(kind, value))
        for kind, test, train, value in table.head(LISTED).iter_rows()
    ]
    text = sentence(run.leaks, drop=read_summary(run.index, IndexSummary).leaks is not None, names=names)
    return LeakSection(
        any_leak=bool(summary.leaked),
        sentence=text[0].upper() + text[1:] + ".",
        method=_method(summary),
        pairs=_pairs(run.leaks, names),
        rows=tuple(rows),
        more=len(table) - len(rows),
    )


def _how(kind: str, value: float) -> str:
    if kind == "exact":
        return UNITS[kind]
    if kind == "perceptual":
        return f"{counted(round(value), 'bit', ('differs', 'differ'))} of 256"
    if kind == "points":
        return counted(round(value), "point", ("agrees", "agree"))
    return f"{UNITS[kind]} {value:.3f}"


def _method(summary: LeaksSummary) -> str:
    """How copies were looked for, and how far that can be trusted."""
    hashes = f"perceptual hashes that differ in at most {summary.near} of 256 bits"
    if summary.threshold is None:
        return f"Looked for: equal pixels, {hashes}, and agreeing points. {uncompared(summary.reason or '')}"
    method = (
        f"Looked for: equal pixels, {hashes}, embeddings whose cosine similarity is above "
        f"{summary.threshold:.3f}, and agreeing points. {by_chance(summary.rate, summary.test)}"
    )
    return f"{method} {uncompared(summary.reason)}" if summary.reason else method


def uncompared(reason: str) -> str:
    """Says that embeddings could not be compared, or not of all frames, and the true reason."""
    return f"{POINTS_ALONE[0].upper()}{POINTS_ALONE[1:]}, not by embeddings, among {reason}."


def by_chance(rate: float, tested: int) -> str:
    """How many of the test images pass the threshold of the embedding without a copy in the corpus."""
    share = f"{rate:.2%}".replace("%", " %")
    return (
        f"Test images without a copy pass it at a rate of {share}: "
        f"about {rate * tested:.2g} of these {tested:,} by chance."
    )


def _pairs(leaks: Artifact, names: Names) -> tuple[LeakedPair, ...]:
    pairs = []
    for number, (kind, test, train, value) in enumerate(leaks.table("pictures.parquet").iter_rows()):
        pair = LeakedPair(
            test=_side(leaks, number, "test", names(test)),
            train=_side(leaks, number, "train", names(train)),
            how=_how(kind, value),
        )
        pairs.append(pair)
    return tuple(pairs)


def _side(leaks: Artifact, number: int, side: str, name: str) -> Tile:
    with PillowImage.open(leaks.file(f"pictures/{number}-{side}.png")) as picture:
        return picture_tile(picture.convert("RGB"), name, SIDES[side])
