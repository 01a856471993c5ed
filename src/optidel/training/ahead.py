"""Reading what comes next while a device computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

# Batches that are read before they are needed: one in work, one in hand.
AHEAD = 2

Key = TypeVar("Key")
Value = TypeVar("Value")


def ahead(read: Callable[[Key], Value], keys: Iterable[Key]) -> Iterator[Value]:
    """What ``read`` makes of each key, in order; a thread reads before it is asked for.

    A thread is enough: copying rows of a memory map leaves Python to others. An error comes where its value
    would have come.

    Args:
        read: called in another thread, for one key after the other.
        keys: in the order in which the values are wanted.

    >>> list(ahead(str, range(3)))
    ['0', '1', '2']
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        waiting: deque[Future[Value]] = deque()
        try:
            for key in keys:
                waiting.append(thread.submit(read, key))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
