"""Every pair of labelled sets, against the settings that it is made of."""

import re
from pathlib import Path

import numpy as np
import pytest
from fake_bench import fake_bench

from optidel.benchmark.across import across_sets
from optidel.benchmark.load import make_bench
from optidel.benchmark.report import write_bench_report
from optidel.benchmark.settings import settings
from optidel.benchmark.tables import open_bench

TASKS = {
    "polyps": {"labelled": "data/polyps", "test_on": ["data/other"]},
    "other": {"labelled": "data/other", "test_on": ["data/polyps"]},
}
NAMES = ["polyps", "polyps → other", "other", "other → polyps"]


def test_a_list_of_sets_is_a_task_each() -> None:
    bench = make_bench({"images": "IMAGES", "tasks": TASKS})
    assert list(bench.tasks) == NAMES
    assert bench.tasks["polyps"] == {"labelled": "data/polyps"}
    assert bench.tasks["other → polyps"] == {"labelled": "data/other", "test_on": "data/polyps"}
    # What a bench folder keeps is read again as it is.
    assert make_bench(bench.model_dump(mode="json")).tasks == bench.tasks


def test_the_matrix_holds_the_means_of_its_settings(tmp_path: Path) -> None:
    fake_bench(tmp_path, labelled=None, tasks=TASKS, budgets=[0.05])
    tables = open_bench(tmp_path)
    found = settings(tables)
    [matrix] = across_sets(tables.bench, found)
    assert set(matrix.pairs) == {(one, other) for one in ("polyps", "other") for other in ("polyps", "other")}
    by_task = {setting.task: setting for setting in found}
    expected = by_task["polyps → other"].matrix(("random", 0.05)).mean()
    assert matrix.values["random", 0.05]["polyps", "other"] == pytest.approx(expected)

    row = next(row for row in matrix.texts if row[:2] == ("random", "5 %"))
    across = [by_task[name].matrix(("random", 0.05)).mean() for name in ("polyps → other", "other → polyps")]
    assert row[-1] == f"{np.mean(across):.3f}"
    assert len(re.findall(r"random 5 %: \w+ → \w+: ", matrix.figure)) == 4


def test_the_report_shows_it_and_tasks_tested_on_their_own_sets_have_none(tmp_path: Path) -> None:
    fake_bench(tmp_path / "one", labelled=None, tasks=TASKS, budgets=[0.05])
    page = write_bench_report(tmp_path / "one").read_text()
    assert "Across labelled sets: probe, mae, equal steps" in page
    text = (tmp_path / "one/report/tables.md").read_text()
    assert "| method | budget |" in text
    assert "other → polyps" in text
    assert list((tmp_path / "one/report/figures").glob("across-*.svg"))
    fake_bench(tmp_path / "two", budgets=[0.05])
    assert "Across labelled sets" not in write_bench_report(tmp_path / "two").read_text()
