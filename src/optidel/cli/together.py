"""A command that several processes run together, as torchrun starts them."""

import os
import signal
import sys
from typing import NoReturn

from optidel.cli.app import app
from optidel.errors import RecipeError, TrainingError

# Commands in which a model is pre-trained, be it the warm-up alone.
TRAINING = ("embed", "select", "patches", "compose", "pretrain", "evaluate", "run")

# Exit code of a process that leaves it to another to say why the run ends: that of any user's error.
FAILED = 2


def started_together() -> tuple[int, int] | None:
    """Which process this is, from 0, of how many, by what torchrun says in the environment; None alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "MASTER_ADDR" not in os.environ:
        return None
    return int(os.environ.get("RANK", "0")), count


def run_together(rank: int, count: int) -> None:
    """Run the command in the first process, and let the others take part in its trainings.

    The first that fails says why; the others end without a word, for they only lost it.

    Args:
        rank, count: which process this is, of how many.

    Raises:
        RecipeError: the command trains nothing.
        TrainingError: a process is lost.
    """
    # Where a process is lost, torch's own log would come before the one sentence.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    from optidel.training.ranks import company, joining

    signal.signal(signal.SIGTERM, _end)
    try:
        with joining(rank, count) as others:
            if rank == 0:
                _run()
                others.announce(None)
            else:
                from optidel.pipeline.steps.pretrain import take_part
                from optidel.progress import console

                console.quiet = True
                take_part(others)
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the sentence is not to be cut
        met = company()
        if met and not met.is_first_to_say():
            leave(FAILED)
        raise


def leave(code: int) -> NoReturn:
    """End this process at once where it has met others: taking down what joined them may abort, or wait."""
    if "torch.distributed" in sys.modules:
        from optidel.training.ranks import company

        if company():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


def _run() -> None:
    """The command, which comes back where it succeeds."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if words and words[0] not in TRAINING:
        raise RecipeError(f"optidel {words[0]} trains no model; start it once, without torchrun")
    try:
        app()
    except SystemExit as stop:
        if stop.code:
            raise


def _end(number: int, frame: object) -> NoReturn:
    """What a process does that is told to end."""
    raise TrainingError(
        "this process was told to end (SIGTERM), as torchrun does where another is lost; start the same "
        "command again, it goes on from the last checkpoint"
    )
