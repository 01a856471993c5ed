"""The page of an audit: how often each mark was set and from where on, the worst frames, groups of copies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import polars as pl
from jaxtyping import Float, Int64
from PIL import Image as PillowImage

from optidel.copies.near import first_of_chain
from optidel.corpus.frames import Corpus
from optidel.corpus.names import Names
from optidel.corpus.quality import FLAWS, Thresholds
from optidel.report.audit import Gallery, Group, Histogram, Line, Page, folder_title, histogram
from optidel.report.pictures import Tile, picture_tile
from optidel.report.text import percent
from optidel.runs.summaries import AuditSummary, read_summary
from optidel.store import Artifact
from optidel.words import counted

# Frames of a gallery: two rows of the page.
SHOWN = 12

# Groups of copies: as many as a person looks through.
GROUPS = 12

# Frames of a group: one row of the page.
MEMBERS = 6

# The marks in the order of the page, and from where on each is set.
RULES = {
    "constant": "Every pixel has the same value.",
    "blank": (
        "Grey deviates by less than {blank:g} of 255 levels, and by less than {structure:g} after averaging "
        "over 1/32 of the sides."
    ),
    "dark": "More than {dark} of the frame is black, and what is left has next to no structure.",
    "saturated": "More than {saturated} of the frame is white.",
    "blurred": "The variance of the Laplacian in the lit area is under {blurred:g} of the area's variance.",
    "low-entropy": "The histogram of grey has an entropy under {entropy:g} bit.",
    "border": "More than {border} of a colour frame is black before and behind what the device lights.",
    "text": (
        "More than {text} of the frame lies under burned-in text or painted boxes; looked for on a sample."
    ),
    "exact copies": "The same pixels as an earlier frame.",
    "near-copies": (
        "Other pixels than an earlier frame, but a perceptual hash at most {near} of 256 bits away, "
        "or a copy of it that was turned, mirrored, cropped, or taken a moment later."
    ),
}

# Thresholds that are a share of the frame.
SHARES = ("dark", "saturated", "border", "text")

# The measure that orders a gallery, the lowest first; `border`, `text` and `saturated` put the highest
# first.
WORST = {
    "blurred": "sharpness",
    "low-entropy": "entropy",
    "blank": "deviation",
    "dark": "structure",
    "constant": "mean",
}

METHOD = (
    "Everything but text and copies comes from the pass that indexes the frames. Sharpness is measured "
    "inside the lit area, in units of its variance, so that contrast does not count. Grey frames have no "
    "border: around cells or a chest, black belongs to the picture.",
    "Thresholds are options of optidel audit; its page in the documentation says on which images the "
    "defaults were judged, and how often they are right for each modality.",
)


def audit_page(
    corpus: Corpus, audited: Artifact, indexed: Artifact, thresholds: Thresholds, names: Names
) -> Page:
    """What the page shows.

    Args:
        corpus: the frames.
        audited: the step ``audit``.
        indexed: the step ``index``.
        thresholds: from where on a frame is marked.
        names: how frames and folders are called.
    """
    table, summary = audited.table("marks.parquet"), read_summary(audited, AuditSummary)
    measures = indexed.table("quality.parquet")
    values = asdict(thresholds)
    values |= {name: percent(values[name]) for name in SHARES}
    rules = {name: rule.format(**values) for name, rule in RULES.items()}
    name = names(folder_title(corpus.root))
    lead = "The largest groups; the first frame of each is the one that the others repeat."
    return Page(
        kind="OptiDEL audit",
        title=name,
        verdict=_verdict(table, summary),
        facts=(
            Line(name="Corpus", value=name),
            Line(name="Frames", value=f"{summary.frames:,}"),
            Line(name="Quarantined files", value=f"{len(corpus.rejected):,}"),
            Line(name="Looked at for text", value=f"{counted(summary.sampled, 'frame')}, evenly spaced"),
        ),
        counts=tuple(_count(mark, summary, rule) for mark, rule in rules.items()),
        histograms=_histograms(measures, table, thresholds),
        galleries=_galleries(corpus, table, measures, summary, rules, thresholds, names),
        groups=_groups(corpus, table, names),
        groups_title="Copies",
        groups_lead=lead if summary.redundant else "No frame repeats another.",
        method=METHOD,
    )


def _verdict(table: pl.DataFrame, summary: AuditSummary) -> tuple[str, ...]:
    share = 100 * summary.redundant / summary.frames
    frames, sampled = counted(summary.frames, "frame"), counted(summary.sampled, "frame")
    texts = summary.counts["text"]
    repeat = "repeats" if summary.redundant == 1 else "repeat"
    carry = "carries" if texts == 1 else "carry"
    worthless = sum(not set(FLAWS).isdisjoint(row) for row in table["marks"].to_list())
    return (
        f"{summary.redundant:,} of {frames} ({share:.1f} %) {repeat} an earlier one, pixel by pixel or "
        f"nearly, in {counted(summary.groups, 'group')}.",
        f"{texts:,} of {sampled} looked at {carry} burned-in text or painted boxes.",
        f"{counted(worthless, 'frame', ('shows', 'show'))} nothing (blank, dark or saturated). All "
        "else is for you to judge; nothing was deleted.",
    )


def _count(mark: str, summary: AuditSummary, rule: str) -> Line:
    looked_at = f" of {summary.sampled:,}" if mark == "text" else ""
    return Line(name=mark, value=f"{summary.counts[mark]:,}{looked_at}", note=rule)


def _histograms(measures: pl.DataFrame, table: pl.DataFrame, thresholds: Thresholds) -> tuple[Histogram, ...]:
    text = table["text"].drop_nulls()
    fraction = "fraction of the frame"
    in_colour = f"{fraction}; counts in colour"
    columns = [
        ("Sharpness", "logarithmic", measures["sharpness"], thresholds.blurred, "under", True),
        ("Deviation of grey", "levels of 255", measures["deviation"], thresholds.blank, "under", False),
        ("Black", fraction, measures["dark"], thresholds.dark, "over", False),
        ("White", fraction, measures["saturated"], thresholds.saturated, "over", False),
        ("Entropy", "bits", measures["entropy"], thresholds.entropy, "under", False),
        ("Border", in_colour, measures["border"], thresholds.border, "over", False),
        ("Burned-in text", fraction, text, thresholds.text, "over", False),
    ]
    return tuple(
        histogram(name, unit, values.to_numpy().astype(np.float64), threshold, side, logarithmic)
        for name, unit, values, threshold, side, logarithmic in columns
    )


def _galleries(
    corpus: Corpus,
    table: pl.DataFrame,
    measures: pl.DataFrame,
    summary: AuditSummary,
    rules: dict[str, str],
    thresholds: Thresholds,
    names: Names,
) -> tuple[Gallery, ...]:
    text = table["text"].fill_null(-1).to_numpy()
    marks = table["marks"].to_list()
    galleries = []
    for name, rule in rules.items():
        count = summary.counts[name]
        if not count or name.endswith("copies"):
            continue
        measure = WORST.get(name, name)
        if name == "text":
            marked, values, of = text > thresholds.text, text, summary.sampled
        else:
            marked = np.array([name in row for row in marks])
            values, of = measures[measure].to_numpy(), table.height
        order = _worst(np.flatnonzero(marked), values if name in WORST else -values)
        pictures = _pictures(corpus, order)
        tiles = [
            picture_tile(pictures[row], names(corpus.frames[row].id), f"{measure} {values[row]:.3g}")
            for row in order
        ]
        galleries.append(Gallery(name=name, rule=rule, count=count, of=of, tiles=tuple(tiles)))
    return tuple(galleries)


def _worst(rows: Int64[np.ndarray, "m"], values: Float[np.ndarray, "n"]) -> list[int]:
    return [int(row) for row in rows[np.argsort(values[rows], kind="stable")][:SHOWN]]


def _groups(corpus: Corpus, table: pl.DataFrame, names: Names) -> tuple[Group, ...]:
    """The largest groups of copies."""
    first = first_of_chain(table["near"].to_numpy())
    sizes = Counter(first.tolist())
    by_size = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    groups = []
    for leader, size in by_size[:GROUPS]:
        if size == 1:
            break
        members = np.flatnonzero(first == leader).tolist()[:MEMBERS]
        part = f", {len(members)} shown" if len(members) < size else ""
        groups.append(Group(title=f"{size:,} frames{part}", tiles=_members(corpus, table, members, names)))
    return tuple(groups)


def _members(corpus: Corpus, table: pl.DataFrame, members: list[int], names: Names) -> tuple[Tile, ...]:
    exact, near = table["exact"].to_numpy(), table["near"].to_numpy()
    pictures = _pictures(corpus, members)
    tiles = []
    for row in members:
        likeness = "same pixels" if exact[row] != row else "near-copy"
        note = "" if near[row] == row else likeness
        tiles.append(picture_tile(pictures[row], names(corpus.frames[row].id), note))
    return tuple(tiles)


def _pictures(corpus: Corpus, rows: Sequence[int]) -> dict[int, PillowImage.Image]:
    return {row: PillowImage.fromarray(image) for row, image in corpus.images(rows)}
