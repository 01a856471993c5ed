"""How alike pictures may be that are no copies, concept by concept.

Two radiographs of different hands are more alike than two tiles of one slide, so one threshold for a mixed
corpus finds nothing or calls everything a copy. The corpus is cut into concepts (clusters of its raw
descriptors); in each the descriptors are whitened, and the likeness of frames that are certainly no copies of
each other gives the threshold for a stated rate of false positives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from optidel.copies.hashes import neighbours
from optidel.copies.pixels import DIM, LEAST, WIDTH, best_similarity, similarity_threshold, symmetries
from optidel.copies.points import Constellation, PointIndex, constellation
from optidel.copies.prints import Prints
from optidel.corpus.quality import DEFAULTS
from optidel.features.clusters import cluster
from optidel.features.rows import spans
from optidel.features.whitening import Whitening, fit

# Frames of a concept on average: enough to whiten 128 axes, and comparing all of them takes a
# second.
SIZE = 2000

# Axes in which concepts are clusters, not whitened: the shared layout of a modality is what tells
# it apart.
COARSE = 16

# So much shrinkage that the axes keep their variance.
COARSE_SHRINKAGE = 1e6

# Frames that a whitening is fitted on.
SAMPLE = 5000

# Frames of a concept whose most similar other frame tells how alike images are that are no
# copies.
NULL = 500

# The same for points, which take longer to compare.
POINTS_NULL = 120

# Cosine similarity, of 128 whitened axes, that only copies and neighbours in a video have: nine
# standard deviations of unrelated pictures.
SURE = 0.8

# Agreeing points that only copies have. Between radiographs of different hands, the most alike of
# 15 modalities, 16 points agree in 1 of 8,000 pairs, and every 2 more are 5 times as rare.
SURE_POINTS = 24

# Agreeing points under which nothing is called a copy. With 13, 4 of 150 radiographs of different
# hands and as many of chests were called copies; the threshold of a concept says too little where
# it mixes modalities.
LEAST_POINTS = 18

# Concepts in which a picture is looked for: its own and the next, for it may lie at the border.
ROUTES = 2

# Pictures compared at a time; a round number, nothing depends on it.
BLOCK = 256

# Frames compared at a time; a round number, nothing depends on it.
TILE = 1024

FEW = f"fewer than {LEAST} frames that are no copies of each other"
ALIKE = "its frames are as alike as copies, as those of one video without a group are"

Rows = Int64[np.ndarray, "m"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """Frames of one kind.

    Args:
        rows: int64 (m,), of the corpus.
        whitening: of their descriptors.
        vectors: float32 (m, k), the whitened descriptors.
        threshold: the cosine similarity that ``rate`` of the images without a copy exceed; None where it
            cannot be told.
        points: agreeing points from which on a picture is a copy.
        reason: why there is no threshold; empty where there is one.
    """

    rows: Rows
    whitening: Whitening
    vectors: Float32[np.ndarray, "m k"]
    threshold: float | None
    points: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Concepts:
    """The concepts of a corpus, and how a picture finds its own.

    Args:
        coarse: of raw descriptors.
        centroids: float32 (k, 16).
        concepts: k, some of them without a frame.
        of_row: int64 (n,), the concept of each frame; −1 for frames that show nothing.
    """

    coarse: Whitening
    centroids: Float32[np.ndarray, "k c"]
    concepts: tuple[Concept, ...]
    of_row: Int64[np.ndarray, "n"]

    @property
    def threshold(self) -> float | None:
        """The median threshold of the frames that have one; None where none has."""
        values = [concept.threshold for concept in self.concepts if concept.threshold is not None]
        sizes = [len(concept.rows) for concept in self.concepts if concept.threshold is not None]
        return float(np.median(np.repeat(values, sizes))) if values else None

    @property
    def reason(self) -> str:
        """Why frames were not compared by descriptor, and how many; empty where all were."""
        silent = [concept for concept in self.concepts if concept.reason]
        frames = dict.fromkeys((FEW, ALIKE), 0)
        for concept in silent:
            frames[concept.reason] += len(concept.rows)
        total = int((self.of_row >= 0).sum())
        parts = [f"{count:,} of {total:,} frames: {reason}" for reason, count in frames.items() if count]
        return "; ".join(parts)

    def similar(self, descriptors: Float16[np.ndarray, "b d"]) -> Iterator[tuple[int, int, float]]:
        """Frames more alike to a picture, as it is, turned or mirrored, than pictures that are no copies.

        Yields the number of the picture, the row of the frame, and their cosine similarity.
        """
        for span in spans(len(descriptors), 1, BLOCK):
            views = symmetries(np.asarray(descriptors[span], dtype=np.float32))
            count, each, width = views.shape
            routes = self._routes(views.reshape(-1, width)).reshape(count, each, -1)
            for number, concept in enumerate(self.concepts):
                if concept.threshold is None:
                    continue
                asking = (routes == number).any(axis=2)
                for row, column, similarity in _above(views, asking, concept, concept.threshold):
                    yield span.start + row, column, similarity

    def _routes(self, descriptors: Float32[np.ndarray, "v d"]) -> Int64[np.ndarray, "v r"]:
        cosine = self.coarse.transform(descriptors) @ self.centroids.T
        return np.argsort(-cosine, axis=1, kind="stable")[:, :ROUTES]


def find_concepts(prints: Prints, rate: float, index: PointIndex, rng: np.random.Generator) -> Concepts:
    """Cut a corpus into concepts and calibrate each.

    Args:
        prints: of the corpus.
        rate: false positives per image.
        index: of the corpus' points.
        rng: draws the samples.
    """
    sound = np.flatnonzero(prints.sound)
    of_row = np.full(len(prints.ids), -1, dtype=np.int64)
    sample = np.sort(rng.permutation(sound)[:SAMPLE])
    coarse = fit(np.asarray(prints.descriptors[sample]), width=COARSE, shrinkage=COARSE_SHRINKAGE)
    coarse_vectors = coarse.transform(prints.descriptors[sound])
    clusters = cluster(coarse_vectors, max(1, round(len(sound) / SIZE)), rng=rng)
    of_row[sound] = clusters.labels
    kin = _kin(prints, sound)
    concepts = [_calibrated(prints, sound[rows], kin, rate, index, rng) for rows in clusters.members()]
    return Concepts(coarse=coarse, centroids=clusters.centroids, concepts=tuple(concepts), of_row=of_row)


def _calibrated(
    prints: Prints,
    rows: Rows,
    kin: Int64[np.ndarray, "n"],
    rate: float,
    index: PointIndex,
    rng: np.random.Generator,
) -> Concept:
    """Whiten one concept and set its thresholds."""
    # One frame of each family: else the axes describe how a video moves, and copies of it are pushed apart.
    _, first = np.unique(kin[rows], return_index=True)
    distinct = rows[np.sort(first)]
    sample = np.sort(rng.permutation(distinct)[:SAMPLE])
    whitening = fit(prints.descriptors[sample].astype(np.float32), width=WIDTH, shrinkage=0)
    vectors = whitening.transform(prints.descriptors[rows])
    family = _chained(prints, rows, kin[rows], whitening, vectors)

    null = _null(prints, rows, family, whitening, vectors, rng)
    threshold, reason = None, FEW
    if len(null) >= LEAST:
        # Copies that are not known as such raise the estimate; what is surely a copy is one all the same.
        value = min(similarity_threshold(null, rate), _sure(vectors.shape[1]))
        threshold, reason = (value, "") if value < 1 else (None, ALIKE)
    return Concept(
        rows=rows,
        whitening=whitening,
        vectors=vectors,
        threshold=threshold,
        points=_points_threshold(prints, rows, family, rate, index, rng),
        reason=reason,
    )


def _kin(prints: Prints, sound: Rows) -> Int64[np.ndarray, "n"]:
    """A number for each frame, the same for frames of one group and for chains of near-copies."""
    n = len(prints.ids)
    first_of_group: dict[str, int] = {}
    edges = []
    for row, group in enumerate(prints.groups):
        if group is not None:
            edges.append((row, first_of_group.setdefault(group, row)))
    _, first, member = np.unique(prints.hashes[sound], axis=0, return_index=True, return_inverse=True)
    edges += zip(sound.tolist(), sound[first[member.ravel()]].tolist(), strict=True)
    distinct = sound[first]
    for number, near, _ in neighbours(prints.hashes[distinct], prints.hashes[distinct], DEFAULTS.near):
        edges += [(int(distinct[number]), int(row)) for row in distinct[near[near < number]]]
    return _components(np.array(edges, dtype=np.int64).reshape(-1, 2).T, n)


def _chained(
    prints: Prints,
    rows: Rows,
    kin: Int64[np.ndarray, "m"],
    whitening: Whitening,
    vectors: Float32[np.ndarray, "m k"],
) -> Int64[np.ndarray, "m"]:
    """Families of one concept: kin, and chains of frames that are surely copies or neighbours in a video."""
    sure = _sure(vectors.shape[1])
    _, first, member = np.unique(kin, return_index=True, return_inverse=True)
    edges = [np.stack([np.arange(len(rows)), first[member.ravel()]])]
    if sure < 1:
        for span in spans(len(rows), 1, BLOCK):
            views = _views(prints, rows[span], whitening)
            for tile in spans(len(rows), 1, TILE):
                alike = np.stack(np.nonzero(best_similarity(views, vectors[tile]) > sure))
                edges.append(alike + np.array([[span.start], [tile.start]]))
    return _components(np.concatenate(edges, axis=1), len(rows))


def _sure(axes: int) -> float:
    """The cosine that only copies have: that of unrelated pictures deviates by 1/√axes, so in fewer axes
    only a larger one is sure; 1 or more where none is.
    """
    return SURE * float(np.sqrt(WIDTH / axes))


def _null(
    prints: Prints,
    rows: Rows,
    family: Int64[np.ndarray, "m"],
    whitening: Whitening,
    vectors: Float32[np.ndarray, "m k"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "q"]:
    """For a sample of a concept, the similarity to the most similar frame of another family."""
    sample = np.sort(rng.permutation(len(rows))[:NULL])
    views = _views(prints, rows[sample], whitening)
    best = np.full(len(sample), -1.0, dtype=np.float32)
    for tile in spans(len(rows), 1, TILE):
        similarity = best_similarity(views, vectors[tile])
        similarity[family[sample][:, None] == family[tile][None, :]] = -1
        best = np.maximum(best, similarity.max(axis=1))
    return np.asarray(best[best > -1])


def _points_threshold(
    prints: Prints,
    rows: Rows,
    family: Int64[np.ndarray, "m"],
    rate: float,
    index: PointIndex,
    rng: np.random.Generator,
) -> int:
    """Agreeing points that ``rate`` of the images without a copy exceed in a concept."""
    sample = np.sort(rng.permutation(len(rows))[:POINTS_NULL])
    family_of = dict(zip(rows.tolist(), family.tolist(), strict=True))
    best = []
    for number in sample:
        counts = [
            count
            for row, count in index.matches(constellation(prints.points, int(rows[number])))
            if count < SURE_POINTS and family_of.get(row) != family[number]
        ]
        best.append(max(counts, default=0))
    if len(best) < LEAST:
        return SURE_POINTS
    threshold = similarity_threshold(np.array(best, dtype=np.float32), rate)
    return int(np.clip(np.floor(threshold) + 1, LEAST_POINTS, SURE_POINTS))


def point_matches(
    concepts: Concepts, index: PointIndex, query: Constellation, allowed: Bool[np.ndarray, "n"] | None = None
) -> list[tuple[int, int]]:
    """Frames of the corpus that share enough points with a picture: row and agreeing points, rising rows."""
    return [
        (row, count)
        for row, count in index.matches(query, allowed)
        if concepts.of_row[row] >= 0 and count >= concepts.concepts[concepts.of_row[row]].points
    ]


def _above(
    views: Float32[np.ndarray, "b v d"], asking: Bool[np.ndarray, "b v"], concept: Concept, threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Pairs of a picture and a frame over a threshold, by the views that ask in this concept."""
    pictures = np.flatnonzero(asking.any(axis=1))
    if not len(pictures):
        return
    _, each, width = views.shape
    whitened = concept.whitening.transform(views[pictures].reshape(-1, width))
    whitened = whitened.reshape(len(pictures), each, -1)
    # Views that belong to another concept are similar to nothing.
    asked_views = np.where(asking[pictures][..., None], whitened, np.float32(0))
    for tile in spans(len(concept.rows), 1, TILE):
        similarity = best_similarity(asked_views, concept.vectors[tile])
        for picture, column in np.argwhere(similarity > threshold):
            row = int(concept.rows[tile][column])
            yield int(pictures[picture]), row, float(similarity[picture, column])


def _views(prints: Prints, rows: Rows, whitening: Whitening) -> Float32[np.ndarray, "b 8 k"]:
    turned = symmetries(prints.descriptors[rows].astype(np.float32))
    return whitening.transform(turned.reshape(-1, DIM)).reshape(len(rows), turned.shape[1], -1)


def _components(edges: Int64[np.ndarray, "2 e"], count: int) -> Int64[np.ndarray, "n"]:
    graph = coo_array((np.ones(edges.shape[1], dtype=np.int8), (edges[0], edges[1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
