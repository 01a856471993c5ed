"""Selection at 10,000 to a million rows against other libraries: ``make bench-selection`` writes
selection.json and the table of the docs.

Every run is a process of its own with two threads; runs of one size take turns, and of several rounds the
fastest counts. Quality is measured afterwards, with the planted concepts and duplicates of
``selection_data``.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from selection_data import plant
from selection_table import write_table

HERE = Path(__file__).parent
BUDGET = 0.05
DISTINCT = 0.7
"""Share of the rows that is left when every planted copy is gone."""
THREADS = "2"
QUERIES = 20_000
"""Rows, at most, on which coverage is measured."""
MILLION = 1_000_000
LIMIT = 1200
"""Seconds after which a run is stopped and reported as such."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One tool's method at one size."""

    n: int
    tool: str
    method: str
    params: dict[str, object] = field(default_factory=dict)
    budget: float = BUDGET
    rounds: int = 1


LIGHT = (
    "random",
    "ssp",
    "moderate",
    "ccs",
    "density",
    "hierarchical-kmeans",
    "k-center",
    "meddel",
    "facility-location",
)


def runs(n: int) -> list[Run]:
    """What is run at ``n`` rows."""
    turns = 3 if n <= 100_000 else 1
    ours = [Run(n=n, tool="optidel", method=method, rounds=turns) for method in ("k-means", *LIGHT)]
    if n == 20_000:
        parted = [Run(n=n, tool="optidel", method=method, params=given) for method, given in _strategies()]
        return [
            *ours,
            *parted,
            *(Run(n=n, tool="optidel", method=method) for method in ("kmeans-medoids", "d4")),
        ]
    if n == MILLION:
        return [*ours, Run(n=n, tool="optidel", method="meddel", budget=DISTINCT)]
    rivals = [Run(n=n, tool="faiss", method=method, rounds=turns) for method in ("k-means", "semdedup")]
    copies = [
        Run(n=n, tool=tool, method=method, budget=DISTINCT)
        for tool, method in (("optidel", "meddel"), ("faiss", "semdedup"))
    ]
    if n == 10_000:
        dense = [Run(n=n, tool=tool, method=method, rounds=2) for tool, method in RIVALS]
        ours += [Run(n=n, tool="optidel", method=method) for method in ("kmeans-medoids", "log-det", "d4")]
        return [*ours, *dense, *rivals, *copies]
    return [*ours, *rivals, *copies]


RIVALS = (
    ("apricot", "facility-location"),
    ("apricot", "facility-location, its own cosine"),
    ("submodlib", "facility-location"),
)


def _strategies() -> list[tuple[str, dict[str, object]]]:
    choices = [("facility-location", {}), ("k-center", {}), ("log-det", {"bandwidth": 0.5})]
    return [
        (method, {**params, "strategy": strategy})
        for method, params in choices
        for strategy in ("exact", "partitioned")
    ]


