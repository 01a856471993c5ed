"""The audit of a corpus: what is blank, blurred, burned in or there twice, and a page that shows it. Nothing
is deleted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int64
from PIL import Image

from optidel.copies.hashes import first_equal, hashes, leaders
from optidel.corpus.frames import Corpus
from optidel.corpus.quality import FLAWS, Thresholds, marks
from optidel.errors import RecipeError
from optidel.features.overlay import forbidden
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import Recipe
from optidel.records import Quality, from_table
from optidel.report.audit import Gallery, Group, Line, Page, folder_title, histogram, write_page
from optidel.report.pictures import picture_tile
from optidel.store import Artifact, Store, Workspace

SHOWN, GROUPS, MEMBERS = 12, 12, 6
"""Frames of a gallery, groups of copies, frames of a group on the page."""

RULES = {
    "constant": "Every pixel has the same value.",
    "blank": "Grey deviates by less than {blank:g} of 255 levels, and by less than {structure:g} after averaging over 1/32 of the sides.",
    "dark": "More than a fraction of {dark:g} of the frame is black, and what is left has next to no structure.",
    "saturated": "More than a fraction of {saturated:g} of the frame is white.",
    "blurred": "The variance of the Laplacian in the lit area is under {blurred:g} of the area's variance.",
    "low-entropy": "The histogram of grey holds less than {entropy:g} bits.",
    "border": "More than a fraction of {border:g} of a colour frame is black before and behind what the device lights.",
    "text": "More than a fraction of {text:g} of the frame lies under burned-in text or painted boxes; looked for on a sample.",
    "exact copies": "The same pixels as an earlier frame.",
    "near-copies": "Another perceptual hash than an earlier frame's, but at most {near} of 256 bits away.",
}
WORST = {
    "blurred": "sharpness",
    "low-entropy": "entropy",
    "blank": "deviation",
    "dark": "structure",
    "constant": "mean",
}
"""The measure that orders a gallery, the lowest first; ``border``, ``text`` and ``saturated`` put the highest
first.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found: ``counts`` by mark; ``redundant`` frames are copies or near-copies of an earlier one;
    ``sampled`` for text.
    """

    frames: int
    counts: dict[str, int]
    redundant: int
    groups: int
    sampled: int
    thresholds: Thresholds
    artifact: Path
    page: Path

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        told = {name: getattr(self, name) for name in ("frames", "counts", "redundant", "groups", "sampled")}
        paths = {"artifact": str(self.artifact), "page": str(self.page)}
        return {
            **told,
            "redundancy": self.redundant / self.frames,
            "thresholds": asdict(self.thresholds),
            **paths,
        }


FRACTIONS = ("dark", "saturated", "border", "text")
"""Thresholds that are fractions of a frame."""


def audit(recipe: Recipe, thresholds: dict[str, float] | None = None, *, sample: int = 200) -> Audit:
    """Index, mark and count; write RUN/audit.html.

    Args:
        recipe: says which images and which run folder.
        thresholds: fields of :class:`~optidel.corpus.quality.Thresholds` other than the defaults.
        sample: frames, evenly spaced, on which burned-in text is looked for; 0 for all.

    Raises:
        RecipeError: a threshold or a sample below 0, or a fraction above 1.
    """
    given: dict[str, Any] = {
        name: int(value) if name == "near" else value for name, value in (thresholds or {}).items()
    }
    for name, value in given.items():
        if value < 0:
            raise RecipeError(f"{name} must be 0 or more, got {value:g}; docs/audit.md lists the defaults")
        if name in FRACTIONS and value > 1:
            raise RecipeError(
                f"{name} is a fraction and must be at most 1, got {value:g}; docs/audit.md lists the defaults"
            )
    if sample < 0:
        raise RecipeError(f"sample must be 0 or more, got {sample}; 0 looks for text in every frame")
    chosen = replace(Thresholds(), **given)
    pipeline = Pipeline(recipe)
    made = audit_step(pipeline.store, pipeline.index, chosen, sample)
    corpus, summary = pipeline.corpus, made.json("summary.json")
    page = write_page(_page(corpus, made, pipeline.index, chosen), pipeline.store.root / "audit.html")
    numbers = {name: summary[name] for name in ("frames", "redundant", "groups", "sampled")}
    return Audit(
        **numbers, counts=_ordered(summary["counts"]), thresholds=chosen, artifact=made.path, page=page
    )


def audit_step(store: Store, indexed: Artifact, thresholds: Thresholds, sample: int) -> Artifact:
    """Marks and copies of every frame: ``marks.parquet`` (id, marks, exact, near, text) and ``summary.json``.

    ``exact`` and ``near`` are the row of the earlier frame that a frame is a copy, or a near-copy, of; its
    own row where it is none.
    """
    frames, qualities = indexed.table("frames.parquet"), _qualities(indexed)
    printed = text_step(store, indexed, sample)

    def make(work: Workspace) -> None:
        exact = first_equal(frames["sha256"].to_list())
        near = _near(qualities, exact, thresholds.near)
        text = printed.table("text.parquet").select("id", "text")
        found = [list(marks(quality, thresholds)) for quality in qualities]
        table = pl.DataFrame(
            {
                "id": frames["id"],
                "marks": pl.Series(found, dtype=pl.List(pl.String)),
                "exact": exact,
                "near": near,
            }
        ).join(text, on="id", how="left", maintain_order="left")
        work.write_table("marks.parquet", table)
        work.write_json("summary.json", _summary(table, thresholds))

    config = {"thresholds": asdict(thresholds)}
    return store.build("audit", make, version=1, config=config, inputs={"index": indexed, "text": printed})


def text_step(store: Store, indexed: Artifact, sample: int) -> Artifact:
    """The fraction of frames under burned-in text, on a sample: the detector takes longer than decoding does."""
    corpus = Corpus.load(indexed)
    count = min(sample or len(corpus), len(corpus))
    rows = np.unique(np.linspace(0, len(corpus) - 1, count).round().astype(int)).tolist()

    def make(work: Workspace) -> None:
        fraction = work.open_array("text.npy", (len(rows),), np.float32)
        place = {row: number for number, row in enumerate(rows)}
        for start, stop in work.blocks(len(rows), 32, "text"):
            for row, image in corpus.images(rows[start:stop]):
                fraction[place[row]] = forbidden(image).overlay.mean()
        ids = [corpus.frames[row].id for row in rows]
        work.write_table(
            "text.parquet",
            pl.DataFrame({"id": ids, "text": pl.Series(np.asarray(fraction), dtype=pl.Float64)}),
        )

    return store.build("text", make, version=1, config={"sample": sample}, inputs={"index": indexed})


def _qualities(indexed: Artifact) -> list[Quality]:
    frames = indexed.table("frames.parquet")
    measured = indexed.table("quality.parquet").drop("flaw", strict=False).with_columns(frames["flaw"])
    return from_table(Quality, measured.select([field.name for field in fields(Quality)]))


def _near(qualities: Sequence[Quality], exact: Int64[np.ndarray, "n"], radius: int) -> Int64[np.ndarray, "n"]:
    """Leaders by perceptual hash; frames that show nothing are all alike and lead themselves, exact copies
    follow their first.
    """
    rows = np.flatnonzero([not quality.flaw for quality in qualities])
    near = np.arange(len(qualities))
    if len(rows):
        near[rows] = rows[
            leaders(hashes([quality.phash for quality in qualities if not quality.flaw]), radius)
        ]
    return np.asarray(near[exact])


def _summary(table: pl.DataFrame, thresholds: Thresholds) -> dict[str, Any]:
    own = np.arange(table.height)
    exact, near = table["exact"].to_numpy(), table["near"].to_numpy()
    counts = dict.fromkeys(RULES, 0) | Counter(mark for row in table["marks"].to_list() for mark in row)
    counts["text"] = int((table["text"] > thresholds.text).sum() or 0)
    counts["exact copies"] = int((exact != own).sum())
    counts["near-copies"] = int(((near != own) & (exact == own)).sum())
    redundant = (exact != own) | (near != own)
    return {
        "frames": table.height,
        "counts": counts,
        "redundant": int(redundant.sum()),
        "groups": len(np.unique(near[redundant])),
        "sampled": int(table["text"].is_not_null().sum()),
    }


def _ordered(counts: dict[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in RULES}


def _page(corpus: Corpus, made: Artifact, indexed: Artifact, thresholds: Thresholds) -> Page:
    table, summary = made.table("marks.parquet"), made.json("summary.json")
    measures = indexed.table("quality.parquet")
    rules = {name: rule.format(**asdict(thresholds)) for name, rule in RULES.items()}
    counts = _ordered(summary["counts"])
    share = summary["redundant"] / summary["frames"]
    frames = summary["frames"]
    worthless = sum(not set(FLAWS).isdisjoint(row) for row in table["marks"].to_list())
    return Page(
        kind="OptiDEL audit",
        title=folder_title(corpus.root),
        verdict=(
            f"{summary['redundant']:,} of {frames:,} frames ({100 * share:.1f} %) are copies or near-copies of an earlier one, "
            f"in {summary['groups']:,} groups.",
            f"{counts['text']:,} of {summary['sampled']:,} frames looked at carry burned-in text or painted boxes.",
            f"{worthless:,} frames show nothing (blank, dark or saturated). All else is for you to judge; nothing was deleted.",
        ),
        facts=(
            Line(name="Corpus", value=str(corpus.root)),
            Line(name="Frames", value=f"{frames:,}"),
            Line(name="Quarantined files", value=f"{len(corpus.rejected):,}"),
            Line(name="Looked at for text", value=f"{summary['sampled']:,} frames, evenly spaced"),
        ),
        counts=tuple(
            Line(
                name=name,
                value=f"{count:,} of {summary['sampled']:,}" if name == "text" else f"{count:,}",
                note=rules[name],
            )
            for name, count in counts.items()
        ),
        histograms=_histograms(measures, table, thresholds),
        galleries=_galleries(corpus, table, measures, counts, rules, thresholds),
        groups=_groups(corpus, table),
        groups_title="Copies",
        groups_lead="The largest groups; the first frame of each is the one that the others repeat."
        if summary["redundant"]
        else "No frame repeats another.",
        method=(
            "Everything but text comes from the pass that indexes the frames. Sharpness is measured inside the lit area, in units of its "
            "variance, so that contrast does not count. Grey frames have no border: around cells or a chest, black belongs to the picture.",
            "Thresholds are options of optidel audit; its page in the documentation says on which images the defaults were judged.",
        ),
    )


def _histograms(measures: pl.DataFrame, table: pl.DataFrame, thresholds: Thresholds) -> tuple[Any, ...]:
    shown = [
        ("Sharpness", "logarithmic", measures["sharpness"], thresholds.blurred, "under", True),
        ("Deviation of grey", "levels of 255", measures["deviation"], thresholds.blank, "under", False),
        ("Black", "fraction of the frame", measures["dark"], thresholds.dark, "over", False),
        ("White", "fraction of the frame", measures["saturated"], thresholds.saturated, "over", False),
        ("Entropy", "bits", measures["entropy"], thresholds.entropy, "under", False),
        (
            "Border",
            "fraction of the frame; counts in colour",
            measures["border"],
            thresholds.border,
            "over",
            False,
        ),
        (
            "Burned-in text",
            "fraction of the frame",
            table["text"].drop_nulls(),
            thresholds.text,
            "over",
            False,
        ),
    ]
    return tuple(
        histogram(name, unit, values.to_numpy().astype(np.float64), cut, side, log)
        for name, unit, values, cut, side, log in shown
    )


def _galleries(
    corpus: Corpus,
    table: pl.DataFrame,
    measures: pl.DataFrame,
    counts: dict[str, int],
    rules: dict[str, str],
    thresholds: Thresholds,
) -> tuple[Gallery, ...]:
    text = table["text"].fill_null(-1).to_numpy()
    galleries = []
    for name, count in counts.items():
        if not count or name.endswith("copies"):
            continue
        marked = (
            text > thresholds.text
            if name == "text"
            else np.array([name in row for row in table["marks"].to_list()])
        )
        values = text if name == "text" else measures[WORST.get(name, name)].to_numpy()
        order = _worst(np.flatnonzero(marked), values if name in WORST else -values)
        pictures = _pictures(corpus, order)
        tiles = tuple(
            picture_tile(pictures[row], corpus.frames[row].id, f"{WORST.get(name, name)} {values[row]:.3g}")
            for row in order
        )
        looked = table["text"].count() if name == "text" else table.height
        galleries.append(Gallery(name=name, rule=rules[name], count=count, of=looked, tiles=tiles))
    return tuple(galleries)


def _worst(rows: Int64[np.ndarray, "m"], values: Float[np.ndarray, "n"]) -> list[int]:
    return [int(row) for row in rows[np.argsort(values[rows], kind="stable")][:SHOWN]]


def _groups(corpus: Corpus, table: pl.DataFrame) -> tuple[Group, ...]:
    near, exact = table["near"].to_numpy(), table["exact"].to_numpy()
    sizes = Counter(near.tolist())
    chosen = [
        leader for leader, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])) if size > 1
    ][:GROUPS]
    groups = []
    for leader in chosen:
        members = np.flatnonzero(near == leader).tolist()
        shown = members[:MEMBERS]
        pictures = _pictures(corpus, shown)
        tiles = tuple(
            picture_tile(
                pictures[row],
                corpus.frames[row].id,
                "" if row == leader else "same pixels" if exact[row] != row else "near-copy",
            )
            for row in shown
        )
        groups.append(
            Group(
                title=f"{len(members):,} frames"
                + (f", {len(shown)} shown" if len(shown) < len(members) else ""),
                tiles=tiles,
            )
        )
    return tuple(groups)


def _pictures(corpus: Corpus, rows: Sequence[int]) -> dict[int, Image.Image]:
    return {row: Image.fromarray(image) for row, image in corpus.images(rows)}
