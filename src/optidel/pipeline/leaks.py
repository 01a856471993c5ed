"""Which test images are in the pre-training corpus: equal pixels, equal to the eye, or a copy that was
changed.

Three nets, from fine to coarse. *Exact*: SHA-256 of the 8-bit pixels. *Perceptual*: hashes of 256 bits that
differ by a few (re-encoded, resized, slightly brightened copies). *Embedding*: whitened descriptors, compared
also mirrored and upside down, that are more alike than images which are no copies
(:mod:`optidel.copies.pixels`); the threshold is set for a stated rate of false positives.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float16, Float32, Int64, UInt8

from optidel.arrays import Image
from optidel.copies.hashes import hashes, neighbours
from optidel.copies.pixels import (
    DIM,
    LEAST,
    WIDTH,
    best_similarity,
    describe,
    flips,
    shrink,
    similarity_threshold,
)
from optidel.corpus.frames import Corpus
from optidel.corpus.quality import DEFAULTS, examine
from optidel.features.rows import spans
from optidel.features.whitening import Whitening, fit
from optidel.progress import track
from optidel.store import PARTS, Artifact, Store, Workspace

BLOCK = 256
"""Images described between two writes, or compared at a time."""

RATE = 0.001
"""False positives of the embedding per test image."""

SAMPLE = 5000
"""Corpus frames that the whitening is fitted on."""

TILE = 1024
"""Corpus frames compared at a time."""

NULL = 500
"""Corpus frames whose nearest other frame tells how alike images are that are no copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prints:
    """What is compared of n images.

    ``ids``; ``folders``: the set each is of; ``pixels``: SHA-256 of the 8-bit pixels; ``groups``: patient,
    video …, where known; ``sound`` bool (n,), False for blank, dark and saturated frames, which are all alike
    and never a leak; ``hashes`` u8 (n, 32); ``descriptors`` f16 (n, 704).
    """

    ids: Sequence[str]
    folders: Sequence[str]
    pixels: Sequence[str]
    groups: Sequence[str | None]
    sound: Bool[np.ndarray, "n"]
    hashes: UInt8[np.ndarray, "n 32"]
    descriptors: Float16[np.ndarray, "n 704"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A test image and a corpus frame; ``value`` is bits of 256 for perceptual matches, cosine similarity for
    embedding, 0 for exact.
    """

    test: str
    train: str
    folder: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """All matches; a pair is listed once, in the first of the three lists that it belongs to.

    ``threshold`` is the cosine similarity that ``rate`` of the test images without a copy would exceed, or
    None where the corpus is too small, or too much alike, to calibrate it (then ``embedding`` is empty).
    ``train`` and ``test`` count images.
    """

    exact: tuple[Match, ...]
    perceptual: tuple[Match, ...]
    embedding: tuple[Match, ...]
    threshold: float | None
    rate: float
    near: int
    train: int
    test: int

    @property
    def leaked(self) -> tuple[tuple[str, str], ...]:
        """Test images, as folder and id, with a match of any kind, sorted."""
        return tuple(
            sorted({(match.folder, match.test) for match in (*self.exact, *self.perceptual, *self.embedding)})
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values; each match with ``test``, ``train``, ``folder`` and ``distance`` (bits) or
        ``similarity``.
        """
        plain = {name: getattr(self, name) for name in ("threshold", "rate", "near", "train", "test")}
        return {
            "exact": [_plain(match, None) for match in self.exact],
            "perceptual": [_plain(match, "distance") for match in self.perceptual],
            "embedding": [_plain(match, "similarity") for match in self.embedding],
            **plain,
        }


def find_leaks(
    train: Prints | Corpus, test: Prints | Corpus, *, rate: float = RATE, near: int = DEFAULTS.near
) -> Leaks:
    """Find test images, or changed copies of them, in the corpus.

    Args:
        train: the pre-training corpus, or its prints.
        test: the images that must not be in it.
        rate: false positives per test image that the embedding may have.
        near: bits of 256 by which perceptual hashes may differ.
    """
    known, asked = (part if isinstance(part, Prints) else describe_corpus(part) for part in (train, test))
    exact = list(_exact(known, asked))
    seen = {(row, place) for row, place, _ in exact}
    perceptual = [pair for pair in _perceptual(known, asked, near) if pair[:2] not in seen]
    seen |= {(row, place) for row, place, _ in perceptual}
    embedding, threshold = _embedding(known, asked, rate)
    return Leaks(
        exact=_matches(exact, known, asked),
        perceptual=_matches(perceptual, known, asked),
        embedding=_matches([pair for pair in embedding if pair[:2] not in seen], known, asked),
        threshold=threshold,
        rate=rate,
        near=near,
        train=len(known.ids),
        test=len(asked.ids),
    )


def describe_images(items: Iterable[tuple[str, Image]], folder: str) -> Prints:
    """Prints of images u8 (h, w, 3), at full size, with their ids."""
    ids, images = [], []
    for name, image in items:
        ids.append(name)
        images.append(_print(image))
    return _prints(
        ids,
        folder,
        [None] * len(ids),
        pl.DataFrame([row for row, _ in images], ROW, orient="row"),
        _stacked([found for _, found in images]),
    )


def describe_corpus(corpus: Corpus) -> Prints:
    """Prints of a corpus, in memory."""
    rows = range(len(corpus))
    table, descriptors = _described(corpus, rows, track(corpus.images(rows), "prints", len(corpus)))
    return _prints(*_names(corpus), table, descriptors)


def prints_step(store: Store, indexed: Artifact) -> Artifact:
    """Prints of an indexed corpus as an artifact: ``prints.parquet`` and ``descriptors.npy``; resumed block
    by block.
    """
    corpus = Corpus.load(indexed)

    def make(work: Workspace) -> None:
        descriptors = work.open_array("descriptors.npy", (len(corpus), DIM), np.float16)
        for start, stop in work.blocks(len(corpus), BLOCK, "prints"):
            rows = range(start, stop)
            table, descriptors[start:stop] = _described(corpus, rows, corpus.images(rows))
            work.write_table(f"{PARTS}/prints-{start}.parquet", table)
        tables = [work.table(f"{PARTS}/prints-{start}.parquet") for start in range(0, len(corpus), BLOCK)]
        work.write_table(
            "prints.parquet",
            pl.concat(tables).insert_column(0, pl.Series("id", [frame.id for frame in corpus.frames])),
        )

    return store.build("prints", make, version=1, config={}, inputs={"index": indexed})


def load_prints(printed: Artifact, indexed: Artifact) -> Prints:
    """The prints of a finished step."""
    return _prints(
        *_names(Corpus.load(indexed)),
        printed.table("prints.parquet").drop("id"),
        printed.array("descriptors.npy"),
    )


def joined(prints: Sequence[Prints]) -> Prints:
    """Several test sets as one."""
    return Prints(
        ids=[name for part in prints for name in part.ids],
        folders=[name for part in prints for name in part.folders],
        pixels=[value for part in prints for value in part.pixels],
        groups=[group for part in prints for group in part.groups],
        sound=np.concatenate([part.sound for part in prints]),
        hashes=np.concatenate([part.hashes for part in prints]),
        descriptors=np.concatenate([part.descriptors for part in prints]),
    )


ROW = {"pixels": pl.String, "hash": pl.String, "sound": pl.Boolean}
Pair = tuple[int, int, float]
"""Row of the test set, row of the corpus, value."""


def _print(image: Image) -> tuple[tuple[str, str, bool], Float32[np.ndarray, "704"]]:
    quality = examine(image)
    digest = hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
    return (digest, quality.phash, not quality.flaw), describe(shrink(image))


def _described(
    corpus: Corpus, rows: Sequence[int], images: Iterable[tuple[int, Image]]
) -> tuple[pl.DataFrame, Float16[np.ndarray, "n 704"]]:
    found = {row: _print(image) for row, image in images}
    return pl.DataFrame([found[row][0] for row in rows], ROW, orient="row"), _stacked(
        [found[row][1] for row in rows]
    )


def _stacked(found: Sequence[Float32[np.ndarray, "704"]]) -> Float16[np.ndarray, "n 704"]:
    return np.array(found, dtype=np.float16).reshape(-1, DIM)


def _names(corpus: Corpus) -> tuple[list[str], str, list[str | None]]:
    return [frame.id for frame in corpus.frames], corpus.root.name, [frame.group for frame in corpus.frames]


def _prints(
    ids: Sequence[str],
    folder: str,
    groups: Sequence[str | None],
    table: pl.DataFrame,
    descriptors: Float16[np.ndarray, "n 704"],
) -> Prints:
    return Prints(
        ids=ids,
        folders=[folder] * len(ids),
        groups=groups,
        pixels=table["pixels"].to_list(),
        sound=table["sound"].to_numpy(),
        hashes=hashes(table["hash"].to_list()),
        descriptors=descriptors,
    )


def _matches(pairs: Iterable[Pair], train: Prints, test: Prints) -> tuple[Match, ...]:
    return tuple(
        Match(test=test.ids[asked], train=train.ids[known], folder=test.folders[asked], value=value)
        for asked, known, value in pairs
    )


def _plain(match: Match, name: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"test": match.test, "train": match.train, "folder": match.folder}
    return told | ({name: round(match.value, 4)} if name else {})


def _exact(train: Prints, test: Prints) -> Iterator[Pair]:
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(train.sound).tolist():
        rows.setdefault(train.pixels[row], []).append(row)
    for asked in np.flatnonzero(test.sound).tolist():
        yield from ((asked, row, 0.0) for row in rows.get(test.pixels[asked], ()))


def _perceptual(train: Prints, test: Prints, near: int) -> Iterator[Pair]:
    known, asked = np.flatnonzero(train.sound), np.flatnonzero(test.sound)
    for place, rows, distances in neighbours(test.hashes[asked], train.hashes[known], near):
        for row, distance in zip(known[rows], distances, strict=True):
            yield int(asked[place]), int(row), float(distance)


def _embedding(train: Prints, test: Prints, rate: float) -> tuple[list[Pair], float | None]:
    known, asked = np.flatnonzero(train.sound), np.flatnonzero(test.sound)
    if len(known) < LEAST:
        return [], None
    rng = np.random.default_rng(0)
    sample = np.sort(rng.permutation(known)[:SAMPLE])
    whitening = fit(train.descriptors[sample].astype(np.float32), width=WIDTH, shrinkage=0)
    rows = np.concatenate(
        [
            whitening.transform(train.descriptors[known[span]].astype(np.float32))
            for span in spans(len(known), DIM)
        ]
    )
    null = _null(train, known, rows, whitening, rng)
    if len(null) < LEAST:  # one volume or video: nothing in it is known to be no copy
        return [], None
    threshold = similarity_threshold(null, rate)
    if threshold >= 1:  # frames of one video without groups: as alike as copies
        return [], None
    found = []
    for span in spans(len(asked), 1, BLOCK):
        seen = _seen(whitening, test, asked[span])
        for tile in spans(len(rows), 1, TILE):
            similarity = best_similarity(seen, rows[tile])
            for place, column in np.argwhere(similarity > threshold):
                pair = (int(asked[span][place]), int(known[tile][column]), float(similarity[place, column]))
                found.append(pair)
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1])), threshold


