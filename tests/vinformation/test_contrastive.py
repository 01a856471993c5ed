"""NT-Xent in nats: against the training loss, a plain loop, and its limits."""

import numpy as np
import pytest
import torch

from optidel.errors import InputError
from optidel.models.simclr import nt_xent
from optidel.vinformation import contrastive_information, nt_xent_surprisal


def views(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n, 64))
    return first, first + noise * rng.normal(size=first.shape)


def test_it_is_the_training_loss_and_a_plain_loop() -> None:
    first, second = views(7, 0.8)
    found = nt_xent_surprisal(first, second, 0.3)
    assert found.mean() == pytest.approx(
        nt_xent(torch.from_numpy(first), torch.from_numpy(second), 0.3).item(), rel=1e-5
    )
    z = np.concatenate([first, second])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    for row in range(7):
        terms = []
        for own, other in ((row, row + 7), (row + 7, row)):
            total = sum(np.exp(z[own] @ z[k] / 0.3) for k in range(14) if k != own)
            terms.append(-np.log(np.exp(z[own] @ z[other] / 0.3) / total))
        assert found[row] == pytest.approx(np.mean(terms), rel=1e-5)


def test_knowing_nothing_gives_nothing_and_knowing_all_the_log_of_the_candidates() -> None:
    blind = contrastive_information(np.ones((20, 3)), np.ones((20, 3)), temperature=0.2)
    assert blind.information == pytest.approx(0, abs=1e-6)
    assert blind.h_null == pytest.approx(np.log(39))
    one_hot = np.eye(20)
    sure = contrastive_information(one_hot, one_hot, temperature=0.01)
    assert sure.information == pytest.approx(np.log(39), abs=1e-6)


def test_noise_between_the_views_costs_information() -> None:
    found = [
        contrastive_information(*views(64, noise), temperature=0.2).information for noise in (0.1, 0.5, 2.0)
    ]
    assert found[0] > found[1] > found[2]


def test_batches_fix_the_number_of_candidates() -> None:
    first, second = views(100, 0.5)
    found = contrastive_information(first, second, temperature=0.2, batch=30)
    assert found.null.tolist() == [np.log(49)] * 100
    np.testing.assert_allclose(found.conditional[:25], nt_xent_surprisal(first[:25], second[:25], 0.2))


@pytest.mark.parametrize(
    ("first", "second", "temperature", "says"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), 0.2, r"got \(3, 2\) and \(4, 2\)"),
        (np.ones((1, 2)), np.ones((1, 2)), 0.2, "at least two images"),
        (np.ones((3, 2)), np.ones((3, 2)), 0.0, "must be positive, got 0.0"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    first: np.ndarray, second: np.ndarray, temperature: float, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        nt_xent_surprisal(first, second, temperature)
    with pytest.raises(InputError, match="batch must be at least 2"):
        contrastive_information(np.ones((3, 2)), np.ones((3, 2)), temperature=0.2, batch=1)
