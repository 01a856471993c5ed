"""How much a set of embeddings differs within itself: estimators of H_V(Y|∅) that need no model."""

import numpy as np
from jaxtyping import Float64

from optidel.arrays import Vectors
from optidel.errors import InputError
from optidel.features.rows import spans, unit

# Squared distance of unit vectors up to which :func:`log_determinant` describes a set: the square of a tenth.
DISTORTION = 0.01


# Eigenvalues up to this share of their sum are rounding errors of zero, some of them negative.
NEGLIGIBLE = 1e-12


def log_determinant(vectors: Vectors, distortion: float = DISTORTION) -> float:
    """Gaussian log-determinant of a set: ½·log det(I + (d/δ)·C), nats per image.

    C is the covariance around the mean of the rows scaled to length 1, so a set of equal directions has 0. It
    is the rate at which a Gaussian with that covariance must be described for a mean squared error of at most
    δ, and for δ → 0 its differential entropy up to a constant. δ regularises: directions in which the set
    varies by less than δ/d count for little, and a set with fewer rows than dimensions still has a finite
    value. Only values of equal δ and d compare.

    Args:
        vectors: float (n, d), memory-mapped if large; read in two passes of blocks. Finite, no row all zero.
        distortion: δ, on unit vectors (their squared length is 1).

    Raises:
        InputError: δ is not positive.

    Source: Ma et al. 2007 (rate distortion of a Gaussian); Yu et al., NeurIPS 2020 (arXiv 2006.08558),
        equation 2.
    """
    if not distortion > 0:
        raise InputError(f"distortion must be positive, got {distortion}; {DISTORTION:g} is the default")
    n, d = vectors.shape
    mean = _sum(vectors) / n
    covariance = _gram(vectors, mean) / n
    scale = d / distortion
    regularised = np.eye(d) + scale * covariance
    sign, value = np.linalg.slogdet(regularised)
    assert sign > 0, "identity plus a covariance is positive definite"
    return max(0.0, 0.5 * float(value))


def vendi(vectors: Vectors) -> float:
    """Vendi score under the cosine kernel: the effective number of different images, from 1 (all equal) to n
    (all orthogonal).

    It is exp of the Shannon entropy of the eigenvalues of K/n. For the cosine kernel K = U·Uᵀ these are,
    zeros aside, the eigenvalues of the d × d matrix Uᵀ·U/n: exact, with memory that does not grow with n.

    Args:
        vectors: float (n, d), memory-mapped if large; read in one pass of blocks. Finite, no row all zero.

    Source: Friedman & Dieng, TMLR 2023 (arXiv 2210.02410), definition 3.1.
    """
    # U·Uᵀ and Uᵀ·U have the same eigenvalues, zeros aside; the smaller one is computed.
    n, d = vectors.shape
    if n < d:
        rows = unit(np.asarray(vectors)).astype(np.float64)
        gram = rows @ rows.T
    else:
        gram = _gram(vectors, np.zeros(d))
    eigenvalues = np.linalg.eigvalsh(gram / n)
    weights = eigenvalues[eigenvalues > NEGLIGIBLE]
    entropy = -(weights * np.log(weights)).sum()
    return float(np.exp(entropy))


def _sum(vectors: Vectors) -> Float64[np.ndarray, "d"]:
    total = np.zeros(vectors.shape[1])
    for span in spans(*vectors.shape):
        rows = unit(np.asarray(vectors[span]))
        total += rows.sum(axis=0, dtype=np.float64)
    return total


def _gram(vectors: Vectors, centre: Float64[np.ndarray, "d"]) -> Float64[np.ndarray, "d d"]:
    """Σ (u − centre)·(u − centre)ᵀ over the rows u scaled to length 1."""
    total = np.zeros((vectors.shape[1], vectors.shape[1]))
    for span in spans(*vectors.shape):
        rows = unit(np.asarray(vectors[span])).astype(np.float64) - centre
        total += rows.T @ rows
    return total
