"""Loggers show what the table of a training holds, change nothing, and never end a training."""

import json
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from nano import recipe

from optidel.errors import ExtraError, RecipeError
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import as_json, make_recipe
from optidel.store import Artifact
from optidel.training import loggers as module
from optidel.training.loggers import EVERY, LOGGERS, PACKAGES, available, flat, open_loggers

# Steps of the training below: not a multiple of EVERY, so that the last point stands by itself.
STEPS = 2 * EVERY + 3
POINTS = [0, EVERY, 2 * EVERY, STEPS - 1]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def train(make_corpus: Callable[..., Path], nano: object, tmp_path: Path) -> Callable[..., Artifact]:
    folder = make_corpus(8)

    def make(loggers: list[str] | None, out: str = "run", steps: int = STEPS) -> Artifact:
        section = {"steps": steps, "batch": 4, "loggers": loggers}
        values = recipe(folder, folder, tmp_path / out, methods=["random"], budget=0.5, pretrain=section)
        [artifact] = Pipeline(make_recipe(values)).until("pretrain")
        return artifact

    return make


def read_tensorboard(folder: Path, name: str) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard" / name))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in ("loss", "lr")}


def read_mlflow(folder: Path, name: str) -> dict[str, list[tuple[int, float]]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(folder / "mlflow").resolve().as_uri())
    experiment = client.get_experiment_by_name("optidel")
    [run] = client.search_runs([experiment.experiment_id], filter_string=f"attributes.run_name = '{name}'")
    assert run.info.status == "FINISHED"
    assert run.data.params["options.steps"] == str(STEPS)
    history = {tag: client.get_metric_history(run.info.run_id, tag) for tag in ("loss", "lr")}
    return {tag: [(metric.step, metric.value) for metric in metrics] for tag, metrics in history.items()}


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a file of W&B: LevelDB's log format behind seven bytes of its own."""
    assert content.startswith(b":W&B")
    block, at, parts = 32768, 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:  # too little is left of the block for the head of a record
            at += block - at % block
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def read_wandb(folder: Path, name: str) -> dict[str, list[tuple[int, float]]]:
    from wandb.proto import wandb_internal_pb2

    [file] = (folder / "wandb").glob(f"offline-run-*/run-{name}.wandb")
    found: dict[str, list[tuple[int, float]]] = {"loss": [], "lr": []}
    for data in wandb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {".".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        for tag in found:
            if tag in items:
                found[tag].append((int(items["_step"]), json.loads(items[tag])))
    return found


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


@pytest.fixture(params=sorted(LOGGERS))
def logger(request: pytest.FixtureRequest) -> str:
    if find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"{request.param}, an extra, is not installed")
    return request.param


# The libraries warn of one another's and of Python's future; nothing of it is ours.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_shows_the_table_of_the_training(
    logger: str, train: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = train([logger])
    table = artifact.table("log.parquet")
    shown = READERS[logger](tmp_path / "run" / "logs", artifact.path.name)
    for tag in ("loss", "lr"):
        assert [step for step, _ in shown[tag]] == POINTS
        assert [value for _, value in shown[tag]] == pytest.approx(table[tag][POINTS].to_list(), rel=1e-6)
    # The warm-up of a method that looks at nothing does not run, and nothing lies elsewhere.
    assert sorted(path.name for path in (tmp_path / "run" / "logs").iterdir()) == [logger]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_result_depends_on_it(train: Callable[..., Artifact], tmp_path: Path) -> None:
    names = [name for name in ("tensorboard",) if find_spec(PACKAGES[name])]
    first, second = train(names, "with"), train([], "without")
    assert first.fingerprint == second.fingerprint
    assert first.hashes == second.hashes
    assert not (tmp_path / "without" / "logs").exists()
    values = recipe(tmp_path, tmp_path, tmp_path / "run")
    plain = as_json(make_recipe(values))
    assert as_json(make_recipe(values | {"pretrain": values["pretrain"] | {"loggers": ["wandb"]}})) == plain
    assert "loggers" not in plain["pretrain"]


def test_tensorboard_forgets_the_steps_that_a_killed_attempt_was_ahead(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard, an extra, is not installed")
    for first, last, value in ((0, 30, 1.0), (20, 40, 2.0)):
        with open_loggers(["tensorboard"], tmp_path, "pretrain-1", {}) as log:
            for step in range(first, last):
                log(step, {"loss": value, "lr": 0.0})
    shown = read_tensorboard(tmp_path, "pretrain-1")["loss"]
    assert shown == [(step, 1.0 if step < 20 else 2.0) for step in range(40)]


class Failing:
    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self.calls = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        raise OSError(f"step {step}: the server is away\nand more")

    def close(self) -> None:
        raise AssertionError("a logger that failed is left alone")


class Noting:
    steps: list[int] = []  # noqa: RUF012

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self.steps.clear()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.steps.append(-1)


def test_a_logger_that_fails_is_said_once_and_left(
    train: Callable[..., Artifact],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(LOGGERS, "tensorboard", Failing)
    monkeypatch.setitem(LOGGERS, "mlflow", Noting)
    monkeypatch.setattr(module, "PACKAGES", dict.fromkeys(LOGGERS, "json"))
    artifact = train(["tensorboard", "mlflow"])
    assert artifact.table("log.parquet").height == STEPS
    told = capsys.readouterr().err
    assert told.count("logger tensorboard: step 0: the server is away; the training goes on without it") == 1
    assert "and more" not in told
    assert Noting.steps == [*POINTS, -1]


def test_a_logger_that_cannot_begin_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(folder: Path, name: str, config: Mapping[str, Any]) -> Noting:
        raise RuntimeError

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LOGGERS, "wandb", refuse)
        with open_loggers(["wandb"], tmp_path, "pretrain-1", {}) as log:
            log(0, {"loss": 1.0})
    assert "logger wandb: RuntimeError; the training goes on" in capsys.readouterr().err


def test_tensorboard_is_the_default_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert available(None) == ()
    assert available([]) == ()
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    assert available(None) == ("tensorboard",)
    assert available(["wandb", "mlflow"]) == ("wandb", "mlflow")


def test_one_that_is_not_installed_is_said_before_anything_is_made(
    make_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    folder = make_corpus(4)
    section = {"steps": 4, "batch": 4, "loggers": ["mlflow"]}
    values = recipe(folder, folder, tmp_path / "run", pretrain=section)
    with pytest.raises(ExtraError, match=r"pip install 'optidel\[mlflow\]'"):
        Pipeline(make_recipe(values))
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError, match=r"pretrain\.loggers\.0.*'comet'"):
        make_recipe(values | {"pretrain": section | {"loggers": ["comet"]}})


def test_nothing_is_sent_unless_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """W&B is begun offline, and MLflow in the run folder."""
    asked: dict[str, Any] = {}

    class Library:
        Settings = dict

        @staticmethod
        def init(**arguments: Any) -> "Library":
            asked.update(arguments)
            return Library()

    monkeypatch.setitem(sys.modules, "wandb", Library)  # type: ignore[arg-type]
    LOGGERS["wandb"](tmp_path, "pretrain-1", {"seed": 0})
    assert asked["mode"] == "offline"
    assert asked["dir"] == str(tmp_path)
    assert asked["settings"]["disable_code"]
    monkeypatch.setitem(os.environ, "WANDB_MODE", "online")
    LOGGERS["wandb"](tmp_path, "pretrain-1", {"seed": 0})
    assert asked["mode"] == "online"


def test_options_are_flat() -> None:
    assert flat({"a": {"b": {"c": 1}}, "d": (1, 2)}) == {"a.b.c": 1, "d": (1, 2)}
