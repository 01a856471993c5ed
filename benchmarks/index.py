"""Indexing (with quality, hashes and groups) against a bare decode loop of as many processes, memory, and resuming after a kill.

    python benchmarks/index.py --count 100000 --folder FOLDER

Makes the files once in FOLDER: small pictures of distinct content, four JPEG to one PNG. Prints one JSON object.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

FOLDERS = 100
"""Files lie in so many folders, as hospitals' do."""


def make(job: tuple[Path, int, int, int]) -> None:
    """Files ``start`` to ``stop``: a smooth texture, shifted, scaled and with noise of its own in every file."""
    folder, start, stop, side = job
    base = np.random.default_rng(0)
    coarse = Image.fromarray(base.integers(40, 220, (24, 24, 3), np.uint8)).resize((2 * side, 2 * side), Image.Resampling.BICUBIC)
    texture = np.asarray(coarse).astype(np.int16)
    noise = base.normal(0, 6, (2 * side, 2 * side, 1)).astype(np.int16)
    for number in range(start, stop):
        rng = np.random.default_rng(number)
        (y, x), (v, u) = rng.integers(0, side, (2, 2))
        gain = rng.integers(-40, 40, 3).astype(np.int16)
        image = texture[y : y + side, x : x + side] + noise[v : v + side, u : u + side] + gain
        path = folder / f"{number % FOLDERS:02d}" / f"{number:07d}.{'png' if number % 5 == 0 else 'jpg'}"
        if not path.exists():
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def bare(paths: list[str]) -> int:
    """Decode and nothing else."""
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image)
    return len(paths)


def child(folder: Path, run: Path, workers: int) -> None:
    """Index in a process of its own, and print seconds, files read and peak memory in MB."""
    from optidel.corpus import index as room
    from optidel.corpus.workers import close_idle
    from optidel.store import Store

    read = 0
    real = room.scan_files

    def counted(*args: object) -> object:
        nonlocal read
        for scanned in real(*args):  # type: ignore[arg-type]
            read += 1
            yield scanned

    room.scan_files = counted  # type: ignore[assignment]
    began = time.monotonic()
    room.index_step(Store(run), folder, room.IndexOptions(workers=workers))
    seconds = time.monotonic() - began
    close_idle()
    own, worker = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": round(seconds, 2), "read": read, "peak_mb": round(own), "worker_peak_mb": round(worker)}))


def start(folder: Path, run: Path, workers: int) -> "subprocess.Popen[str]":
    """The index as a process group of its own, which can be killed as a whole."""
    command = [sys.executable, __file__, "--child", "--folder", str(folder), "--run", str(run), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: "subprocess.Popen[str]") -> dict[str, float]:
    """What a child printed."""
    out, _ = process.communicate()
    assert process.returncode == 0
    told: dict[str, float] = json.loads(out)
    return told


def measure(folder: Path, scratch: Path, count: int, workers: int) -> dict[str, object]:
    """Bare loop and index, alternately and twice each so that both find the files in the page cache; then a kill half-way."""
    paths = [str(path) for path in sorted(folder.rglob("*.*"))]
    assert len(paths) == count
    pieces = [paths[start : start + 64] for start in range(0, count, 64)]
    loops, indexes = [], []
    for attempt in range(2):
        began = time.monotonic()
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            assert sum(pool.imap_unordered(bare, pieces)) == count
        loops.append(time.monotonic() - began)
        indexes.append(finish(start(folder, scratch / f"run-{attempt}", workers)))
    seconds = min(item["seconds"] for item in indexes)
    killed = scratch / "killed"
    process = start(folder, killed, workers)
    time.sleep(seconds / 2 + 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [mark] = killed.glob("*.partial/parts/index.done") or [None]
    done = int(mark.read_text()) if mark else 0
    resumed = finish(start(folder, killed, workers))
    equal = len({path.read_bytes() for path in scratch.glob("*/index-*/frames.parquet")}) == 1
    return {
        "files": count,
        "bare_files_per_second": round(count / min(loops)),
        "index_files_per_second": round(count / seconds),
        "ratio": round(min(loops) / seconds, 3),
        "bare_seconds": [round(item, 2) for item in loops],
        "index": indexes,
        "killed_after": done,
        "read_after_the_kill": resumed["read"],
        "same_bytes": equal,
    }


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    if given.child:
        child(given.folder, given.run, given.workers)
        return
    files, scratch = given.folder / f"files-{given.count}-{given.side}", given.folder / "runs"
    for number in range(FOLDERS):
        (files / f"{number:02d}").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        jobs = [(files, first, min(first + 500, given.count), given.side) for first in range(0, given.count, 500)]
        for _ in pool.imap_unordered(make, jobs):
            pass
    result = measure(files, scratch, given.count, given.workers)
    print(json.dumps(result | {"load": round(os.getloadavg()[0], 2), "cores": given.workers}, indent=1))


if __name__ == "__main__":
    main()
