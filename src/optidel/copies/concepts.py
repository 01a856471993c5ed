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
from optidel.copies.pixels import LEAST, WIDTH, best_similarity, similarity_threshold, symmetries
from optidel.copies.points import Constellation, PointIndex, constellation
from optidel.copies.prints import Prints
from optidel.corpus.quality import DEFAULTS
from optidel.features.clusters import cluster
from optidel.features.rows import spans
from optidel.features.whitening import Whitening, fit

# Frames of a concept on average: enough to whiten 128 axes, and all are compared in a second.
SIZE = 2000

# Axes in which concepts are clusters, not whitened: a modality is told apart by the layout it shares.
COARSE = 16

# Shrinkage so large that it drowns the differences between the axes, which so keep their variance.
COARSE_SHRINKAGE = 1e6

# Frames that a whitening is fitted on: about 40 for each of 128 axes.
SAMPLE = 5000

# Frames of a concept whose most similar other frame tells how alike images are that are no copies; only two
# quantiles of their similarities are used, the 10 % and the 50 % one.
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
        values, sizes = [], []
        for concept in self.concepts:
            if concept.threshold is not None:
                values.append(concept.threshold)
                sizes.append(len(concept.rows))
        if not values:
            return None
        # Of frames, not of concepts: each threshold counts as often as its concept has frames.
        of_frames = np.repeat(values, sizes)
        return float(np.median(of_frames))

    @property
    def reason(self) -> str:
        """Why frames were not compared by descriptor, and how many; empty where all were."""
        counts = dict.fromkeys((FEW, ALIKE), 0)
        for concept in self.concepts:
            if concept.reason:
                counts[concept.reason] += len(concept.rows)

        sound = self.of_row >= 0
        total = int(sound.sum())
        parts = []
        for reason, count in counts.items():
            if count:
                parts.append(f"{count:,} of {total:,} frames: {reason}")
        return "; ".join(parts)

    def similar(self, descriptors: Float16[np.ndarray, "b d"]) -> Iterator[tuple[int, int, float]]:
        """Frames more alike to a picture, as it is, turned or mirrored, than pictures that are no copies.

        Yields the number of the picture, the row of the frame, and their cosine similarity.
        """
        for span in spans(len(descriptors), 1, BLOCK):
            block = np.asarray(descriptors[span], dtype=np.float32)
            views = symmetries(block)
            count, each, width = views.shape
            flat = views.reshape(-1, width)
            routes = self._routes(flat).reshape(count, each, -1)
            for number, concept in enumerate(self.concepts):
                if concept.threshold is None:
                    continue
                asking = (routes == number).any(axis=2)
                pairs = _above(views, asking, concept, concept.threshold)
                for row, column, similarity in pairs:
                    yield span.start + row, column, similarity

    def _routes(self, descriptors: Float32[np.ndarray, "v d"]) -> Int64[np.ndarray, "v r"]:
        coordinates = self.coarse.transform(descriptors)
        cosine = coordinates @ self.centroids.T
        nearest = np.argsort(-cosine, axis=1, kind="stable")
        return nearest[:, :ROUTES]


def find_concepts(prints: Prints, rate: float, index: PointIndex, rng: np.random.Generator) -> Concepts:
    """Cut a corpus into concepts and calibrate each.

    Args:
        prints: of the corpus.
        rate: false positives per image.
        index: of the corpus' points.
        rng: draws the samples.
    """
    sound = np.flatnonzero(prints.sound)
    drawing = rng.permutation(sound)
    sample = np.sort(drawing[:SAMPLE])
    sample_descriptors = np.asarray(prints.descriptors[sample])
    coarse = fit(sample_descriptors, width=COARSE, shrinkage=COARSE_SHRINKAGE)
    coordinates = coarse.transform(prints.descriptors[sound])
    count = max(1, round(len(sound) / SIZE))
    clusters = cluster(coordinates, count, rng=rng)

    # Frames that show nothing belong to no concept.
    of_row = np.full(len(prints.ids), -1, dtype=np.int64)
    of_row[sound] = clusters.labels
    kin = _kin(prints, sound)
    concepts = []
    for members in clusters.members():
        concept = _calibrated(prints, sound[members], kin, rate, index, rng)
        concepts.append(concept)
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
    concept_kin = kin[rows]
    _, first = np.unique(concept_kin, return_index=True)
    distinct = rows[np.sort(first)]
    drawing = rng.permutation(distinct)
    sample = np.sort(drawing[:SAMPLE])
    sample_descriptors = prints.descriptors[sample].astype(np.float32)
    whitening = fit(sample_descriptors, width=WIDTH, shrinkage=0)
    vectors = whitening.transform(prints.descriptors[rows])

    family = _chained(prints, rows, concept_kin, whitening, vectors)
    null = _null(prints, rows, family, whitening, vectors, rng)
    threshold, reason = _threshold(null, rate, vectors.shape[1])
    points = _points_threshold(prints, rows, family, rate, index, rng)
    return Concept(
        rows=rows,
        whitening=whitening,
        vectors=vectors,
        threshold=threshold,
        points=points,
        reason=reason,
    )


