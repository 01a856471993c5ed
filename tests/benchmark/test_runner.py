"""The whole bench on generated images: what is shared, resumed, sharded, merged, stopped, and what a failure
does.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from filelock import FileLock
from nano_bench import values
from PIL import Image

from optidel.benchmark import make_bench, run_bench, runner, write_bench_report
from optidel.benchmark.plan import Trial, key_of, trials
from optidel.benchmark.shards import part_of
from optidel.benchmark.stopping import decided
from optidel.benchmark.tables import open_bench
from optidel.errors import WeightsError
from optidel.methods import METHODS
from optidel.pipeline.run import run
from optidel.pipeline.steps import embed as embedding
from optidel.pipeline.steps import patches
from optidel.store import Store, Workspace, canonical, digest

Make = Callable[..., Path]
SECONDS = ("seconds_select", "seconds_train")


def table(out: Path) -> pl.DataFrame:
    """The results without what differs between equal runs."""
    return pl.read_parquet(out / "results.parquet").drop(SECONDS)


def test_every_cell_has_a_row_and_shares_what_it_can(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "methods": ["full", "random", "optidel-paper"],
        "objectives": ["mae", "simclr"],
        "compute": ["steps", "epochs"],
        "seeds": [0],
        "optidel": {"grid": 1},
        "tasks": {"few": {"labelled": str(labelled), "train": 4}, "many": {"labelled": str(labelled)}},
        "pretrain": {"steps": 8, "batch": 4},
    }
    bench = make_bench(
        {
            name: value
            for name, value in values(make_corpus(16), labelled, **changes).items()
            if name != "labelled"
        }
    )
    outcome = run_bench(bench, tmp_path / "out")
    assert (outcome.done, outcome.cells, outcome.failed) == (48, 48, ())
    results = pl.read_parquet(tmp_path / "out" / "results.parquet")
    assert list(results.columns)[:16] == [
        "method",
        "budget",
        "seed",
        "objective",
        "protocol",
        "compute",
        "task",
        "n_images",
        "kept",
        "miou",
        "dice",
        "auroc",
        "balanced",
        "ap",
        "normdel",
        "seconds_select",
    ]
    assert results.select("method", "budget", "objective", "compute", "task").is_unique().all()
    made = {
        step: len(list((tmp_path / "out").glob(f"{step}-*")))
        for step in ("index", "warmup", "embed", "patches", "task", "pretrain")
    }
    # Full trains as long under either rule: 2 methods x 2 budgets x 2 objectives x 2 rules + full x 2
    # objectives.
    assert made == {"index": 1, "warmup": 1, "embed": 1, "patches": 1, "task": 2, "pretrain": 18}
    ranked = [artifact.json("summary.json") for artifact in Store(tmp_path / "out").artifacts("select")]
    assert sorted((item["method"], item["budget"]) for item in ranked) == [
        ("full", 1.0),
        *((method, budget) for method in ("optidel-paper", "random") for budget in (0.125, 0.25)),
    ]
    scratch = results.filter(pl.col("method") == "scratch")
    assert scratch["normdel"].null_count() == len(scratch)
    assert scratch.group_by("task").agg(pl.col("miou").n_unique())["miou"].to_list() == [1, 1]


def test_a_cell_is_a_run(nano: object, make_corpus: Make, labelled: Path, tmp_path: Path) -> None:
    """A smaller budget cut from a larger one's ranking gives the encoder and the score of ``optidel run``
    with that budget.
    """
    images = make_corpus(16)
    given = values(images, labelled, seeds=[1])
    run_bench(make_bench(given), tmp_path / "bench")
    own = {name: value for name, value in given.items() if name not in ("budgets", "protocols", "methods")}
    own["evaluate"] = own["evaluate"] | {"protocols": ["probe"]}
    alone = run({**own, "methods": ["random", "k-center"], "budget": 0.125, "out": str(tmp_path / "run")})
    results = table(tmp_path / "bench")
    for row in alone.cells.iter_rows(named=True):
        same = results.filter((pl.col("method") == row["method"]) & pl.col("budget").is_in([row["budget"]]))
        assert same["miou"].to_list() == [row["miou"]]
    folders = {path.name for path in (tmp_path / "run").glob("pretrain-*")}
    assert len(folders) == 2
    assert folders <= {path.name for path in (tmp_path / "bench").glob("pretrain-*")}


def test_what_a_held_out_test_split_shows_leaves_the_corpus_before_it_is_asked_for(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus(16)
    other = tmp_path / "other"
    for side, numbers in (("train", range(8)), ("test", range(8, 16))):
        for kind in ("images", "masks"):
            (other / side / kind).mkdir(parents=True)
            for number in numbers:
                shutil.copy(labelled / kind / f"{number:02d}.png", other / side / kind)
    shutil.copy(labelled / "images" / "08.png", images / "leak.png")
    tasks = {
        "tuning": {"labelled": str(labelled), "test": 4, "train": 4},
        "test": {"labelled": str(other), "held_out": True},
    }
    given = {
        name: value
        for name, value in values(images, labelled, seeds=[0], budgets=[0.25], leaks="drop").items()
        if name != "labelled"
    }
    run_bench(make_bench(given | {"tasks": tasks}), tmp_path / "out")
    assert set(table(tmp_path / "out")["task"]) == {"tuning"}
    trained = {path.name for path in (tmp_path / "out").glob("pretrain-*")}
    run_bench(make_bench(given | {"tasks": tasks, "also": [{"tasks": ["test"]}]}), tmp_path / "out")
    results = table(tmp_path / "out")
    assert results.group_by("task").len().sort("task").rows() == [("test", 4), ("tuning", 4)]
    assert results.filter(pl.col("method") == "full")["n_images"].to_list() == [16, 16]
    assert {
        path.name for path in (tmp_path / "out").glob("pretrain-*")
    } == trained  # asked at the end, it costs evaluations only


def test_killed_it_resumes_to_the_same_table(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus(16)
    run_bench(make_bench(values(images, labelled)), tmp_path / "whole")
    script = Path(__file__).parents[1] / "support" / "nano_bench.py"
    command = [sys.executable, str(script), str(images), str(labelled), str(tmp_path / "killed"), "10"]
    killed = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = len(list((tmp_path / "killed" / "cells").glob("*.json")))
    run_bench(make_bench(values(images, labelled)), tmp_path / "killed")
    after = len(list((tmp_path / "killed" / "cells").glob("*.json")))
    assert 0 < before < after == 12
    assert table(tmp_path / "killed").equals(table(tmp_path / "whole"))
    kept = pl.read_parquet(tmp_path / "killed" / "results.parquet")
    run_bench(make_bench(values(images, labelled)), tmp_path / "killed")
    assert pl.read_parquet(tmp_path / "killed" / "results.parquet").equals(
        kept
    )  # even the seconds: nothing was done again


def test_cells_of_an_earlier_state_of_the_code_are_made_anew(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_corpus(16)
    bench = make_bench(values(images, labelled, seeds=[0], budgets=[0.25]))
    run_bench(bench, tmp_path / "out")

    def folders(root: Path, step: str) -> set[str]:
        return {path.name for path in root.glob(f"{step}-*")}

    before = folders(tmp_path / "out", "pretrain")
    monkeypatch.setattr(embedding, "VERSION", embedding.VERSION + 1)  # as whoever changes the step must do
    scored = embedding.write_scores

    def other_vectors(work: Workspace, *given: Any) -> None:
        scored(work, *given)
        work.write_array("vectors.npy", np.load(work.path / "vectors.npy")[::-1].copy())

    monkeypatch.setattr(embedding, "write_scores", other_vectors)
    run_bench(bench, tmp_path / "out")
    run_bench(bench, tmp_path / "fresh")
    assert table(tmp_path / "out").equals(table(tmp_path / "fresh"))
    assert (
        len(folders(tmp_path / "out", "pretrain") - before) == 1
    )  # k-center's: full and random look at no vector
    assert folders(tmp_path / "fresh", "pretrain") <= folders(tmp_path / "out", "pretrain")


def test_a_number_that_cannot_be_checked_is_kept(
    nano: object,
    make_corpus: Make,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    few = {"seeds": [0], "budgets": [0.25], "methods": ["random", "optidel-paper"], "optidel": {"grid": 1}}
    bench = make_bench(values(make_corpus(16), labelled, **few))
    run_bench(bench, tmp_path / "out")
    before = pl.read_parquet(tmp_path / "out" / "results.parquet")

    def gone(*_: Any) -> Any:
        raise WeightsError("the weights are on another machine")

    monkeypatch.setattr(patches, "load_mask_generator", gone)
    outcome = run_bench(bench, tmp_path / "out")
    assert (outcome.done, outcome.failed) == (3, ())
    assert pl.read_parquet(tmp_path / "out" / "results.parquet").equals(before)
    assert "the weights are on another machine; its earlier number is kept" in " ".join(
        capfd.readouterr().err.split()
    )


def test_records_of_other_versions_are_read(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    bench = make_bench(values(make_corpus(16), labelled, seeds=[0], budgets=[0.25], methods=["random"]))
    run_bench(bench, tmp_path / "out")
    for path in (tmp_path / "out" / "cells").iterdir():
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"contents": {"index": "0123456789abcdef"}})
        )
    assert run_bench(bench, tmp_path / "out").done == len(open_bench(tmp_path / "out").results) == 2


def test_a_budget_beyond_the_sound_frames_stops_no_smaller_one(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    folder = make_corpus(16)
    for number in range(4):
        Image.new("RGB", (64, 64)).save(folder / f"blank-{number}.png")
    methods = ["random", "k-center"]
    outcome = run_bench(
        make_bench(values(folder, labelled, seeds=[0], budgets=[0.25, 0.9], methods=methods)),
        tmp_path / "out",
    )
    assert [(item.cell.method, item.cell.budget) for item in outcome.failed] == [("k-center", 0.9)]
    assert outcome.done == 4


def test_deleted_encoders_of_finished_cells_are_not_missed(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    bench = make_bench(values(make_corpus(16), labelled, seeds=[0], methods=["random", "optidel-paper"]))
    run_bench(bench, tmp_path / "out")
    for step in ("pretrain", "compose"):
        for folder in (tmp_path / "out").glob(f"{step}-*"):
            shutil.rmtree(folder)
    run_bench(bench, tmp_path / "out")
    assert not list((tmp_path / "out").glob("pretrain-*"))


def test_shards_merged_by_copying_equal_the_single_run(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    images = make_corpus(16)
    bench = make_bench(values(images, labelled))
    run_bench(bench, tmp_path / "whole")
    parts = [run_bench(bench, tmp_path / f"part{number}", shard=(number, 2)) for number in range(2)]
    assert sum(part.cells for part in parts) == 12
    assert min(part.cells for part in parts) > 0
    assert not list((tmp_path / "part0").glob("embed-*"))  # only one part needs the embedding
    for number in range(2):
        shutil.copytree(tmp_path / f"part{number}", tmp_path / "merged", dirs_exist_ok=True)
    merged = open_bench(tmp_path / "merged")
    assert merged.results.drop(SECONDS).equals(table(tmp_path / "whole"))
    assert merged.scores.equals(pl.read_parquet(tmp_path / "whole" / "scores.parquet"))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_hold_every_cell_once(count: int) -> None:
    methods = [name for name, method in METHODS.items() if method.needs in ("", "difficulty")]
    given = {"images": "IMAGES", "labelled": "DIR", "methods": methods, "seeds": [0, 1, 2]}
    bench = make_bench(given)
    planned = trials(bench)
    parts = [part_of(bench, planned, number, count) for number in range(count)]
    assert sorted(map(repr, planned)) == sorted(repr(cell) for part in parts for cell in part)
    sizes = [len({cell.training for cell in part}) for part in parts]
    assert max(sizes) - min(sizes) <= 8
    assert sum(any(cell.method == "optidel-paper" for cell in part) for part in parts) <= (
        2 if count > 2 else 1
    )


def test_a_failed_cell_is_recorded_and_the_others_run(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def broken(vectors: Any, count: int, **_: Any) -> Any:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError("no such thing")

    images = make_corpus(16)
    given = values(images, labelled, budgets=[0.25], seeds=[0], protocols=["fine-tune", "probe"])
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "k-center", replace(METHODS["k-center"], select=broken))
        outcome = run_bench(make_bench(given), tmp_path / "out")
    assert (outcome.done, len(outcome.failed), calls) == (6, 2, 1)
    assert "ZeroDivisionError: no such thing" in outcome.failed[0].reason
    assert set(table(tmp_path / "out")["method"]) == {"scratch", "full", "random"}
    assert run_bench(make_bench(given), tmp_path / "out").failed == ()


def test_a_decided_comparison_needs_no_further_seed() -> None:
    given = {
        "images": "IMAGES",
        "labelled": "DIR",
        "methods": ["full", "random", "k-center"],
        "budgets": [0.25],
        "protocols": ["probe"],
    }
    planned = trials(make_bench({**given, "seeds": [0, 1, 2, 3], "stop": {"seeds": 2}}))
    noise = np.random.default_rng(0).normal(0, 0.01, (4, 2, 30))

    def scores(cell: Trial) -> Any:
        return 0.5 + 0.3 * (cell.method == "k-center") + noise[cell.seed, int(cell.method == "k-center")]

    def left_out(**changes: Any) -> dict[tuple[str, int], str]:
        bench = make_bench({**given, "seeds": [0, 1, 2, 3], **changes})
        return {
            (cell.method, cell.seed): reason for cell in planned if (reason := decided(bench, cell, scores))
        }

    assert left_out() == {}
    found = left_out(stop={"seeds": 2})
    assert set(found) == {("k-center", 2), ("k-center", 3)}  # never what others are compared to
    assert found["k-center", 2].startswith("decided with 2 seeds: +0.30")
    noise *= 100
    assert left_out(stop={"seeds": 2}) == {}


def test_a_margin_decides_that_two_methods_are_equal() -> None:
    given = {
        "images": "IMAGES",
        "labelled": "DIR",
        "methods": ["random", "k-center"],
        "budgets": [0.25],
        "protocols": ["probe"],
        "seeds": [0, 1, 2, 3],
    }
    noise = np.random.default_rng(0).normal(0, 0.001, (4, 2, 300))

    def scores(trial: Trial) -> Any:
        return 0.5 + noise[trial.seed, int(trial.method == "k-center")]

    def left_out(stop: dict[str, float]) -> dict[int, str]:
        bench = make_bench({**given, "stop": stop})
        return {trial.seed: reason for trial in trials(bench) if (reason := decided(bench, trial, scores))}

    assert left_out({"seeds": 2}) == {}
    found = left_out({"seeds": 2, "margin": 0.01})
    assert found.keys() == {2, 3}
    assert "equal within 0.01" in found[2]
    assert left_out({"seeds": 2, "margin": 1e-6}) == {}


def test_a_left_out_cell_is_recorded(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runner,
        "decided",
        lambda bench, cell, scores: "enough" if (cell.method, cell.seed) == ("k-center", 1) else "",
    )
    bench = make_bench(values(make_corpus(16), labelled, budgets=[0.25], stop={"seeds": 2}))
    outcome = run_bench(bench, tmp_path / "out")
    assert (outcome.done, outcome.stopped, outcome.failed) == (7, 1, ())
    assert [record.reason for record in open_bench(tmp_path / "out").stopped] == ["enough"]


def test_what_was_held_out_is_the_first_outcome_of_every_encoder(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    given = values(make_corpus(32), labelled, methods=["full", "random"], budgets=[0.25], seeds=[0])
    run_bench(make_bench(given | {"corpus": {"holdout": 0.25}}), tmp_path / "out")
    h = dict(table(tmp_path / "out").select("method", "h").iter_rows())
    assert set(h) == {"scratch", "full", "random"}
    assert h["full"] > 0
    assert h["random"] > 0
    page = (write_bench_report(tmp_path / "out").parent / "tables.md").read_text()
    assert "held-out H, nats per value" in page


def test_an_encoder_that_another_process_trains_is_put_off_with_all_its_trials(
    nano: object, make_corpus: Make, labelled: Path, tmp_path: Path
) -> None:
    """Two processes share the work: neither waits for the other's encoder while there is another."""
    bench = make_bench(values(make_corpus(16), labelled, seeds=[0], budgets=[0.25]))
    first = next(trial for trial in trials(bench) if not trial.untrained)
    out = tmp_path / "out"
    Store(out)
    name = digest(canonical(list(first.training)))
    lock = FileLock(out / ".locks" / f"encoder-{name}.lock")
    held = threading.Event()
    others = {key_of(bench, trial) for trial in trials(bench) if trial.training != first.training}
    seen: list[set[str]] = []

    def other_process() -> None:
        lock.acquire()
        held.set()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            done = {path.stem for path in (out / "cells").glob("*.json")}
            if others <= done:
                seen.append(done)
                break
            time.sleep(0.02)
        lock.release()

    (out / ".locks").mkdir(exist_ok=True)
    thread = threading.Thread(target=other_process)
    thread.start()
    held.wait()
    outcome = run_bench(bench, out)
    thread.join()
    assert seen == [others]
    assert outcome.done == outcome.cells
