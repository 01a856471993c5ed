"""The command line, or trainings alone, in several processes, as torchrun starts them; as a script, one of
these processes.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optidel.models.presets import Views
from optidel.training.options import Execution

if TYPE_CHECKING:
    from optidel.training.ranks import Ranks

# Seconds after which a process that hangs is given up: ten times what a test here takes.
PATIENCE = 120


def start(count: int, *arguments: object, fatal: str = "") -> list[subprocess.Popen[str]]:
    """Start ``count`` processes of the command line with a nano model.

    Args:
        count: how many.
        arguments: of ``optidel``; or ``curves`` and a folder, for the losses of :func:`curves` and,
            where weights are shared, which part of them the process holds.
        fatal: "RANK:STEP" kills that process before that step, counted from 0 in all trainings.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "FATAL": fatal}
    quiet = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "TORCH_CPP_LOG_LEVEL": "FATAL"}
    return [
        subprocess.Popen(
            [sys.executable, __file__, *map(str, arguments)],
            env={**os.environ, **meeting, **quiet, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, standard output and standard error of each; one that hangs is killed and fails the test."""
    try:
        outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


# What trainings differ in: both objectives, composites beside an odd number of whole images, a share that is
# handled in parts, and weights of which each process holds a share.
TRAININGS: dict[str, dict[str, Any]] = {
    "mae": {"objective": "mae", "views": Views(jitter=0.2)},
    "simclr": {"objective": "simclr"},
    "tiles": {"tiles": 4, "whole": 3},
    "tiles in parts": {"tiles": 4, "whole": 3, "execution": Execution(accumulate=2)},
    "mae sharded": {"views": Views(jitter=0.2), "execution": Execution(sharding="full")},
    "mae sharded resumed": {"views": Views(jitter=0.2), "execution": Execution(sharding="full")},
    "simclr sharded": {"objective": "simclr", "execution": Execution(sharding="full")},
    "tiles sharded in parts": {"tiles": 4, "execution": Execution(accumulate=2, sharding="full")},
}


def curves(folder: Path, ranks: "Ranks", name: str) -> list[float]:
    """The losses of a training of :data:`TRAININGS` on drawn pictures, which is saved after four of its six
    steps.
    """
    from pictures import NANO

    from optidel.training.options import PretrainOptions
    from optidel.training.pretrain import pretrain

    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    options = PretrainOptions(steps=6, batch=8, checkpoint_every=4, **TRAININGS[name])
    checkpoint = folder / f"{name}-{ranks.count}.pt"
    _, log = pretrain(images, None, NANO, options, seed=1, checkpoint=checkpoint, ranks=ranks)
    losses: list[float] = log["loss"].to_list()
    return losses


def main() -> None:
    """One process."""
    sys.path.insert(0, str(Path(__file__).parent))
    from pictures import NANO

    from optidel import cli
    from optidel.models.presets import PRESETS
    from optidel.training import precision, pretrain

    precision.has_bf16 = lambda where: False  # its rounding would hide what is to be seen
    if sys.argv[1] == "curves":
        from optidel.training.ranks import joining

        held: list[float] = []
        shard = pretrain.shard

        def watched(step: Any, module: Any) -> None:
            shard(step, module)
            weights = list(module.parameters())
            held.append(sum(len(w.to_local().ravel()) for w in weights) / sum(w.numel() for w in weights))

        pretrain.shard = watched
        with joining(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) as others:
            losses = {name: curves(Path(sys.argv[2]), others.ranks, name) for name in TRAININGS}
        print(json.dumps({"losses": losses, "held": held}))
        return

    PRESETS["tiny"] = NANO
    rank, _, fatal = os.environ["FATAL"].partition(":")
    if rank == os.environ["RANK"]:
        train, seen = pretrain._train, 0

        def deadly(*arguments: object) -> None:
            nonlocal seen
            if seen == int(fatal):
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1
            train(*arguments)  # type: ignore[arg-type]

        pretrain._train = deadly
    cli.main()


if __name__ == "__main__":
    main()
