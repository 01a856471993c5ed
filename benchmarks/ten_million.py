"""Ten million rows through every selector that is said to grow with no more than n·√n: seconds and memory.

    python benchmarks/ten_million.py --data FOLDER --json benchmarks/ten-million.json

The rows are made once: 16 dimensions, float16, memory-mapped (320 MB), 2·√n concepts whose sizes fall as
1/rank. Each method is a process of its own that keeps 5 %; what it took is written at once, so that the
command can be killed and goes on.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from selection_worker import peak_megabytes

D = 16
BUDGET = 0.05
TARGETS = 1_000
"""Images of the target."""
CONCEPTS = 100
"""Concepts of ``mixture``."""
LIMIT = 1_500
"""Seconds after which a run is stopped and reported as such."""
BLOCK = 1 << 18

METHODS = (
    *("full", "random", "hardest", "pvi", "ccs", "influence", "mixture", "concepts", "hierarchical-kmeans"),
    *("ssp", "moderate", "target-importance", "target-transport", "meddel", "optidel", "semdedup", "d4"),
    *("density", "target-similarity", "facility-location", "sas", "k-center"),
)
"""All but those whose work grows with n·m, or worse, without parts, and ``log-det``, whose parts do."""


def plant(folder: Path, n: int) -> None:
    """Write vectors.npy float16 (n, 16) in random row order."""
    path = folder / "vectors.npy"
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    concepts = 2 * math.isqrt(n)
    share = 1 / np.arange(1, concepts + 1)
    centres = rng.standard_normal((concepts, D), dtype=np.float32)
    scratch = folder / "scratch.npy"
    vectors = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float16, shape=(n, D))
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        concept = rng.choice(concepts, stop - start, p=share / share.sum())
        noise = rng.standard_normal((stop - start, D), dtype=np.float32)
        vectors[start:stop] = centres[concept] + 0.4 * noise
    vectors.flush()
    scratch.replace(path)


def run(folder: Path, method: str) -> dict[str, Any]:
    """One method, in this process."""
    from optidel.methods import select
    from optidel.methods.mixture import ConceptShares

    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    n = len(vectors)
    rng = np.random.default_rng(1)
    guides: dict[str, Any] = {}
    if method.startswith("target"):
        guides["target"] = np.asarray(vectors[rng.choice(n, TARGETS, replace=False)], np.float32)
    if method == "influence":
        guides["influences"] = rng.standard_normal(n)
    if method == "mixture":
        shares = rng.dirichlet(np.full(CONCEPTS, 5.0))
        guides["mixture"] = ConceptShares(concepts=rng.integers(0, CONCEPTS, n), shares=shares)
    difficulty = rng.gamma(2, size=n)
    before = peak_megabytes()
    started, worked = time.perf_counter(), time.process_time()
    selection = select(vectors, method, 1.0 if method == "full" else BUDGET, difficulty, **guides)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_mb": round(peak_megabytes()),
        "before_mb": round(before),
        "kept": len(selection.indices),
    }


def main() -> None:
    """Every method that has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(run(options.data, options.child)))
        return

    plant(options.data, options.frames)
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    for method in options.methods:
        if method in results:
            continue
        command = [sys.executable, __file__, "--data", str(options.data), "--json", str(options.json)]
        load = os.getloadavg()[0]
        try:
            done = subprocess.run(
                [*command, "--child", method], capture_output=True, text=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            results[method] = {"failed": f"stopped after {LIMIT} s"}
        else:
            last = (done.stdout or done.stderr).strip().splitlines()[-1:]
            results[method] = {"failed": str(last)} if done.returncode else json.loads(done.stdout)
        results[method]["load"] = round(load, 1)
        print(method, results[method], flush=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
