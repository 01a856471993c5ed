"""Processes that train one model together, as torchrun starts them: who takes part, and what they exchange.

The first process (rank 0) goes through the whole run. The others wait for its trainings and take part in
each; they read the same folders and write nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from optidel.errors import TrainingError
from optidel.models.shares import Share

# How long a process waits for the next training: what lies between two may take days. One that waits for a
# process that died is told so at once, by the connection.
PATIENCE = timedelta(days=365)

# What stands in the errors of torch where a process is lost: the names of the libraries that carry the data.
CARRIERS = ("gloo", "nccl", "connection closed")

# Under this key of the processes' common store it is counted who has said why the run ends.
SAID = "optidel/said"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Processes that train together: the ``rank`` of this one, from 0, and their ``count``.

    >>> Ranks(rank=1, count=2).share(8, part=0, parts=2)
    Share(start=4, stop=6, count=8, whole=0)
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process saves and speaks for all."""
        return self.rank == 0

    def share(self, batch: int, *, part: int = 0, parts: int = 1, whole: int = 0) -> Share:
        """What this process does of a batch, in one of ``parts`` that follow each other.

        Args:
            batch: images of the whole batch, a multiple of ``count`` times ``parts``.
            part, parts: which part, from 0, of how many.
            whole: as :class:`Share` has it.
        """
        size = batch // (self.count * parts)
        start = (self.rank * parts + part) * size
        return Share(start=start, stop=start + size, count=batch, whole=whole)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes of what each has; ``values`` are changed."""
        if self.count > 1:
            dist.all_reduce(values)
            values /= self.count
        return values

    def check_alike(self, value: Any, what: str) -> None:
        """Stop where a process has another value than the first.

        Raises:
            TrainingError: they differ.
        """
        if self.count == 1:
            return
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        if any(other != values[0] for other in values):
            raise TrainingError(
                f"the processes that train together see another {what} each ({', '.join(map(str, values))}); "
                "put the run folder where all nodes see it, and run the same command again"
            )


ALONE = Ranks()


class Company:
    """The processes that have met: who this one is, and what they say to each other beside gradients."""

    def __init__(self, ranks: Ranks, store: Any) -> None:
        """Open a channel of its own for announcements, whose waiting may last."""
        self.ranks = ranks
        self._store = store
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE)

    def announce(self, training: object) -> None:
        """Tell the other processes of a training; None ends their waiting."""
        dist.broadcast_object_list([training], src=0, group=self._group, device=HOST)

    def announced(self) -> Any:
        """Wait for the next training."""
        trainings: list[Any] = [None]
        dist.broadcast_object_list(trainings, src=0, group=self._group, device=HOST)
        return trainings[0]

    def is_first_to_say(self) -> bool:
        """Whether no other process has said yet why the run ends: one sentence is enough."""
        try:
            return bool(self._store.add(SAID, 1) == 1)
        except RuntimeError:  # the store was the first process's, which is gone
            return True


HOST = torch.device("cpu")

_companies: list[Company] = []


def company() -> Company | None:
    """The processes that this one trains with; None where it is alone."""
    return _companies[-1] if _companies else None


@contextmanager
def joining(rank: int, count: int) -> Iterator[Company]:
    """Meet the other processes at ``MASTER_ADDR``: their gradients go by NCCL on CUDA, else by gloo.

    Args:
        rank, count: which process this is, from 0, of how many.

    Raises:
        TrainingError: they do not meet, or one of them is lost later.
    """
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    with _loss_named(rank, count):
        store, _, _ = next(rendezvous("env://", rank, count))
        dist.init_process_group(backend, store=store, rank=rank, world_size=count)
        _companies.append(Company(Ranks(rank=rank, count=count), store))
        yield _companies[-1]
        # Not after an error: who failed has something to say yet, and its end tells the others.
        dist.destroy_process_group()
        _companies.pop()


@contextmanager
def _loss_named(rank: int, count: int) -> Iterator[None]:
    """Make one sentence of what torch says where a process is lost.

    Raises:
        TrainingError: one is.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error).lower()
        if not isinstance(error, dist.DistError) and not any(name in message for name in CARRIERS):
            raise
        raise TrainingError(
            f"process {rank} of {count} has lost another of the processes that train together; start the "
            "same command again, it goes on from the last checkpoint"
        ) from error