def _threshold(null: Float32[np.ndarray, "q"], rate: float, axes: int) -> tuple[float | None, str]:
    """The cosine from which on a picture is a copy; or None, and the reason why it cannot be told."""
    if len(null) < LEAST:
        return None, FEW
    # Copies that are not known as such raise the estimate; what is surely a copy is a copy all the same.
    estimate = similarity_threshold(null, rate)
    threshold = min(estimate, _sure(axes))
    if threshold >= 1:
        return None, ALIKE
    return threshold, ""


def _kin(prints: Prints, sound: Rows) -> Int64[np.ndarray, "n"]:
    """A number for each frame, the same for frames of one group and for chains of near-copies."""
    edges = []
    first_of_group: dict[str, int] = {}
    for row, group in enumerate(prints.groups):
        if group is not None:
            first_row = first_of_group.setdefault(group, row)
            edges.append((row, first_row))

    # Equal hashes are tied to the first of them, so that only distinct ones need to be compared.
    hashes = prints.hashes[sound]
    _, first, member = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    first_equal = sound[first[member.ravel()]]
    edges += zip(sound.tolist(), first_equal.tolist(), strict=True)

    distinct = sound[first]
    distinct_hashes = prints.hashes[distinct]
    for number, near, _ in neighbours(distinct_hashes, distinct_hashes, DEFAULTS.near):
        # Each pair comes from both of its sides, and one of them is enough.
        before = near[near < number]
        frame = int(distinct[number])
        edges += [(frame, row) for row in distinct[before].tolist()]
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    return _components(pairs.T, len(prints.ids))


def _chained(
    prints: Prints,
    rows: Rows,
    kin: Int64[np.ndarray, "m"],
    whitening: Whitening,
    vectors: Float32[np.ndarray, "m k"],
) -> Int64[np.ndarray, "m"]:
    """Families of one concept: kin, and chains of frames that are surely copies or neighbours in a video."""
    _, first, member = np.unique(kin, return_index=True, return_inverse=True)
    numbers = np.arange(len(rows))
    first_of_kin = first[member.ravel()]
    edges = [np.stack([numbers, first_of_kin])]
    sure = _sure(vectors.shape[1])
    # No cosine exceeds 1, so there is nothing to look for.
    if sure >= 1:
        return _components(edges[0], len(rows))

    for span in spans(len(rows), 1, BLOCK):
        views = _views(prints, rows[span], whitening)
        for tile in spans(len(rows), 1, TILE):
            similarity = best_similarity(views, vectors[tile])
            alike = np.stack(np.nonzero(similarity > sure))
            corner = np.array([[span.start], [tile.start]])
            edges.append(alike + corner)
    all_edges = np.concatenate(edges, axis=1)
    return _components(all_edges, len(rows))


def _sure(axes: int) -> float:
    """The cosine that only copies have: that of unrelated pictures deviates by 1/√axes, so in fewer axes
    only a larger one is sure; 1 or more where none is.
    """
    widening = np.sqrt(WIDTH / axes)
    return SURE * float(widening)