def measure(run: Run, folder: Path, rivals: Path, out: Path) -> dict[str, object]:
    """Run once; seconds, processor seconds and the peak of memory, or why not."""
    python = str(rivals) if run.tool in ("apricot", "submodlib") else sys.executable
    script = [python, str(HERE / "selection_worker.py"), str(folder), run.tool, run.method]
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), THREADS
    )
    command = [*script, str(round(run.budget * run.n)), json.dumps(run.params), str(out)]
    load = os.getloadavg()[0]
    try:
        done = subprocess.run(
            command, env={**os.environ, **threads}, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {LIMIT} s", "load": load}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1][:200], "load": load}
    return {**json.loads(done.stdout.splitlines()[-1]), "load": load}


def quality(folder: Path, chosen: np.ndarray) -> dict[str, float]:
    """Coverage by the rows chosen, and what became of planted duplicates and concepts.

    ``objective`` is the mean over rows of max(0, largest cosine to a chosen row), ``radius`` the largest
    cosine distance to the nearest; both over all rows up to 20,000, else over so many drawn at random.
    """
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    group, concept = (np.load(folder / f"{name}.npy") for name in ("group", "concept"))
    rows = np.sort(np.random.default_rng(1).permutation(len(vectors))[:QUERIES])
    queries, closest = np.asarray(vectors[rows], dtype=np.float32), np.full(len(rows), -1.0, dtype=np.float32)
    for start in range(0, len(chosen), 8192):
        kept = np.asarray(vectors[np.sort(chosen)[start : start + 8192]], dtype=np.float32)
        for first in range(0, len(rows), 2048):
            part = slice(first, first + 2048)
            closest[part] = np.maximum(closest[part], (queries[part] @ kept.T).max(axis=1))
    sizes, copies = np.bincount(concept), np.bincount(group)
    drawn, kept_of = (
        np.bincount(concept[chosen], minlength=len(sizes)),
        np.bincount(group[chosen], minlength=len(copies)),
    )
    tail = np.argsort(sizes)[: len(sizes) // 2]
    planted = copies > 1
    return {
        "objective": float(np.maximum(closest, 0).mean(dtype=np.float64)),
        "radius": float(1 - closest.min()),
        "duplicates_kept": int((kept_of - 1).clip(0).sum()),
        "duplicates": int((copies - 1).clip(0).sum()),
        "groups_lost": int((kept_of[planted] == 0).sum()),
        "groups": int(planted.sum()),
        "concepts_lost": int((drawn == 0).sum()),
        "concepts": len(sizes),
        "tail_recall": float((drawn[tail] > 0).mean()),
    }


def log_volume(folder: Path, chosen: np.ndarray, bandwidth: float) -> float:
    """log det of the kernel exp(−(1 − cosine)/bandwidth) over the rows chosen."""
    rows = np.asarray(np.load(folder / "vectors.npy", mmap_mode="r")[chosen], dtype=np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return float(np.linalg.slogdet(np.exp((rows @ rows.T - 1) / bandwidth))[1])


def bench(n: int, root: Path, rivals: Path, started: Path) -> list[dict[str, object]]:
    """All runs at ``n`` rows, in turns; each time measured is written to ``started`` at once, and none found
    there is measured again.
    """
    folder, planned = root / str(n), runs(n)
    if not (folder / "difficulty.npy").exists():
        plant(folder, n, "float16" if n == MILLION else "float32")
    sizes = json.loads(started.read_text()) if started.exists() else {}
    records: dict[str, dict[str, object]] = sizes.setdefault(str(n), {})
    for turn in range(max(run.rounds for run in planned)):
        for run in planned:
            record = records.setdefault(json.dumps(asdict(run)), {**asdict(run), "all": []})
            times: list[dict[str, object]] = record["all"]  # type: ignore[assignment]
            if len(times) > turn or turn >= run.rounds or any("failed" in time for time in times):
                continue
            times.append(measure(run, folder, rivals, root / "chosen.npy"))
            print(f"{n:>9,} {run.tool:<10} {run.method} {run.params or ''} {times[-1]}", flush=True)
            if "failed" not in times[-1]:
                record |= summary(times, run, folder, np.load(root / "chosen.npy") if turn == 0 else None)
            records[json.dumps(asdict(run))] = record
            started.parent.mkdir(exist_ok=True)
            started.write_text(json.dumps(sizes))
    return [records[json.dumps(asdict(run))] for run in planned]


def summary(
    times: list[dict[str, object]], run: Run, folder: Path, chosen: np.ndarray | None
) -> dict[str, object]:
    """The fastest time, the highest peak and, of the first round, the quality: what is chosen is the same in
    all.
    """
    good = [time for time in times if "failed" not in time]
    found: dict[str, object] = {name: min(time[name] for time in good) for name in ("seconds", "cpu_seconds")}  # type: ignore[type-var]
    found["peak_mb"] = max(time["peak_mb"] for time in good)  # type: ignore[type-var]
    if chosen is not None and len(chosen):
        found |= quality(folder, chosen)
        if run.method == "log-det" and "bandwidth" in run.params:
            found["log_volume"] = log_volume(folder, chosen, 0.5)
    return found


def main() -> None:
    """Run the sizes asked for; those of an earlier run stay in the file, and a run that was cut off goes on
    where it was.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,20000,100000,1000000", help="with commas between")
    parser.add_argument("--quick", action="store_true", help="10,000 and 20,000 rows only")
    parser.add_argument(
        "--rivals", type=Path, default=Path("build/rivals/bin/python"), help="Python that has the rivals"
    )
    parser.add_argument(
        "--data", type=Path, help="folder for the rows, kept; a temporary one where not given (2 GB)"
    )
    given = parser.parse_args()
    sizes = [10_000, 20_000] if given.quick else [int(size) for size in given.sizes.split(",")]
    path, started = HERE / "selection.json", HERE.parent / "build" / "selection-started.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        for n in sizes:
            results[str(n)] = {
                "when": datetime.date.today().isoformat(),
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "runs": bench(n, given.data or Path(temporary), given.rivals.absolute(), started),
            }
            path.write_text(json.dumps(results, indent=1) + "\n")
            write_table(results, HERE.parent / "docs" / "results" / "selection-speed.md")
    # All sizes are done: the next run measures anew.
    started.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
