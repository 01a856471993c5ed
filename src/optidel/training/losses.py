"""The loss of a segmenter."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from optidel.arrays import VOID

SMOOTH = 1e-5
"""Added above and below the fraction, so that a class absent from batch and prediction costs nothing; MONAI's
value, and too small to be seen otherwise."""


def dice_cross_entropy(logits: Float[Tensor, "n k s s"], target: UInt8[Tensor, "n s s"]) -> Tensor:
    """Soft Dice loss plus cross entropy, the sum that segmentation of medical images is usually trained with.

    Dice is taken over the whole batch, class by class without the background, and averaged over the classes.

    Args:
        logits: float32 (n, k, s, s) for k classes, the background first; k >= 2.
        target: u8 (n, s, s), the class of every pixel; 255 is void and counts nowhere.

    Returns:
        A scalar: 1 - Dice, in [0, 1], plus the mean cross entropy of a pixel, in nats.

    Source: Milletari et al., 3DV 2016 (arXiv 1606.04797); the sum: nnU-Net (arXiv 1904.08128). Equals MONAI's
        ``DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)``.
    """
    # scatter and cross entropy need a class at every pixel; void ones are taken out afterwards.
    void = target == VOID
    classes = target.long().masked_fill(void, 0)
    predicted = torch.softmax(logits, 1)[:, 1:]
    truth = torch.zeros_like(logits).scatter_(1, classes[:, None], 1.0)[:, 1:]
    if void.any():
        counted = ~void[:, None]
        predicted, truth = predicted * counted, truth * counted

    # Batch and image together, so that a class absent from one image still has a denominator.
    over = (0, 2, 3)
    shared = (truth * predicted).sum(over)
    only_predicted = (predicted.sum(over) - shared) * 0.5
    only_true = (truth.sum(over) - shared) * 0.5
    overlap = (2 * shared + SMOOTH) / (2 * (shared + only_predicted + only_true) + SMOOTH)

    if void.all():
        return (1 - overlap).mean()  # the mean over no pixel is not a number
    entropy = F.cross_entropy(logits, target.long(), ignore_index=VOID)
    return (1 - overlap).mean() + entropy