def _null(
    prints: Prints,
    rows: Rows,
    family: Int64[np.ndarray, "m"],
    whitening: Whitening,
    vectors: Float32[np.ndarray, "m k"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "q"]:
    """For a sample of a concept, the similarity to the most similar frame of another family."""
    drawing = rng.permutation(len(rows))
    sample = np.sort(drawing[:NULL])
    sample_family = family[sample]
    views = _views(prints, rows[sample], whitening)
    # −1 is the least a cosine can be: it stays where every other frame is of the same family.
    best = np.full(len(sample), -1.0, dtype=np.float32)
    for tile in spans(len(rows), 1, TILE):
        similarity = best_similarity(views, vectors[tile])
        same_family = sample_family[:, None] == family[tile][None, :]
        similarity[same_family] = -1
        best_of_tile = similarity.max(axis=1)
        best = np.maximum(best, best_of_tile)
    unrelated = best > -1
    return np.asarray(best[unrelated])


def _points_threshold(
    prints: Prints,
    rows: Rows,
    family: Int64[np.ndarray, "m"],
    rate: float,
    index: PointIndex,
    rng: np.random.Generator,
) -> int:
    """Agreeing points that ``rate`` of the images without a copy exceed in a concept."""
    drawing = rng.permutation(len(rows))
    sample = np.sort(drawing[:POINTS_NULL])
    family_of = dict(zip(rows.tolist(), family.tolist(), strict=True))
    best = []
    for number in sample:
        query = constellation(prints.points, int(rows[number]))
        most = 0
        for row, count in index.matches(query):
            related = family_of.get(row) == family[number]
            # From SURE_POINTS on the other frame is a copy that is not known as one.
            if count < SURE_POINTS and not related:
                most = max(most, count)
        best.append(most)
    if len(best) < LEAST:
        return SURE_POINTS

    null = np.array(best, dtype=np.float32)
    threshold = similarity_threshold(null, rate)
    # The least whole number above the threshold.
    points = np.floor(threshold) + 1
    return int(np.clip(points, LEAST_POINTS, SURE_POINTS))


def point_matches(
    concepts: Concepts, index: PointIndex, query: Constellation, allowed: Bool[np.ndarray, "n"] | None = None
) -> list[tuple[int, int]]:
    """Frames of the corpus that share enough points with a picture: row and agreeing points, rising rows."""
    matches = []
    for row, count in index.matches(query, allowed):
        number = concepts.of_row[row]
        # −1: the frame shows nothing.
        if number < 0:
            continue
        concept = concepts.concepts[number]
        if count >= concept.points:
            matches.append((row, count))
    return matches


def _above(
    views: Float32[np.ndarray, "b v d"], asking: Bool[np.ndarray, "b v"], concept: Concept, threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Pairs of a picture and a frame over a threshold, by the views that ask in this concept."""
    pictures = np.flatnonzero(asking.any(axis=1))
    if not len(pictures):
        return
    _, each, width = views.shape
    flat = views[pictures].reshape(-1, width)
    whitened = concept.whitening.transform(flat)
    by_picture = whitened.reshape(len(pictures), each, -1)
    # Views that belong to another concept are similar to nothing.
    belongs = asking[pictures][..., None]
    concept_views = np.where(belongs, by_picture, np.float32(0))

    for tile in spans(len(concept.rows), 1, TILE):
        tile_rows = concept.rows[tile]
        similarity = best_similarity(concept_views, concept.vectors[tile])
        for number, column in np.argwhere(similarity > threshold):
            picture = int(pictures[number])
            row = int(tile_rows[column])
            yield picture, row, float(similarity[number, column])


def _views(prints: Prints, rows: Rows, whitening: Whitening) -> Float32[np.ndarray, "b 8 k"]:
    descriptors = prints.descriptors[rows].astype(np.float32)
    turned = symmetries(descriptors)
    count, each, width = turned.shape
    flat = turned.reshape(-1, width)
    whitened = whitening.transform(flat)
    return whitened.reshape(count, each, -1)


def _components(edges: Int64[np.ndarray, "2 e"], count: int) -> Int64[np.ndarray, "n"]:
    rows, columns = edges
    ones = np.ones(len(rows), dtype=np.int8)
    graph = coo_array((ones, (rows, columns)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels, dtype=np.int64)
