"""The leak check as a command: two sides of folders in, the matches and a page with the pairs out."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from optidel.corpus.index import Corpus, index
from optidel.errors import RecipeError
from optidel.pipeline.leaks import Leaks, Match, describe_corpus, find_leaks, joined
from optidel.report.audit import Group, Line, Page, tile, write_page

PAIRS = 60
"""Pairs of each kind on the page."""


def check_leaks(train: Path, tests: Sequence[Path], *, rate: float, near: int, out: Path | None) -> tuple[Leaks, Path | None]:
    """Index both sides in memory and look for leaks; with ``out`` also write OUT/leaks.html, the pairs side by side.

    Raises:
        RecipeError: a rate outside (0, 0.5), or a distance below 0.
        InputError: a folder without images.
    """
    if not 0 < rate < 0.5 or near < 0:
        raise RecipeError(f"rate must be in (0, 0.5) and near 0 or more, got {rate:g} and {near}; the defaults are 0.001 and 24")
    corpus, asked = index(train), [index(path) for path in tests]
    known = describe_corpus(corpus)
    found = find_leaks(known, joined([describe_corpus(test) for test in asked]), rate=rate, near=near)
    if out is None:
        return found, None
    return found, write_page(_leak_page(corpus, asked, found), out / "leaks.html")


def _leak_page(corpus: Corpus, asked: Sequence[Corpus], found: Leaks) -> Page:
    sides = {test.root.name: test for test in asked}
    kinds = {"equal pixels": found.exact, "equal to the eye": found.perceptual, "changed copies": found.embedding}
    calibrated = (
        f"Changed copies have a cosine similarity over {found.threshold:.3f}; {found.rate:.2%} of test images without a copy would too."
        if found.threshold is not None
        else "The corpus has too few frames to look for changed copies."
    )
    return Page(
        kind="OptiDEL leak check",
        title=f"{', '.join(sides)} in {corpus.root.name}",
        verdict=(f"{len(found.leaked):,} of {found.test:,} test images are in the corpus of {found.train:,} frames.", calibrated),
        facts=(),
        counts=tuple(Line(name=kind, value=f"{len(matches):,}") for kind, matches in kinds.items()),
        histograms=(),
        galleries=(),
        groups=tuple(_leak_pair(corpus, sides, kind, match) for kind, matches in kinds.items() for match in matches[:PAIRS]),
        groups_lead=f"Test image left, corpus frame right; at most {PAIRS} pairs of each kind.",
        method=(
            f"Equal to the eye: perceptual hashes differ by at most {found.near} of 256 bits. A crop of less than nine tenths of the side, "
            "or a rotation, is seldom found. Blank, dark and saturated frames are all alike and are not compared.",
        ),
    )


def _leak_pair(corpus: Corpus, sides: dict[str, Corpus], kind: str, match: Match) -> Group:
    value = {"equal pixels": "", "equal to the eye": f", {match.value:.0f} bits"}.get(kind, f", cosine similarity {match.value:.3f}")
    tiles = []
    for side, name in ((sides[match.folder], match.test), (corpus, match.train)):
        row = next(row for row, frame in enumerate(side.frames) if frame.id == name)
        tiles.append(tile(Image.fromarray(side.image(row)), name, side.root.name))
    return Group(title=f"{kind}{value}", tiles=tuple(tiles))
