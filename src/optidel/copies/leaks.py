"""Which test images are in the pre-training corpus: equal pixels, equal to the eye, or a copy that was
changed.

Four nets, from fine to coarse. *Exact*: SHA-256 of the 8-bit pixels. *Perceptual*: hashes of 256 bits that
differ by a few (re-encoded, resized, slightly brightened copies). *Embedding*: whitened descriptors, compared
under the eight symmetries of the square, that are more alike than images which are no copies
(:mod:`optidel.copies.concepts`); the threshold is set for a stated rate of false positives, concept by
concept. *Points*: more points of the pictures agree under one turn, scale and shift than unrelated
pictures have (:mod:`optidel.copies.points`): crops, and turns by any angle.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from optidel.copies.concepts import FEW, Concepts, find_concepts, point_matches
from optidel.copies.hashes import neighbours
from optidel.copies.points import PointIndex, constellation
from optidel.copies.prints import Prints, describe_corpus
from optidel.corpus.frames import Corpus
from optidel.corpus.quality import DEFAULTS
from optidel.progress import track

# False positives of the embedding per test image: 1 in a thousand is looked at in a minute.
RATE = 0.001

# What the value of a match is called in JSON, net by net; the value of an exact match is always 0.
VALUE_NAMES = {"exact": None, "perceptual": "distance", "embedding": "similarity", "points": "points"}

# The four nets, from fine to coarse.
KINDS = ("exact", "perceptual", "embedding", "points")

Pair = tuple[int, int, float]
"""Row of the test set, row of the corpus, value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A test image and a corpus frame; ``value`` is bits of 256 for perceptual matches, cosine similarity for
    embedding, agreeing points for points, 0 for exact.
    """

    test: str
    train: str
    folder: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """All matches; a pair is listed once, in the first of the four lists that it belongs to.

    ``threshold`` is the cosine similarity that ``rate`` of the test images without a copy would exceed, the
    median over the frames of the corpus; None where no concept of it could be calibrated (then ``embedding``
    is empty). ``reason`` says which frames were not compared in this way, and why; empty where all were.
    ``train`` and ``test`` count images.
    """

    exact: tuple[Match, ...]
    perceptual: tuple[Match, ...]
    embedding: tuple[Match, ...]
    points: tuple[Match, ...]
    threshold: float | None
    reason: str
    rate: float
    near: int
    train: int
    test: int

    @property
    def leaked(self) -> tuple[tuple[str, str], ...]:
        """Test images, as folder and id, with a match of any kind, sorted."""
        images = set()
        for kind in KINDS:
            for match in self.of(kind):
                images.add((match.folder, match.test))
        return tuple(sorted(images))

    def of(self, kind: str) -> tuple[Match, ...]:
        """The matches of one of :data:`KINDS`."""
        matches: tuple[Match, ...] = getattr(self, kind)
        return matches

    def to_json(self) -> dict[str, Any]:
        """JSON values; each match with ``test``, ``train``, ``folder`` and ``distance`` (bits),
        ``similarity`` (cosine) or ``points`` (agreeing ones).
        """
        lists = {}
        for kind, name in VALUE_NAMES.items():
            matches = self.of(kind)
            lists[kind] = [_plain(match, name) for match in matches]
        numbers = {"threshold": self.threshold, "reason": self.reason or None, "rate": self.rate}
        counts = {"near": self.near, "train": self.train, "test": self.test}
        return {**lists, **numbers, **counts}


def find_leaks(
    train: Prints | Corpus, test: Prints | Corpus, *, rate: float = RATE, near: int = DEFAULTS.near
) -> Leaks:
    """Compare every test image with every frame of a corpus.

    Args:
        train: the pre-training corpus.
        test: the test images.
        rate: false positives of the embedding per test image.
        near: bits of 256 by which perceptual hashes may differ.
    """
    corpus = train if isinstance(train, Prints) else describe_corpus(train)
    tested = test if isinstance(test, Prints) else describe_corpus(test)
    pairs: dict[str, list[Pair]] = {kind: [] for kind in KINDS}
    pairs["exact"] = list(_exact(corpus, tested))
    pairs["perceptual"] = list(_perceptual(corpus, tested, near))

    threshold, reason = None, FEW
    if corpus.sound.any() and tested.sound.any():
        # The same samples are drawn each time, so that a second look finds the same leaks.
        rng = np.random.default_rng(0)
        index = PointIndex(corpus.points, rng)
        concepts = find_concepts(corpus, rate, index, rng)
        threshold, reason = concepts.threshold, concepts.reason
        pairs["embedding"] = _embedding(concepts, tested)
        pairs["points"] = _points(concepts, index, tested)

    matches = _by_finest_net(pairs, corpus, tested)
    return Leaks(
        exact=matches["exact"],
        perceptual=matches["perceptual"],
        embedding=matches["embedding"],
        points=matches["points"],
        threshold=threshold,
        reason=reason,
        rate=rate,
        near=near,
        train=len(corpus.ids),
        test=len(tested.ids),
    )


def _by_finest_net(pairs: dict[str, list[Pair]], train: Prints, test: Prints) -> dict[str, tuple[Match, ...]]:
    """The matches of each kind, each pair in the finest net that caught it."""
    listed: set[tuple[int, int]] = set()
    matches = {}
    for kind in KINDS:
        fresh = [pair for pair in pairs[kind] if pair[:2] not in listed]
        listed |= {pair[:2] for pair in fresh}
        matches[kind] = _matches(fresh, train, test)
    return matches


def _matches(pairs: Iterable[Pair], train: Prints, test: Prints) -> tuple[Match, ...]:
    matches = []
    for tested, frame, value in pairs:
        image = test.ids[tested]
        folder = test.folders[tested]
        match = Match(test=image, train=train.ids[frame], folder=folder, value=value)
        matches.append(match)
    return tuple(matches)


def _plain(match: Match, name: str | None) -> dict[str, Any]:
    plain: dict[str, Any] = {"test": match.test, "train": match.train, "folder": match.folder}
    if name:
        # Four digits are a round number; nothing depends on them.
        plain[name] = round(match.value, 4)
    return plain


def _exact(train: Prints, test: Prints) -> Iterator[Pair]:
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(train.sound).tolist():
        pixels = train.pixels[row]
        rows.setdefault(pixels, []).append(row)

    for tested in np.flatnonzero(test.sound).tolist():
        pixels = test.pixels[tested]
        for row in rows.get(pixels, ()):
            yield tested, row, 0.0


def _perceptual(train: Prints, test: Prints, near: int) -> Iterator[Pair]:
    frames = np.flatnonzero(train.sound)
    tested = np.flatnonzero(test.sound)
    queries = test.hashes[tested]
    corpus_hashes = train.hashes[frames]
    for number, rows, distances in neighbours(queries, corpus_hashes, near):
        image = int(tested[number])
        for row, distance in zip(frames[rows], distances, strict=True):
            yield image, int(row), float(distance)


def _embedding(concepts: Concepts, test: Prints) -> list[Pair]:
    tested = np.flatnonzero(test.sound)
    descriptors = test.descriptors[tested]
    pairs = []
    for number, row, similarity in concepts.similar(descriptors):
        image = int(tested[number])
        pairs.append((image, row, similarity))
    return sorted(pairs, key=_most_alike_first)


def _points(concepts: Concepts, index: PointIndex, test: Prints) -> list[Pair]:
    pairs: list[Pair] = []
    tested = np.flatnonzero(test.sound).tolist()
    for row in track(tested, "points", len(tested)):
        query = constellation(test.points, row)
        for frame, count in point_matches(concepts, index, query):
            pairs.append((row, frame, float(count)))
    return sorted(pairs, key=_most_alike_first)


def _most_alike_first(pair: Pair) -> tuple[float, int, int]:
    tested, frame, value = pair
    return -value, tested, frame
