"""Steps done in shards give the same bytes whoever does them, and go on where workers or the driver died."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dying
import pytest
from command import call
from dying import SHARD
from nano import recipe
from pictures import NANO, fill

from optidel import mapping
from optidel.corpus import frames
from optidel.errors import PendingError
from optidel.models.presets import PRESETS
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe

# Steps done in shards, in the order in which a run makes them.
STEPS = ("index", "pixels", "prints", "embed", "patches")

# What is chosen from them in the end.
CHAIN = (*STEPS, "select")

# Key patches are proposed, then scored.
ROUNDS = {"patches": 2}


def pipeline(images: Path, out: Path, **work: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, images, out, work={"shard": SHARD} | work)))


def make(images: Path, out: Path, step: str, **work: Any) -> None:
    whole = pipeline(images, out, **work)
    if step == "select":
        whole.select("meddel", 0)
    else:
        getattr(whole, step)  # a property that makes its artifact


def digests(run: Path, step: str) -> dict[str, str]:
    """Hash of every file of a step's artifact, without the measured seconds."""
    (folder,) = run.glob(f"{step}-*")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "cost.json"]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A folder of 24 pictures, and a run of them that this process made in one shard."""
    root = tmp_path_factory.mktemp("mapping")
    fill(root / "corpus", 24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", NANO)
        for step in CHAIN:
            make(root / "corpus", root / "run", step, shard=4096)
        yield root / "corpus", root / "run"


def without(steps: Sequence[str], whole: Path, run: Path) -> Path:
    """A copy of a run that lacks some steps."""
    shutil.copytree(whole, run)
    for step in steps:
        for folder in run.glob(f"{step}-*"):
            shutil.rmtree(folder)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("workers", [None, 1, 2, 4])
def test_any_number_of_workers_gives_the_same_bytes(
    workers: int | None, corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    run = without(CHAIN, corpus[1], tmp_path / "run")
    for step in CHAIN:
        make(corpus[0], run, step, workers=workers)
        assert digests(run, step) == digests(corpus[1], step)


def test_packed_frames_give_the_same_bytes(
    corpus: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "FEW", 0)
    run = without(CHAIN, corpus[1], tmp_path / "run")
    for step in CHAIN:
        make(corpus[0], run, step)
        assert digests(run, step) == digests(corpus[1], step)


@pytest.mark.parametrize("step", STEPS)
def test_shares_done_by_the_command_give_the_same_bytes(
    step: str, corpus: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without([step, "select"], corpus[1], tmp_path / "run")
    for _ in range(ROUNDS.get(step, 1)):
        with pytest.raises(PendingError, match=f"optidel work .* --step {step}"):
            make(corpus[0], run, step, executor="slurm")
        # In any order, typed or as Slurm says it, and one of them twice.
        for share in ("2/3", "0/3", "0/3"):
            assert call(monkeypatch, "work", run, "--step", step, "--shard", share) == 0
        with monkeypatch.context() as array:
            array.setenv("SLURM_ARRAY_TASK_ID", "1")
            array.setenv("SLURM_ARRAY_TASK_COUNT", "3")
            assert call(array, "work", run, "--step", step) == 0
    for again in (step, "select"):
        make(corpus[0], run, again, executor="slurm")
        assert digests(run, again) == digests(corpus[1], again)


@pytest.mark.slow
def test_actors_of_ray_give_the_same_bytes(corpus: tuple[Path, Path], tmp_path: Path, cluster: Any) -> None:
    run = without(CHAIN, corpus[1], tmp_path / "run")
    for step in CHAIN:
        make(corpus[0], run, step, executor="ray", workers=2)
        assert digests(run, step) == digests(corpus[1], step)


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_with_what_is_missing(
    corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    # Without workers index and pixels know no shards; other tests kill them.
    attempts = [(step, 0) for step in ("prints", "embed", "patches")]
    attempts += [(step, 2) for step in ("index", "pixels", "embed")]
    runs = {(step, workers): tmp_path / f"{step}-{workers}" for step, workers in attempts}
    arguments: list[str] = []
    for (step, workers), run in runs.items():
        without([step], corpus[1], run)
        arguments += [str(run), step, str(workers)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, str(Path(dying.__file__)), str(corpus[0]), *arguments]
    died = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert died.stdout.split()[1::2] == ["killed"] * len(runs), died.stderr

    for (step, workers), run in runs.items():
        parts = sorted(run.glob(f"{step}-*.partial/parts/*/*.parquet"))
        assert parts
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mapping, "write_part", _refuse(parts, mapping.write_part))
            make(corpus[0], run, step, workers=workers or None)
        assert digests(run, step) == digests(corpus[1], step)


def _refuse(parts: list[Path], write: Any) -> Callable[[Path, Any], None]:
    """Write parts, but none of those that there are."""

    def checked(path: Path, table: Any) -> None:
        assert path not in parts
        write(path, table)

    return checked


def test_work_without_a_step_under_way_says_how_to_begin(
    corpus: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "work", corpus[1], "--step", "embed") == 2
    assert "no embed is under way" in capsys.readouterr().err


def test_a_step_without_shards_is_refused(
    corpus: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "work", corpus[1], "--step", "embde") == 2
    assert "did you mean 'embed'" in capsys.readouterr().err
