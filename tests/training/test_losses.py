"""Dice and cross entropy equal MONAI's, in value and gradient, and a loop's."""

import numpy as np
import pytest
import torch

from optidel.datasets.readings import VOID
from optidel.training.losses import SMOOTH, dice_cross_entropy


def batch(classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, classes, 16, 16, generator=generator)
    target = torch.randint(0, classes, (4, 16, 16), generator=generator).to(torch.uint8)
    return logits, target


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("absent", [False, True])
def test_value_and_gradient_are_those_of_monai(classes: int, absent: bool) -> None:
    dice = pytest.importorskip(
        "monai.losses.dice", reason="MONAI, a development dependency, is not installed"
    )
    logits, target = batch(classes, classes)
    if absent:
        target[target == 1] = 0
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = dice_cross_entropy(ours, target)
    reference = dice.DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    expected = reference(theirs, target[:, None])
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=0)


def test_value_is_that_of_a_loop() -> None:
    logits, target = batch(3, 0)
    chance = np.exp(logits.numpy().astype(np.float64))
    chance /= chance.sum(axis=1, keepdims=True)
    truth = target.numpy()
    losses = []
    for kind in (1, 2):
        shared = sum(chance[n, kind][truth[n] == kind].sum() for n in range(4))
        size = chance[:, kind].sum() + (truth == kind).sum()
        losses.append(1 - (2 * shared + SMOOTH) / (size + SMOOTH))
    entropy = [-np.log(chance[n, truth[n, y, x], y, x]) for n, y, x in np.ndindex(4, 16, 16)]
    expected = np.mean(losses) + np.mean(entropy)
    assert dice_cross_entropy(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    _, target = batch(3, 1)
    logits = 40 * torch.nn.functional.one_hot(target.long(), 3).movedim(-1, 1).float()
    assert dice_cross_entropy(logits, target).item() < 1e-4


@pytest.mark.parametrize("classes", [2, 4])
def test_void_pixels_count_nowhere(classes: int) -> None:
    logits, target = batch(classes, 5)
    void = torch.rand(target.shape, generator=torch.Generator().manual_seed(6)) < 0.3
    inputs = logits.clone().requires_grad_()
    value = dice_cross_entropy(inputs, target.masked_fill(void, VOID))
    # The same pixels alone, as one picture of one row.
    alone = logits.movedim(1, -1)[~void].T[None, :, None]
    torch.testing.assert_close(value, dice_cross_entropy(alone, target[~void][None, None]))
    value.backward()
    assert inputs.grad is not None
    assert (inputs.grad.movedim(1, -1)[void] == 0).all()
    nothing = dice_cross_entropy(logits, torch.full_like(target, VOID))
    assert nothing.item() == pytest.approx(0, abs=1e-6)
