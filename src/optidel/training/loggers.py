"""Where the progress of a pre-training is shown beside the table in its artifact: TensorBoard, MLflow, W&B.

No result depends on a logger, and none sends anything anywhere unless it is told where to: MLflow by
``MLFLOW_TRACKING_URI``, Weights & Biases by ``WANDB_MODE=online``.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from optidel.errors import ExtraError
from optidel.progress import say

# Folder in the run folder for what loggers write on this machine.
FOLDER = "logs"

# The experiment of MLflow and the project of Weights & Biases.
PROJECT = "optidel"

# Steps between two points. A round number: enough for a curve of 800 steps, few enough for a distant server.
EVERY = 10

# The package that each logger is imported from.
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


class Logger(Protocol):
    """Takes numbers at steps; a run that goes on after a kill may give some steps again."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note values by name at a step, counted from 0."""

    def close(self) -> None:
        """Write what is not written yet."""


class TensorBoard:
    """A folder of event files, ``FOLDER/tensorboard/NAME``."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        """Open nothing yet: only the first step tells which ones of an earlier attempt are void."""
        self._folder = folder / "tensorboard" / name
        self._writer: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note values; those that a killed attempt noted from this step on are void."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write the rest."""
        if self._writer is not None:
            self._writer.close()


class MLflow:
    """A run NAME of the experiment :data:`PROJECT`, in ``FOLDER/mlflow`` or by ``MLFLOW_TRACKING_URI``."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        """Find the run of a killed attempt, or begin one with ``config`` as its parameters."""
        from mlflow.tracking import MlflowClient

        # A store of files needs no database; MLflow keeps it and asks to be told that it is meant.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        local = (folder / "mlflow").resolve().as_uri()
        self._client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", local))
        experiment = self._client.get_experiment_by_name(PROJECT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)
        earlier = self._client.search_runs([number], filter_string=f"attributes.run_name = '{name}'")
        if earlier:
            self._run = earlier[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        self._run = self._client.create_run(number, run_name=name).info.run_id
        for key, value in flat(config).items():
            self._client.log_param(self._run, key, value)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note values."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        """Say that the run is finished."""
        self._client.set_terminated(self._run)


class WeightsAndBiases:
    """A run NAME of the project :data:`PROJECT`, in ``FOLDER/wandb`` alone unless ``WANDB_MODE`` is set."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        """Begin the run, or go on with it, with ``config``."""
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        # Neither code nor what else runs on this machine is anything that a curve needs.
        settings = wandb.Settings(
            silent=True, disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
        )
        self._run = wandb.init(
            project=PROJECT,
            dir=str(folder),
            id=name,
            name=name,
            config=flat(config),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note values."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Write the rest."""
        self._run.finish()


LOGGERS: dict[str, Callable[[Path, str, Mapping[str, Any]], Logger]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


def available(names: Sequence[str] | None) -> tuple[str, ...]:
    """The loggers to use: those named, or TensorBoard where it is installed.

    Raises:
        ExtraError: one is named and not installed.
    """
    if names is None:
        return ("tensorboard",) if find_spec(PACKAGES["tensorboard"]) else ()
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise ExtraError(
                f"pretrain.loggers names {name}, which is not installed; pip install 'optidel[{name}]', or "
                "leave it out"
            )
    return tuple(names)


@contextmanager
def open_loggers(
    names: Sequence[str], folder: Path, name: str, config: Mapping[str, Any]
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield a function that hands numbers to every logger.

    A logger that fails is said and left: hours of training do not end with it.

    Args:
        names: keys of :data:`LOGGERS`.
        folder: the run's folder for logs.
        name: of the training, as loggers show it.
        config: its options.
    """
    active: dict[str, Logger] = {}
    for logger in names:
        with _survived(logger, active):
            active[logger] = LOGGERS[logger](folder, name, config)

    def log(step: int, values: Mapping[str, float]) -> None:
        for logger, target in list(active.items()):
            with _survived(logger, active):
                target.log(step, values)

    try:
        yield log
    finally:
        for logger, target in list(active.items()):
            with _survived(logger, active):
                target.close()


@contextmanager
def _survived(logger: str, active: dict[str, Logger]) -> Iterator[None]:
    """Say what goes wrong in the block, and use the logger no more."""
    try:
        yield
    # Each library has errors of its own, for a full disk as for a server that is away.
    except Exception as error:
        active.pop(logger, None)
        reason = str(error).partition("\n")[0]
        say(f"logger {logger}: {reason or type(error).__name__}; the training goes on without it")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted names, as loggers list them.

    >>> flat({"seed": 0, "options": {"steps": 4}})
    {'seed': 0, 'options.steps': 4}
    """
    values: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values
