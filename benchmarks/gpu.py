"""The evidence grid on one GPU: ``python benchmarks/gpu.py IMAGES LABELLED --out BENCH`` runs for at most
nine minutes and stops.

Run it again, with ``--seed 1`` and so on, into the same folder to add seeds; each run goes on where the last
one stopped. It writes BENCH/results.parquet, results.json, scores.parquet and BENCH/report. Cells are ordered
so that every stop leaves a fair comparison.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from optidel.benchmark import make_bench, write_bench_report
from optidel.benchmark.plan import cells
from optidel.benchmark.runner import Runner
from optidel.benchmark.tables import collect, write_tables

MINUTES = 9.0
RESERVE = 40.0
"""Seconds kept back for the tables and the report."""

METHODS = [
    "full",
    "random",
    "optidel",
    "meddel",
    "k-center",
    "facility-location",
    "density",
    "moderate",
    "ssp",
    "d4",
    "ccs",
]


def bench_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """The grid: from scratch, full and ten selections at 5 %, the small preset, few labels."""
    return {
        "images": arguments.images,
        "labelled": arguments.labelled,
        "preset": arguments.preset,
        "leaks": "drop",
        "methods": METHODS,
        "budgets": [0.05],
        "seeds": list(range(arguments.seed + 1)),
        "encoder": {"steps": arguments.steps},
        "patches": {"candidates": 0.25},
        "pretrain": {"steps": arguments.steps, "batch": arguments.batch},
        "evaluate": {"steps": arguments.evaluate_steps, "train": arguments.train},
    }


def stop(signum: int, frame: object) -> None:
    """End the step that runs, as Ctrl-C would: it goes on from its checkpoint next time."""
    raise KeyboardInterrupt


def main() -> None:
    """Run until the grid or the time is over, then write tables and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", help="folder of unlabelled images")
    parser.add_argument("labelled", help="folder with images/ and masks/")
    parser.add_argument("--out", required=True, help="bench folder; made, or continued")
    parser.add_argument("--seed", type=int, default=0, help="seeds 0 to SEED")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=1000, help="of warm-up and of each pre-training")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--train", type=int, default=100, help="labelled images to train on")
    parser.add_argument("--evaluate-steps", type=int, default=300)
    arguments = parser.parse_args()
    started = time.monotonic()
    bench = make_bench(bench_values(arguments))
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(
        signal.ITIMER_REAL, max(1.0, 60 * arguments.minutes - min(RESERVE, 30 * arguments.minutes))
    )
    runner = Runner(bench, Path(arguments.out))
    ended = "done"
    try:
        runner.prepare(cells(bench))
        runner.run(cells(bench))
    except KeyboardInterrupt:
        ended = "out of time"
    signal.setitimer(signal.ITIMER_REAL, 0)
    tables = collect(bench, runner.root)
    write_tables(tables, runner.root)
    report = str(write_bench_report(runner.root)) if tables.results.height else None
    summary = {
        "ended": ended,
        "cells": tables.results.height,
        "planned": tables.planned,
        "failed": len(tables.failed),
        "report": report,
    }
    print(json.dumps(summary | {"seconds": round(time.monotonic() - started, 1)}))
    if tables.failed:
        sys.exit(f"{len(tables.failed)} cells failed; the first: {tables.failed[0].reason}")


if __name__ == "__main__":
    main()
