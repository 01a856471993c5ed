"""The leak check as a command: two sides of folders in, the matches and a page with the pairs out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from optidel.copies.pixels import UNCALIBRATED
from optidel.corpus.frames import Corpus
from optidel.corpus.index import index
from optidel.errors import RecipeError
from optidel.pipeline.leaks import Leaks, Match, Prints, describe_corpus, find_leaks, joined
from optidel.report.audit import Group, Line, Page, folder_title, write_page
from optidel.report.leaks import by_chance
from optidel.report.pictures import picture_tile
from optidel.store import make_folder

PAIRS = 60
"""Pairs of each kind on the page."""


def check_leaks(
    train: Path, tests: Sequence[Path], *, rate: float, near: int, out: Path | None
) -> tuple[Leaks, Path | None]:
    """Index both sides in memory and look for leaks; with ``out`` also write OUT/leaks.html, the pairs side
    by side.

    The ``folder`` of each match is the test folder as it was given: several may have the same name.

    Raises:
        RecipeError: a rate outside (0, 0.5), or a distance below 0.
        InputError: a folder without images.
        StoreError: ``out`` cannot be written.
    """
    if not 0 < rate < 0.5 or near < 0:
        raise RecipeError(
            f"rate must be in (0, 0.5) and near 0 or more, got {rate:g} and {near}; the defaults are 0.001 and 24"
        )
    if out is not None:
        make_folder(out)
    corpus, asked = index(train), {str(path): index(path) for path in tests}
    known = describe_corpus(corpus)
    found = find_leaks(
        known,
        joined([_named(describe_corpus(test), name) for name, test in asked.items()]),
        rate=rate,
        near=near,
    )
    if out is None:
        return found, None
    return found, write_page(_leak_page(corpus, asked, found), out / "leaks.html")


def in_words(found: Leaks) -> tuple[str, str]:
    """What was found, and how far the changed copies can be trusted."""
    matched = f"{len(found.leaked):,} of {found.test:,} test images match a frame of the corpus, which has {found.train:,}."
    if found.threshold is None:
        return matched, UNCALIBRATED
    over = f"Changed copies have a cosine similarity over {found.threshold:.3f}."
    return matched, f"{over} {by_chance(found.rate, found.test)} Look at the pairs."


def _named(prints: Prints, folder: str) -> Prints:
    return replace(prints, folders=[folder] * len(prints.ids))


def _leak_page(corpus: Corpus, asked: Mapping[str, Corpus], found: Leaks) -> Page:
    kinds = {
        "equal pixels": found.exact,
        "equal to the eye": found.perceptual,
        "changed copies": found.embedding,
    }
    rules = (
        "The same SHA-256 of the 8-bit pixels.",
        f"Perceptual hashes differ by at most {found.near} of 256 bits.",
        "Not compared."
        if found.threshold is None
        else f"Cosine similarity of the embeddings over {found.threshold:.3f}.",
    )
    return Page(
        kind="OptiDEL leak check",
        title=f"{', '.join(folder_title(test.root) for test in asked.values())} in {folder_title(corpus.root)}",
        verdict=in_words(found),
        facts=(
            Line(name="Corpus", value=str(corpus.root)),
            *(Line(name="Test images", value=f"{test.root}, {len(test):,}") for test in asked.values()),
        ),
        counts=tuple(
            Line(name=kind, value=f"{len({(match.folder, match.test) for match in matches}):,}", note=rule)
            for (kind, matches), rule in zip(kinds.items(), rules, strict=True)
        ),
        histograms=(),
        galleries=(),
        groups=tuple(
            _leak_pair(corpus, asked, kind, match)
            for kind, matches in kinds.items()
            for match in matches[:PAIRS]
        ),
        groups_title="Pairs",
        groups_lead=f"Test image left, corpus frame right; at most {PAIRS} pairs of each kind."
        if found.leaked
        else "None.",
        method=(
            "Embeddings are histograms of gradient directions with the mean colour of each cell, whitened on the corpus and compared also "
            "mirrored and upside down. A crop of less than nine tenths of the side, or a turn by 90°, is seldom found. "
            "Blank, dark and saturated frames are all alike and are not compared.",
        ),
    )


def _leak_pair(corpus: Corpus, asked: Mapping[str, Corpus], kind: str, match: Match) -> Group:
    value = {"equal pixels": "", "equal to the eye": f", {match.value:.0f} bits"}.get(
        kind, f", cosine similarity {match.value:.3f}"
    )
    tiles = []
    for side, name in ((asked[match.folder], match.test), (corpus, match.train)):
        row = next(row for row, frame in enumerate(side.frames) if frame.id == name)
        tiles.append(picture_tile(Image.fromarray(side.image(row)), name, folder_title(side.root)))
    return Group(title=f"{kind}{value}", tiles=tuple(tiles))
