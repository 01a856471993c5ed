"""SAS: subsets for contrastive learning, whose rows stand for their latent class as well as possible."""

import numpy as np
from jaxtyping import Float32

from optidel.arrays import Vectors
from optidel.features.clusters import cluster
from optidel.features.rows import unit
from optidel.methods.inputs import check_k
from optidel.methods.outcome import cluster_twins, outcome
from optidel.methods.partition import Ranking
from optidel.methods.quotas import power_shares, systematic_rounding
from optidel.records import Selection


def sas(vectors: Vectors, count: int, *, rng: np.random.Generator, k: int | None = None) -> Selection:
    """Inside each latent class, greedily maximise the similarity of the kept rows to those left out.

    What contrastive learning needs of a class is that its augmentations meet. Rows whose expected similarity
    to the rest of the class is high stand for it; the sum over rows left out falls when similar rows are
    kept, so copies are avoided. The cosine of a trained encoder, which is invariant to augmentations, is the
    expected similarity.

    Args:
        vectors: float (n, d), memory-mapped if large; of an encoder trained contrastively where there is one.
        count: rows to keep.
        rng: the clustering and the rounding of the shares.
        k: latent classes, k-means clusters here; default √n. The classes share the count in proportion to
            their size.

    Returns:
        The selection: the first of every class, then the second, … Gain: what each adds to the sum, which may
        be negative. Each dropped row names the most similar kept row of its class.

    Raises:
        RecipeError: ``k`` out of range.

    Source: Joshi & Mirzasoleiman, ICML 2023 (arXiv 2302.09195); the greedy choice without its final local
        search.
    """
    check_k(k, len(vectors))
    clusters = cluster(vectors, k, rng=rng)
    members = clusters.members()
    sizes = np.array([len(rows) for rows in members])
    shares = power_shares(sizes, count, 1.0)
    quota = systematic_rounding(shares, count, rng)

    turns, picks, gains = [], [], []
    for rows, share in zip(members, quota, strict=True):
        if share:
            positions, class_gains = greedy_cut(unit(np.asarray(vectors[rows])), int(share))
            picks.append(rows[positions])
            gains.append(class_gains)
            turns.append(np.arange(share))
    order = np.argsort(np.concatenate(turns), kind="stable")
    all_picks = np.concatenate(picks)[order]
    twins = cluster_twins(vectors, clusters, all_picks)
    dropped = "stood for by others of its class"
    return outcome(len(vectors), all_picks, np.concatenate(gains)[order], dropped=dropped, twins=twins)


def greedy_cut(rows: Float32[np.ndarray, "c d"], depth: int) -> Ranking:
    """Rank unit rows by what each adds to the sum of similarities between kept rows and others.

    The sum of a row's similarities to all others is one product with the sum of the rows, so no matrix of
    similarities is needed: each step costs one product.

    Returns:
        picks int64 (depth,) and gains float64 (depth,).
    """
    wide = rows.astype(np.float64)
    total = wide.sum(axis=0)
    own = np.einsum("cd,cd->c", wide, wide)
    gain = wide @ total - own
    picks = np.empty(depth, dtype=np.int64)
    gains = np.empty(depth)
    available = np.ones(len(rows), dtype=bool)
    for step in range(depth):
        # To nine decimals, so that copies tie and the lower row comes first.
        best = int(np.where(available, gain.round(9), -np.inf).argmax())
        picks[step], gains[step] = best, gain[best]
        available[best] = False
        # The pick leaves the rows to stand for, and its similarity to a later pick no longer counts: twice.
        gain -= 2 * (wide @ wide[best])
    return picks, gains
