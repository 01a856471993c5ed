"""The family of SimCLR: Y is which of the candidates is the other view of the same image."""

import math

import numpy as np
from jaxtyping import Float, Float64

from optidel.errors import InputError
from optidel.features.rows import unit
from optidel.vinformation.gaussian import Information


def nt_xent_surprisal(
    first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"], temperature: float
) -> Float64[np.ndarray, "n"]:
    """−log f[x](y) under NT-Xent, nats per image: the mean of its two views' terms.

    Args:
        first: float (n, d), projections of one view of each image.
        second: float (n, d), of another view, row by row of the same images.
        temperature: divides the cosine similarities.

    Raises:
        InputError: unequal shapes, a single image (nothing to tell it from), or a temperature that is not
            positive.

    Source: Chen et al., ICML 2020, equation 1 (arXiv 2002.05709).
    """
    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        raise InputError(
            f"two views of at least two images, both (n, d), are needed, got {first.shape} and {second.shape}"
        )
    if not temperature > 0:
        raise InputError(f"temperature must be positive, got {temperature}; SimCLR here trains with 0.2")
    n = len(first)
    views = unit(np.concatenate([first, second])).astype(np.float64)
    logits = views @ views.T / temperature
    np.fill_diagonal(logits, -np.inf)  # a view is no candidate for itself

    # The largest logit is taken out before exp, which would overflow at low temperatures.
    largest = logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits - largest)
    total = np.log(exponentials.sum(axis=1)) + largest[:, 0]

    rows = np.arange(2 * n)
    partner = (rows + n) % (2 * n)
    surprisals = total - logits[rows, partner]
    return np.asarray(surprisals.reshape(2, n).mean(axis=0))


def contrastive_information(
    first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"], *, temperature: float, batch: int = 256
) -> Information:
    """V-information of the choice of the other view, nats per image.

    The null model spreads its belief evenly over the 2·b − 1 candidates of a batch of b images: H_V(Y|∅) =
    log(2·b − 1). The number of candidates is part of the question, so only results of equal ``batch``
    compare; I_V is at most that logarithm.

    Args:
        first: float (n, d), projections of one view.
        second: float (n, d), of the other.
        temperature: divides the cosine similarities.
        batch: most images that are told from each other; n is cut into as few near-equal batches as possible.

    Raises:
        InputError: as :func:`nt_xent_surprisal`.
    """
    if batch < 2:
        raise InputError(f"batch must be at least 2 images, got {batch}")
    count = math.ceil(len(first) / batch)
    conditional, null = [], []
    for part in np.array_split(np.arange(len(first)), count):
        conditional.append(nt_xent_surprisal(first[part], second[part], temperature))
        null.append(np.full(len(part), np.log(2 * len(part) - 1)))
    return Information(null=np.concatenate(null), conditional=np.concatenate(conditional), values=1)
