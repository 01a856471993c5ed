"""A recipe that runs in seconds; as a script, a run that is killed in every step and goes on."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

NANO_RECIPE: dict[str, Any] = {
    "budget": 0.125,
    "encoder": {"steps": 4},
    "patches": {"backend": "regions", "candidates": 0.75},
    "pretrain": {"steps": 4, "batch": 8},
    "evaluate": {"steps": 2, "batch": 4, "train": 8, "test": 8},
}


def recipe(images: Path, labelled: Path, out: Path, /, **changes: Any) -> dict[str, Any]:
    """A small recipe; ``changes`` replace whole sections."""
    return {"images": str(images), "labelled": str(labelled), "out": str(out), **NANO_RECIPE} | changes


def attempt(images: Path, labelled: Path, out: Path, fatal: str) -> str:
    """Run in a child process that SIGKILLs itself at the second write of step ``fatal`` (its first, where it
    has one); how it ended.
    """
    from optidel import store
    from optidel.pipeline.run import run

    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        return "killed" if status == signal.SIGKILL else "done" if status == 0 else "failed"
    clock, seen = store.Workspace.clock, 0

    def deadly(self: store.Workspace) -> float:
        nonlocal seen
        seen += self.path.name.startswith(f"{fatal}-")
        if seen == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return clock(self)

    store.Workspace.clock = deadly  # type: ignore[method-assign]
    failed = True
    try:
        run(recipe(images, labelled, out))
        failed = False
    finally:
        os._exit(failed)


def main() -> None:
    """``nano.py IMAGES LABELLED OUT STEP …``: one attempt a step, each killed there, then one to the end;
    prints how each ended.
    """
    from pictures import NANO

    from optidel.models.presets import PRESETS

    PRESETS["tiny"] = NANO
    images, labelled, out, *steps = sys.argv[1:]
    for step in [*steps, "none"]:
        print(step, attempt(Path(images), Path(labelled), Path(out), step), flush=True)


if __name__ == "__main__":
    main()
