"""The script for one GPU, on the CPU with a nano model: it stops in time, goes on, and adds seeds."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest


@pytest.fixture
def gpu(load_script: Callable[[str], Any]) -> Any:
    return load_script("benchmarks/gpu.py")


def test_it_stops_in_time_goes_on_and_adds_seeds(
    gpu: Any,
    nano: object,
    make_corpus: Callable[..., Path],
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(gpu, "METHODS", ["full", "random", "k-center"])
    images = make_corpus(20)

    def run(*more: str) -> dict[str, Any]:
        sizes = ["--preset", "tiny", "--batch", "4", "--train", "8", "--evaluate-steps", "2"]
        monkeypatch.setattr(
            sys, "argv", ["gpu.py", str(images), str(labelled), "--out", str(tmp_path / "out"), *sizes, *more]
        )
        gpu.main()
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    done = run("--steps", "2")
    assert (done["ended"], done["cells"], done["failed"]) == ("done", 8, 0)
    stopped = run(
        "--minutes", "0.02", "--steps", "100000"
    )  # files are read already, so it is a training that is cut short
    assert stopped["ended"] == "out of time"
    assert stopped["cells"] < stopped["planned"] == 8
    assert stopped["seconds"] < 60
    more = run("--steps", "2", "--seed", "1")
    assert more["cells"] == more["planned"] == 16
    assert pl.read_parquet(tmp_path / "out" / "results.parquet")["seed"].unique().sort().to_list() == [0, 1]
    assert Path(more["report"]).exists()
