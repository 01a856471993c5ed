"""Shards give the same table whoever does them, and whatever dies meanwhile."""

import json
import os
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from toil import Squares

from optidel.errors import InputError, PendingError, RecipeError, WorkerError
from optidel.mapping import (
    Plan,
    cut,
    do,
    environments,
    join_arrays,
    open_jobs,
    read_share,
    run,
    share_of,
    slurm_share,
)
from optidel.store import Workspace


def squares(work: Workspace, worker: Squares, plan: Plan, count: int = 20) -> list[int]:
    job = run(work, worker, count, "squares", plan)
    return pl.concat([job.read(shard) for shard in job.shards])["square"].to_list()


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    (tmp_path / "run" / "toil-0.partial").mkdir(parents=True)
    return Workspace(tmp_path / "run" / "toil-0.partial")


@hypothesis.given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 5))
def test_shards_hold_each_row_once_and_so_do_shares(count: int, size: int, shares: int) -> None:
    shards = cut(count, size, "abc")
    assert [row for shard in shards for row in shard.rows] == list(range(count))
    parts = [share_of(shards, (number, shares)) for number in range(shares)]
    starts = sorted(shard.start for part in parts for shard in part)
    assert starts == [shard.start for shard in shards]


def test_another_identity_or_size_gives_other_names() -> None:
    names = {shard.name for identity in "ab" for size in (4, 5) for shard in cut(20, size, identity)}
    assert len(names) == 2 * (5 + 4)


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_any_number_of_workers_gives_the_same_rows(work: Workspace, workers: int | None) -> None:
    plan = Plan(workers=workers, shard=3)
    assert squares(work, Squares(), plan) == [row**2 for row in range(20)]


def test_a_worker_that_dies_once_is_started_again(
    work: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = Squares(shaky=7, mark=str(tmp_path / "mark"))
    assert squares(work, worker, Plan(workers=2, shard=5)) == [row**2 for row in range(20)]
    assert "left out" not in capfd.readouterr().err


def test_rows_that_kill_their_worker_are_found_by_halving(
    work: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = [row**2 for row in range(20)]
    expected[6] = expected[13] = -1
    assert squares(work, Squares(deadly=(6, 13)), Plan(workers=2, shard=5)) == expected
    err = " ".join(capfd.readouterr().err.split())
    assert "row 6 killed its worker 3 times and is left out" in err
    assert "row 13 killed its worker 3 times and is left out" in err
    # Nothing but the parts of the shards, and the note, stays.
    assert len(list((work.path / "parts" / "squares").iterdir())) == 4 + 1


def test_a_row_that_a_step_cannot_do_without_is_named(work: Workspace) -> None:
    with pytest.raises(WorkerError, match="row 6 killed its worker 3 times"):
        squares(work, Squares(deadly=(6,), replace=False), Plan(workers=1, shard=2))


def test_a_worker_that_cannot_start_blames_no_row(work: Workspace) -> None:
    with pytest.raises(WorkerError, match=r"a worker could not start \(signal 9\)"):
        squares(work, Squares(broken=True), Plan(workers=2, shard=4))
    assert not list((work.path / "parts" / "squares").glob("*.parquet"))


def test_a_run_that_is_ended_by_an_error_leaves_no_row_out(work: Workspace) -> None:
    with pytest.raises(InputError):
        squares(work, Squares(bad=0), Plan(workers=2, shard=1), 200)
    assert squares(work, Squares(), Plan(shard=1), 200) == [row**2 for row in range(200)]


@pytest.mark.parametrize("workers", [None, 2])
def test_an_error_of_the_users_comes_back_as_it_was(work: Workspace, workers: int | None) -> None:
    with pytest.raises(InputError, match="row 9 is no number; take it out"):
        squares(work, Squares(bad=9), Plan(workers=workers, shard=4))


def test_only_missing_parts_are_made(work: Workspace) -> None:
    plan = Plan(shard=4)
    job = run(work, Squares(), 20, "squares", plan)
    parts = sorted(job.folder.glob("*.parquet"))
    before = {path.name: path.stat().st_mtime_ns for path in parts}
    parts[2].unlink()
    # A worker that would fail on every row but those of the missing part.
    assert squares(work, Squares(bad=0), plan) == [row**2 for row in range(20)]
    after = {path.name: path.stat().st_mtime_ns for path in sorted(job.folder.glob("*.parquet"))}
    assert {name for name in after if after[name] != before[name]} == {parts[2].name}


def test_slurm_does_its_share_and_says_what_is_missing(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(executor="slurm", shard=4)
    with pytest.raises(
        PendingError, match=r"5 of 5 shards are to be done; run `optidel work .* --step toil`"
    ):
        squares(work, Squares(), plan)
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    for number, missing in ((1, 3), (2, 1)):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(number))
        with pytest.raises(PendingError, match=f"{missing} of 5 shards"):
            squares(work, Squares(), plan)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert squares(work, Squares(), plan) == [row**2 for row in range(20)]


def test_a_job_is_found_and_done_by_others(work: Workspace) -> None:
    with pytest.raises(PendingError):
        squares(work, Squares(), Plan(executor="slurm", shard=4))
    (job,) = open_jobs(work.path.parent, "toil", {"Squares": Squares})
    do(job, job.shards, Plan(workers=2))
    assert not job.missing()
    assert squares(work, Squares(bad=0), Plan(executor="slurm", shard=4)) == [row**2 for row in range(20)]


def test_a_job_that_names_other_code_is_refused(work: Workspace) -> None:
    with pytest.raises(PendingError):
        squares(work, Squares(), Plan(executor="slurm", shard=4))
    note = work.path / "parts" / "squares" / "job.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"worker": "os.system"}))
    with pytest.raises(WorkerError, match=r"job\.json cannot be used"):
        open_jobs(work.path.parent, "toil", {"Squares": Squares})


def test_columns_become_arrays(work: Workspace) -> None:
    job = run(work, Squares(), 10, "squares", Plan(shard=4))
    join_arrays(work, job, ("square",))
    np.testing.assert_array_equal(np.load(work.path / "square.npy"), np.arange(10) ** 2)


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}, (2, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
    ],
)
def test_slurm_names_the_share(environment: dict[str, str], share: tuple[int, int] | None) -> None:
    assert slurm_share(environment) == share


@pytest.mark.parametrize("text", ["3/3", "1", "-1/3", "a/b", "1/0"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="pass 0/3"):
        read_share(text)


def test_an_unknown_executor_is_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'slurm'"):
        Plan(executor="slurn")


def test_processes_share_cores_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    devices = [process["CUDA_VISIBLE_DEVICES"] for process in environments(3)]
    assert devices == ["2", "5", "2"]
    assert environments(4)[0]["OMP_NUM_THREADS"] == "2"
