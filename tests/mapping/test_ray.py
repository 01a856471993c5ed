"""The executor ``ray``, on a cluster of this machine alone."""

from pathlib import Path
from typing import Any

from toil import Squares

from optidel.mapping import Plan, run
from optidel.store import Workspace

EXPECTED = [row**2 for row in range(20)]


def test_actors_give_the_same_rows_and_find_what_kills_them(cluster: Any, tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    plan = Plan(executor="ray", workers=2, shard=2)
    worker = Squares(deadly=(9,), shaky=1, mark=str(tmp_path / "mark"))
    job = run(work, worker, 20, "squares", plan)
    rows = [square for shard in job.shards for square in job.read(shard)["square"]]
    assert rows == [*EXPECTED[:9], -1, *EXPECTED[10:]]
