"""``killing.py IMAGES OUT CHANGES STEP:WRITE …``: a run up to its encoders that is killed in single steps and
goes on; CHANGES are sections of its recipe as JSON.

Each STEP:WRITE is an attempt in a child process that SIGKILLs itself at that write of the step, from 1;
prints how each ended. The table library's threads do not survive a fork, so this is a process of its own.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


def killed_run(images: Path, out: Path, changes: dict[str, Any], kills: list[str]) -> list[str]:
    """Run this file: how each attempt ended, and the last, which nothing kills."""
    arguments = [str(images), str(out), json.dumps(changes), *kills, "none:1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *arguments], env=environment, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def bytes_of(root: Path) -> dict[str, bytes]:
    """Every file of a run folder's artifacts, without the notes of how long they took."""
    files = {}
    for path in sorted(root.glob("*-*/**/*")):
        if path.is_file() and path.name != "cost.json":
            files[str(path.relative_to(root))] = path.read_bytes()
    return files


def attempt(images: Path, out: Path, changes: dict[str, Any], step: str, fatal: int) -> str:
    """One child; how it ended."""
    from nano import recipe

    from optidel import store
    from optidel.pipeline.pipeline import Pipeline
    from optidel.recipe import make_recipe

    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        return "killed" if status == signal.SIGKILL else "done" if status == 0 else "failed"

    clock, seen = store.Workspace.clock, 0

    def deadly(self: store.Workspace) -> float:
        nonlocal seen
        seen += self.path.name.startswith(f"{step}-") and self.path.name.endswith(".partial")
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return clock(self)

    store.Workspace.clock = deadly  # type: ignore[method-assign]
    failed = True
    try:
        Pipeline(make_recipe(recipe(images, images, out, **changes))).until("pretrain")
        failed = False
    finally:
        os._exit(failed)


def main() -> None:
    """Every attempt in turn."""
    from pictures import NANO

    from optidel.models.presets import PRESETS

    PRESETS["tiny"] = NANO
    images, out, changes, *kills = sys.argv[1:]
    for kill in kills:
        step, _, fatal = kill.rpartition(":")
        print(attempt(Path(images), Path(out), json.loads(changes), step, int(fatal)), flush=True)


if __name__ == "__main__":
    main()
