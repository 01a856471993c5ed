"""NT-Xent equals the published formula written as a loop."""

import math

import torch

from optidel.models.encoders import build_encoder
from optidel.models.presets import PRESETS
from optidel.models.simclr import SimCLR, nt_xent


def slow_nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    z = torch.cat([first, second])
    count, total = len(first), 0.0
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        logits = [
            math.exp(torch.cosine_similarity(z[i], z[k], dim=0).item() / temperature)
            for k in range(2 * count)
            if k != i
        ]
        total += -math.log(
            math.exp(torch.cosine_similarity(z[i], z[j], dim=0).item() / temperature) / sum(logits)
        )
    return total / (2 * count)


def test_nt_xent_equals_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, 7, generator=generator) for _ in range(2))
    assert math.isclose(nt_xent(first, second, 0.3).item(), slow_nt_xent(first, second, 0.3), rel_tol=1e-5)


def test_agreeing_views_cost_less(nano: object) -> None:
    generator = torch.Generator().manual_seed(0)
    model = SimCLR(build_encoder(PRESETS["tiny"], generator), generator).eval()
    x, other = (torch.randn(6, 3, 32, 32, generator=generator) for _ in range(2))
    assert model(x, x) < model(x, other)
