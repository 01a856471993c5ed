"""Importance resampling: concepts that are frequent in the target and rare in the corpus are drawn more
often.
"""

import numpy as np
from jaxtyping import Float64, Int64

from optidel.arrays import Vectors
from optidel.errors import RecipeError
from optidel.features.clusters import assign, cluster
from optidel.methods.draws import weighted_order
from optidel.methods.inputs import check_k
from optidel.methods.outcome import outcome
from optidel.records import Selection


def target_importance(
    vectors: Vectors,
    count: int,
    *,
    target: Vectors,
    rng: np.random.Generator,
    k: int | None = None,
    smoothing: float = 1.0,
) -> Selection:
    """Draw rows without replacement, each with the weight p_target/p_corpus of its concept.

    A concept is a k-means cluster of the corpus. The shares of the target are estimated from its few images.
    A smaller count keeps a prefix.

    Args:
        vectors: float (n, d), memory-mapped if large.
        count: rows to keep.
        target: float (t, d), unlabelled images of the target in the same embedding.
        rng: the clustering and the draw.
        k: concepts; default √n. With few target images a smaller k estimates their shares better.
        smoothing: images that are added to the target, spread like the corpus, so that a concept without a
            target image can still be drawn; positive. 1 trusts ten target images eleven times as much as the
            corpus.

    Returns:
        The selection in order of the draw. Gain: logarithm of the weight, above 0 where the concept is more
        frequent in the target than in the corpus.

    Raises:
        RecipeError: a parameter out of range.

    Source: DSIR (Xie et al. 2023, arXiv 2302.03169), with concepts in place of hashed n-grams.
    """
    check_k(k, len(vectors))
    if not smoothing > 0:
        raise RecipeError(f"smoothing must be a positive number of images, got {smoothing}; 1 is the default")
    clusters = cluster(vectors, k, rng=rng)
    target_labels = assign(target, clusters.centroids).labels
    log_weight = log_importance(clusters.labels, target_labels, len(clusters.centroids), smoothing)
    row_weight = log_weight[clusters.labels]
    picks = weighted_order(vectors, np.exp(row_weight), rng)[:count]
    return outcome(len(vectors), picks, row_weight[picks], dropped="not drawn")


def log_importance(
    labels: Int64[np.ndarray, "n"], target_labels: Int64[np.ndarray, "t"], k: int, smoothing: float
) -> Float64[np.ndarray, "k"]:
    """log p_target/p_corpus of each concept; the target has ``smoothing`` more images, spread like the
    corpus.

    Args:
        labels: int64 (n,), concept of each row.
        target_labels: int64 (t,), concept of each target image.
        k: concepts.
        smoothing: images added to the target.

    Returns:
        float64 (k,); 0 for a concept without rows.
    """
    corpus = np.bincount(labels, minlength=k) / len(labels)
    count = np.bincount(target_labels, minlength=k)
    smoothed = count + smoothing * corpus
    target = smoothed / smoothed.sum()
    ratio = np.divide(target, corpus, out=np.ones(k), where=corpus > 0)
    log_ratio: Float64[np.ndarray, k] = np.log(ratio)
    return log_ratio
