"""A bench that runs in seconds; as a script, a bench that is killed in the middle."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

NANO_BENCH: dict[str, Any] = {
    "methods": ["full", "random", "k-center"],
    "budgets": [0.25, 0.125],
    "seeds": [0, 1],
    "protocols": ["probe"],
    "encoder": {"steps": 2},
    "patches": {"backend": "regions", "candidates": 0.75},
    "pretrain": {"steps": 2, "batch": 4},
    "evaluate": {"steps": 2, "batch": 4, "train": 8, "test": 8},
}


def values(images: Path, labelled: Path, **changes: Any) -> dict[str, Any]:
    """A small bench file; ``changes`` replace whole keys."""
    return {"images": str(images), "labelled": str(labelled), **NANO_BENCH} | changes


def main() -> None:
    """``nano_bench.py IMAGES LABELLED OUT COUNT``: the process kills itself at the COUNT-th write of an
    evaluation; 0: never.
    """
    from pictures import NANO

    from optidel import store
    from optidel.benchmark import make_bench, run_bench
    from optidel.models.presets import PRESETS

    PRESETS["tiny"] = NANO
    images, labelled, out, fatal = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    clock, seen = store.Workspace.clock, 0

    def deadly(self: store.Workspace) -> float:
        nonlocal seen
        seen += self.path.name.startswith("evaluate-")
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return clock(self)

    store.Workspace.clock = deadly  # type: ignore[method-assign]
    run_bench(make_bench(values(images, labelled)), out)


if __name__ == "__main__":
    main()
