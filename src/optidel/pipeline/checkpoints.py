"""States of the scoring model along its warm-up: what it knew early, and how fast it learnt."""

from dataclasses import dataclass
from pathlib import Path

from optidel.errors import InputError
from optidel.pipeline.steps.pretrain import encoder_at
from optidel.pipeline.weights import Weights
from optidel.store import Artifact

# Shares of the warm-up after which it is kept too. A quarter is past the rise of the learning rate, which
# ends at a tenth; with a half and the end they are the three checkpoints of method and literature (TracIn).
SHARES = (0.25, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state of the model: ``folder`` as a loader takes it, and ``rate``, the sum of the learning rates of
    the steps since the state before.
    """

    folder: str
    rate: float


def warmup_moments(steps: int) -> tuple[int, ...]:
    """Numbers of finished steps, short of all, after which a warm-up is kept too.

    >>> warmup_moments(800)
    (200, 400)
    """
    moments = {round(share * steps) for share in SHARES}
    return tuple(sorted(moments & set(range(1, steps))))


def checkpoints(mae: Weights) -> list[Checkpoint]:
    """The states of the scoring model that are there, in order; the last is the trained model.

    Weights from outside have one state, and so have warm-ups of earlier versions.

    Args:
        mae: the scoring model.
    """
    if mae.artifact is None:
        return [Checkpoint(folder=mae.folder, rate=1.0)]

    rates = mae.artifact.table("log.parquet")["lr"].to_list()
    states = []
    before = 0
    for step in _kept(mae.artifact, len(rates)):
        name = encoder_at(None if step == len(rates) else step)
        folder = str(mae.artifact.file(name))
        states.append(Checkpoint(folder=folder, rate=sum(rates[before:step])))
        before = step
    return states


def early_state(mae: Weights) -> Path:
    """The first state that is short of the trained model.

    Raises:
        InputError: there is none.
    """
    states = checkpoints(mae)
    if len(states) < 2 or mae.artifact is None:
        raise InputError(_none_early(mae))
    return Path(states[0].folder)


def _kept(warmup: Artifact, steps: int) -> list[int]:
    """Numbers of steps whose state the artifact holds, and that of all."""
    moments = [step for step in warmup_moments(steps) if f"{encoder_at(step)}/config.json" in warmup.hashes]
    return [*moments, steps]


def _none_early(mae: Weights) -> str:
    """Why there is no early state, and what to do."""
    if mae.artifact is None:
        return (
            f"learnability compares two states of a warm-up, and {mae.name} is one state; leave "
            "encoder.weights out, or choose another selection.scorer"
        )
    return (
        f"{mae.artifact.path.name} holds no early state: an earlier version trained it, or it has one step; "
        "delete that folder and run the same command again, which trains the same model"
    )
