"""Difficulty that is neither contrast nor noise: how much was learnt, and the error in units of its own
patch.

The error of a reconstruction grows with the contrast of an image, and is greatest where there is nothing to
learn: noise. Both functions read arrays that a warm-up leaves anyway.
"""

import numpy as np
from jaxtyping import Float, Float64

from optidel.arrays import Scores
from optidel.errors import InputError

# Variance of rounding to 8 bits, for pixels in [0, 1]: below it a patch holds nothing but quantisation.
QUANTISATION = 1 / (12 * 255**2)


def learnability(early: Scores, late: Scores) -> Float64[np.ndarray, "n"]:
    """The share of the early error that training took off.

    It is near 0 for what is noise (never learnt) and for what was known from the start, and high for what the
    model was learning. A scale of the pixels does not change it.

    Args:
        early: float (n,), error of each image at an early checkpoint of the warm-up, at least 0.
        late: float (n,), at a late one.

    Returns:
        float64 (n,), at most 1, (early − late)/early; negative where the error grew, and 0 where the early
        error is 0 and did not grow.

    Raises:
        InputError: different lengths, or an error that is negative or not finite.

    Source: after the learnability of JEST (Evans et al. 2024, arXiv 2406.17711) and the reducible loss of RHO
        (Mindermann et al. 2022, arXiv 2206.07137), with two checkpoints of one model and relative to the
        first.

    >>> import numpy as np
    >>> from optidel.vinformation import learnability
    >>> learnability(np.array([0.4, 0.4]), np.array([0.1, 0.4])).round(2).tolist()  # learnt, and noise
    [0.75, 0.0]

    """
    first, last = _errors(early, "early"), _errors(late, "late")
    if first.shape != last.shape:
        raise InputError(
            f"early and late errors must be of the same images, got {first.shape} and {last.shape}"
        )
    # Without an early error there was nothing to learn; the smallest number keeps a later error negative.
    return np.asarray((first - last) / np.maximum(first, np.finfo(np.float64).tiny))


def scale_free(
    error: Float[np.ndarray, "n ..."], variance: Float[np.ndarray, "n ..."]
) -> Float64[np.ndarray, "n"]:
    """Mean over patches of ½·log(error/variance): the conditional entropy of a patch in units of its own
    spread.

    Minus this is the information, in nats per value, that the visible part gives on a patch beyond its own
    mean. A change of contrast or exposure multiplies both, so it changes nothing. Flat patches say nothing
    and are left out.

    Args:
        error: float (n, …), mean squared error of each patch, pixels in [0, 1], at least 0.
        variance: float (n, …), variance of the pixels of each patch around their mean.

    Returns:
        float64 (n,), higher is harder; 0 where the model does no better than the mean of each patch. An image
        of flat patches alone has the least value of all, 0 where all are flat.

    Raises:
        InputError: different shapes, or a number that is negative or not finite.

    Source: the differential entropy of a Gaussian; PVI (Ethayarajh et al. 2022, arXiv 2110.08420) with each
        patch as its own null model.

    >>> import numpy as np
    >>> from optidel.vinformation import scale_free
    >>> error, variance = np.array([[0.02, 0.01]]), np.array([[0.04, 0.01]])
    >>> bool(np.isclose(scale_free(error, variance), scale_free(9 * error, 9 * variance))[0])
    True

    """
    errors, variances = _errors(error, "error"), _errors(variance, "variance")
    if errors.shape != variances.shape:
        raise InputError(f"error and variance must have one shape, got {errors.shape} and {variances.shape}")
    errors, variances = errors.reshape(len(errors), -1), variances.reshape(len(errors), -1)
    structured = variances > QUANTISATION
    # A perfect patch would have minus infinity: no error is below that of rounding.
    ratio = np.maximum(errors, QUANTISATION) / np.maximum(variances, QUANTISATION)
    entropy = np.where(structured, np.log(ratio) / 2, 0.0).sum(axis=1)

    patches = structured.sum(axis=1)
    value: Float64[np.ndarray, n] = entropy / np.maximum(patches, 1)
    flat = patches == 0
    value[flat] = value[~flat].min() if not flat.all() else 0.0
    return value


def _errors(values: Float[np.ndarray, "n ..."], name: str) -> Float64[np.ndarray, "n ..."]:
    array = np.asarray(values, dtype=np.float64)
    faulty = ~(np.isfinite(array) & (array >= 0))
    if array.ndim == 0 or faulty.any():
        row = int(np.argwhere(faulty)[0][0]) if array.ndim else 0
        raise InputError(f"{name} of row {row} must be finite and at least 0; compute it again")
    return array