def _null(
    train: Prints,
    known: Int64[np.ndarray, "m"],
    rows: Float32[np.ndarray, "m k"],
    whitening: Whitening,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "q"]:
    """For a sample of the corpus, the similarity to the nearest frame that is no other frame of its group and
    no near-duplicate.
    """
    chosen = np.sort(rng.permutation(len(known))[:NULL])
    seen = _seen(whitening, train, known[chosen])
    numbers = {group: number for number, group in enumerate(dict.fromkeys(train.groups))}
    group = np.array([-1 if train.groups[row] is None else numbers[train.groups[row]] for row in known])
    words = np.ascontiguousarray(train.hashes[known]).view(np.uint64)
    best = np.full(len(chosen), -1.0, dtype=np.float32)
    for tile in spans(len(rows), 1, TILE):
        similarity = best_similarity(seen, rows[tile])
        distance = np.bitwise_count(words[chosen][:, None] ^ words[tile][None]).sum(axis=2)
        kin = (group[chosen][:, None] == group[tile][None]) & (group[tile] >= 0)[None]
        kin |= chosen[:, None] == np.arange(tile.start, tile.stop)[None]
        similarity[kin | (distance <= DEFAULTS.near)] = -1
        best = np.maximum(best, similarity.max(axis=1))
    return np.asarray(best[best > -1])


def _seen(whitening: Whitening, prints: Prints, rows: Int64[np.ndarray, "b"]) -> Float32[np.ndarray, "b 4 k"]:
    turned = flips(prints.descriptors[rows].astype(np.float32))
    return whitening.transform(turned.reshape(-1, DIM)).reshape(len(rows), turned.shape[1], -1)
