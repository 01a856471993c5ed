"""``dying.py IMAGES {OUT STEP WORKERS}…``: make each step in a child that SIGKILLs itself after its first
shard; prints how each ended. Workers 0: in the child itself.

A process of its own, for the table library's threads do not survive a fork.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHARD = 8
"""Rows of a shard, in these tests: 24 frames are three."""


def attempt(images: Path, out: Path, step: str, workers: int | None) -> str:
    """One child; how it ended."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        return "killed" if status == signal.SIGKILL else "done" if status == 0 else "failed"

    from nano import recipe

    from optidel import mapping
    from optidel.pipeline.pipeline import Pipeline
    from optidel.recipe import make_recipe

    hand_out = mapping.hand_out

    def deadly(job: Any, shards: Any, desks: Any, tick: Any, clock: Callable[[], object]) -> None:
        hand_out(job, shards, desks, tick, lambda: os.kill(os.getpid(), signal.SIGKILL))

    mapping.hand_out = deadly
    failed = True
    try:
        work = {"shard": SHARD, "workers": workers}
        getattr(Pipeline(make_recipe(recipe(images, images, out, work=work))), step)
        failed = False
    finally:
        os._exit(failed)


def main() -> None:
    """Every attempt in turn."""
    from pictures import NANO

    from optidel.models.presets import PRESETS

    PRESETS["tiny"] = NANO
    images, *attempts = sys.argv[1:]
    for start in range(0, len(attempts), 3):
        out, step, workers = attempts[start : start + 3]
        print(step, attempt(Path(images), Path(out), step, int(workers) or None), flush=True)


if __name__ == "__main__":
    main()
