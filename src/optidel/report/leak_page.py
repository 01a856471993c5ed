"""The page of a leak check: every pair of a test image and the corpus frame that it copies, side by side."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image as PillowImage

from optidel.copies.leaks import Leaks, Match
from optidel.corpus.frames import Corpus
from optidel.corpus.names import Names
from optidel.report.audit import Group, Line, Page, folder_title, write_page
from optidel.report.leaks import by_chance, uncompared
from optidel.report.pictures import picture_tile
from optidel.words import counted

# Pairs of each kind on the page: more make it too long to be looked through.
PAIRS = 60

# What the four kinds of matches are called.
TITLES = {
    "exact": "equal pixels",
    "perceptual": "equal to the eye",
    "embedding": "changed copies",
    "points": "turned or cropped copies",
}

METHOD = (
    "Embeddings are histograms of gradient directions with the mean colour of each cell, whitened within a "
    "concept of the corpus and compared also turned by quarters and mirrored. Points are blobs of which so "
    "many agree under one turn, scale and shift as only copies have; they find crops and turns by any angle. "
    "Blank, dark and saturated frames are all alike and are not compared."
)


def in_words(leaks: Leaks) -> tuple[str, str]:
    """What was found, and how far the changed copies can be trusted."""
    match = "matches" if len(leaks.leaked) == 1 else "match"
    verdict = (
        f"{len(leaks.leaked):,} of {counted(leaks.test, 'test image')} {match} a frame of the corpus, "
        f"which has {leaks.train:,}."
    )
    if leaks.threshold is None:
        return verdict, uncompared(leaks.reason)
    trust = (
        f"Changed copies have a cosine similarity over {leaks.threshold:.3f}. "
        f"{by_chance(leaks.rate, leaks.test)} Look at the pairs."
    )
    return verdict, f"{trust} {uncompared(leaks.reason)}" if leaks.reason else trust


def write_leak_page(
    corpus: Corpus, tests: Mapping[str, Corpus], leaks: Leaks, target: Path, names: Names
) -> Path:
    """Write the page.

    Args:
        corpus: what was searched.
        tests: by the folder's name in ``leaks``, its images.
        leaks: what was found.
        target: the file.
        names: how images and folders are called.
    """
    train = names(folder_title(corpus.root))
    titles = ", ".join(names(folder_title(test.root)) for test in tests.values())
    sides = [
        Line(name="Test images", value=f"{names(folder_title(test.root))}, {len(test):,}")
        for test in tests.values()
    ]
    rules = _rules(leaks)
    counts = []
    for kind, title in TITLES.items():
        images = {(match.folder, match.test) for match in leaks.of(kind)}
        # None found is another statement than none looked for.
        uncounted = kind == "embedding" and leaks.threshold is None
        counts.append(Line(name=title, value="–" if uncounted else f"{len(images):,}", note=rules[kind]))
    groups = [_pair(corpus, tests, kind, match, names) for kind in TITLES for match in leaks.of(kind)[:PAIRS]]
    lead = f"Test image left, corpus frame right; at most {PAIRS} pairs of each kind."
    page = Page(
        kind="OptiDEL leak check",
        title=f"{titles} in {train}",
        verdict=in_words(leaks),
        facts=(Line(name="Corpus", value=train), *sides),
        counts=tuple(counts),
        histograms=(),
        galleries=(),
        groups=tuple(groups),
        groups_title="Pairs",
        groups_lead=lead if leaks.leaked else "None.",
        method=(METHOD,),
    )
    return write_page(page, target)


def _rules(leaks: Leaks) -> dict[str, str]:
    median = leaks.threshold or 0
    similarity = f"Cosine similarity of the embeddings over that of the concept, {median:.3f} at the median."
    return {
        "exact": "The same SHA-256 of the 8-bit pixels.",
        "perceptual": f"Perceptual hashes differ by at most {leaks.near} of 256 bits.",
        "embedding": "Not compared." if leaks.threshold is None else similarity,
        "points": "As many points agree as in next to no pair of different pictures of the concept.",
    }


def _pair(corpus: Corpus, tests: Mapping[str, Corpus], kind: str, match: Match, names: Names) -> Group:
    likeness = {
        "exact": "",
        "perceptual": f", {counted(round(match.value), 'bit')} apart",
        "embedding": f", cosine similarity {match.value:.3f}",
        "points": f", {counted(round(match.value), 'point', ('agrees', 'agree'))}",
    }
    tiles = []
    for side, name in ((tests[match.folder], match.test), (corpus, match.train)):
        row = next(row for row, frame in enumerate(side.frames) if frame.id == name)
        picture = PillowImage.fromarray(side.image(row))
        tiles.append(picture_tile(picture, names(name), names(folder_title(side.root))))
    return Group(title=f"{TITLES[kind]}{likeness[kind]}", tiles=tuple(tiles))
