"""The rows that benchmarks/selection.py selects from: unit vectors in long-tailed concepts, with planted
near-duplicates.
"""

import math
from pathlib import Path

import numpy as np

D = 384
INNER = 24
"""Dimensions in which the rows of one concept differ; a real embedding varies in few directions around any
point.
"""
SPREAD = 0.85
"""Length of a row's difference from its concept's centre, relative to the centre; so cosines inside a concept
average 0.58.
"""
DUPLICATES = 0.3
PARENTS = 0.1
"""Share of the distinct rows that have copies; so a planted group holds 5.3 rows on average."""
NOISE = 0.07
"""Length of a copy's difference from its parent, relative to the parent: cosine distance about 0.0025, 0.005
between two copies.
"""


def plant(folder: Path, n: int, dtype: str, seed: int = 0) -> None:
    """Write vectors.npy (n, 384), concept.npy and group.npy int32 (n,), and difficulty.npy float32 (n,), in
    random row order.

    Concepts number 2·√n with sizes in proportion to 1/rank; 30 % of the rows are near copies of a tenth of
    the others. ``group`` is the same for a parent and its copies and different everywhere else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    distinct = n - round(DUPLICATES * n)
    concepts = 2 * math.isqrt(n)
    share = 1 / np.arange(1, concepts + 1)
    concept = np.concatenate(
        [np.arange(concepts), rng.choice(concepts, distinct - concepts, p=share / share.sum())]
    )
    parents = rng.choice(distinct, max(1, round(PARENTS * distinct)), replace=False)
    group = np.concatenate([np.arange(distinct), rng.choice(parents, n - distinct)])
    centres = _unit(rng.standard_normal((concepts, D), dtype=np.float32))
    planes = [_unit(rng.standard_normal((INNER, D), dtype=np.float32)) for _ in range(32)]
    place = rng.permutation(n)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=dtype, shape=(n, D))
    originals = np.empty((distinct, D), dtype=np.float32)
    for label in range(concepts):
        rows = np.flatnonzero(concept == label)
        # Coordinates fall off, so that nearest neighbours are closer than two rows at random, as in a real
        # embedding.
        within = rng.standard_normal((len(rows), INNER), dtype=np.float32) / np.sqrt(
            np.arange(1, INNER + 1, dtype=np.float32)
        )
        within *= SPREAD / np.sqrt((1 / np.arange(1, INNER + 1)).sum())
        originals[rows] = _unit(centres[label] + within @ planes[label % len(planes)])
    for start in range(0, n, 65536):
        rows = slice(start, min(n, start + 65536))
        block = originals[group[rows]]
        copies = np.arange(rows.start, rows.stop) >= distinct
        block[copies] += NOISE / math.sqrt(D) * rng.standard_normal((int(copies.sum()), D), dtype=np.float32)
        vectors[place[rows]] = _unit(block)
    vectors.flush()
    difficulty = rng.gamma(2, size=n)
    for name, values in (("concept", concept[group]), ("group", group), ("difficulty", difficulty)):
        shuffled = np.empty(n, dtype=np.float32 if name == "difficulty" else np.int32)
        shuffled[place] = values
        np.save(folder / f"{name}.npy", shuffled)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
