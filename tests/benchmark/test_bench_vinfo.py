"""``optidel vinfo`` on a bench: every encoder once, under the bench's own names, beside the scores of the
bench's own table.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from nano_bench import values
from typer.testing import CliRunner

from optidel.benchmark import make_bench, run_bench
from optidel.cli import app


def test_every_training_set_of_a_bench_is_measured(
    nano: object, make_corpus: Callable[..., Path], labelled: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "methods": ["full", "random", "k-center", "optidel-paper", "by-pvi"],
        "variants": {"by-pvi": {"method": "optidel-paper", "optidel": {"scorer": "pvi", "grid": 1}}},
        "seeds": [0],
        "optidel": {"grid": 1},
        "patches": {"backend": "random", "candidates": 0.75},
    }
    outcome = run_bench(make_bench(values(make_corpus(16), labelled, **changes)), tmp_path / "out")
    assert outcome.failed == ()
    done = CliRunner().invoke(app, ["vinfo", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.stderr
    found = {(row["method"], row["budget"]): row for row in json.loads(done.stdout)["sets"]}
    results = pl.read_parquet(tmp_path / "out" / "results.parquet").filter(pl.col("method") != "scratch")
    for row in results.iter_rows(named=True):
        [one] = [
            found[names, budget]
            for names, budget in found
            if row["method"] in names.split(" = ") and budget == row["budget"]
        ]
        assert one["images"] == row["n_images"]
        assert list(one["miou"].values()) == pytest.approx([row["miou"]])
        assert one["information"] == pytest.approx(one["h_null"] - one["h_conditional"])
    assert sum(len(names.split(" = ")) for names, _ in found) == len(results) == 9
    shown = CliRunner().invoke(app, ["vinfo", str(tmp_path / "out")])
    assert "k-center" in shown.stdout
    for path in (tmp_path / "out" / "cells").glob("seed0-k-center-*"):
        path.unlink()
    shown = CliRunner().invoke(app, ["vinfo", str(tmp_path / "out")])
    assert "random" in shown.stdout
    assert "k-center" not in shown.stdout  # its encoders are there, but no cell is theirs
