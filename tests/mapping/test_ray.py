"""The executor ``ray``, on a cluster of this machine alone."""

from pathlib import Path
from typing import Any

import pytest
from toil import Squares

from optidel.errors import WorkerError
from optidel.mapping import Plan, run
from optidel.store import Workspace

EXPECTED = [row**2 for row in range(20)]


@pytest.mark.slow
def test_actors_give_the_same_rows_and_find_what_kills_them(cluster: Any, tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    plan = Plan(executor="ray", workers=2, shard=2)
    worker = Squares(deadly=(9,), shaky=1, mark=str(tmp_path / "mark"))
    job = run(work, worker, 20, "squares", plan)
    rows = [square for shard in job.shards for square in job.read(shard)["square"]]
    assert rows == [*EXPECTED[:9], -1, *EXPECTED[10:]]


@pytest.mark.slow
def test_an_actor_that_cannot_start_blames_no_row(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="cannot be started again"):
        run(Workspace(tmp_path), Squares(broken=True), 4, "squares", Plan(executor="ray", workers=1, shard=2))
    assert not list(tmp_path.rglob("*.parquet"))
