"""A process's share of a batch: which rows are its own, numbers drawn for all rows, and vectors of all."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Rows ``start`` to ``stop`` of the ``count`` rows of a batch.

    Numbers are drawn for all rows and cut afterwards, so that a row is shown alike whoever trains on it.

    >>> second = Share(start=2, stop=4, count=4)
    >>> second.within(3, 4)
    Share(start=0, stop=1, count=1, whole=0)

    Args:
        start, stop, count: the rows.
        whole: of a batch of composites, how many images, the last of the batch, are shown as they are.
    """

    start: int
    stop: int
    count: int
    whole: int = 0

    def __len__(self) -> int:
        """Rows of the share."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """The rows, to cut what holds all of the batch."""
        return slice(self.start, self.stop)

    @property
    def composites(self) -> "Share":
        """What it holds of the composites of the batch."""
        return self.within(0, self.count - self.whole)

    @property
    def originals(self) -> "Share":
        """What it holds of the images that are shown as they are."""
        return self.within(self.count - self.whole, self.count)

    def within(self, first: int, last: int) -> "Share":
        """What it holds of the rows ``first`` to ``last``, counted from ``first``."""
        start, stop = (min(max(row, first), last) - first for row in (self.start, self.stop))
        return Share(start=start, stop=stop, count=last - first)

    def of_tiles(self, tiles: int) -> "Share":
        """The same share where each row becomes ``tiles`` rows."""
        return Share(start=self.start * tiles, stop=self.stop * tiles, count=self.count * tiles)

    def rand(self, *shape: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Its rows of uniform numbers that are drawn for the whole batch."""
        return torch.rand(self.count, *shape, generator=generator)[self.rows]


def whole(count: int) -> Share:
    """All rows of a batch."""
    return Share(start=0, stop=count, count=count)


def gathered(rows: Float[Tensor, "n d"], share: Share) -> Float[Tensor, "m d"]:
    """The rows of all processes, in the order of the batch; gradients flow back to whose rows they are.

    Args:
        rows: of this process.
        share: which they are; every process has as many.
    """
    if len(share) == share.count:
        return rows
    every: Tensor = _Gathered.apply(rows)  # type: ignore[no-untyped-call]
    return every


class _Gathered(torch.autograd.Function):
    """Rows of all processes; the gradient of a row is the sum over what all of them made of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
