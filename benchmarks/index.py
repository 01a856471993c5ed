"""Index and audit (quality, hashes, copies, the page) against a bare decode loop, memory, and resuming after
a kill.

    python benchmarks/index.py --count 100000 --folder FOLDER

Makes the files once in FOLDER: small pictures of distinct content, four JPEG to one PNG. Prints one JSON
object. ``loop_ratio`` is against a bare loop in one process, what a script would do; the others against as
many processes as the index has. ``ratio`` is of wall-clock times and holds the audit, ``index_ratio`` does
not; ``cpu_ratio`` and ``index_cpu_ratio`` are of CPU times, which say nearly the same on a machine that does
other work as well. The audit looks at 200 frames for text, some ten seconds whatever the corpus.
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
from typing import Any

import numpy as np
from PIL import Image

FOLDERS = 100
"""Files lie in so many folders, as hospitals' do."""


def make(job: tuple[Path, int, int, int]) -> None:
    """Files ``start`` to ``stop``: a smooth texture, shifted, scaled and with noise of its own
    in every file.
    """
    folder, start, stop, side = job
    base = np.random.default_rng(0)
    coarse = Image.fromarray(base.integers(40, 220, (24, 24, 3), np.uint8)).resize(
        (2 * side, 2 * side), Image.Resampling.BICUBIC
    )
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
    """Index and audit in a process of its own, and print seconds, files read, seconds of CPU, and memory in
    MB.
    """
    from optidel.corpus import index as room
    from optidel.corpus.sandbox.workers import close_idle
    from optidel.pipeline.audit import audit
    from optidel.recipe import make_recipe
    from optidel.store import Store

    read, memory, workers_memory = 0, [resident()], [0]
    real = room.scan_files

    def counted(root: Path, sources: list[str], *args: object) -> object:
        nonlocal read
        for scanned in real(root, sources, *args):  # type: ignore[arg-type]
            read += 1
            if read % max(1, len(sources) // 10) == 0:
                memory.append(resident())
                workers_memory.append(max(resident(name) for name in children()))
            yield scanned

    room.scan_files = counted  # type: ignore[assignment]
    recipe = make_recipe({"images": str(folder), "out": str(run), "corpus": {"workers": workers}})
    idle = cpu(resource.RUSAGE_SELF)
    began = time.monotonic()
    room.index_step(Store(run), folder, room.IndexOptions(workers=workers))
    indexed = time.monotonic()
    close_idle()
    index_cpu = cpu(resource.RUSAGE_CHILDREN) + cpu(resource.RUSAGE_SELF) - idle
    audit(recipe)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {
        "seconds": round(seconds, 2),
        "audit_seconds": round(seconds - (indexed - began), 2),
        "read": read,
    }
    whole_cpu = cpu(resource.RUSAGE_CHILDREN) + cpu(resource.RUSAGE_SELF) - idle
    told |= {"cpu_seconds": round(whole_cpu, 2), "index_cpu_seconds": round(index_cpu, 2)}
    print(
        json.dumps(
            told | {"memory_mb": memory, "peak_mb": round(peak), "largest_worker_mb": workers_memory[1:]}
        )
    )


def resident(process: str = "self") -> int:
    """Memory that a process holds now, in MB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() >> 20


def children() -> list[str]:
    """The decoding processes."""
    return [
        name for task in Path("/proc/self/task").iterdir() for name in (task / "children").read_text().split()
    ]


def cpu(who: int) -> float:
    """Seconds of CPU so far."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def start(folder: Path, run: Path, workers: int) -> "subprocess.Popen[str]":
    """The index as a process group of its own, which can be killed as a whole."""
    command = [
        sys.executable,
        __file__,
        "--child",
        "--folder",
        str(folder),
        "--run",
        str(run),
        "--workers",
        str(workers),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a child printed."""
    out, _ = process.communicate()
    assert process.returncode == 0
    told: dict[str, Any] = json.loads(out)
    return told


def finished(run: Path) -> int:
    """Files that an index under way has written down."""
    marks = list(run.glob("*.partial/parts/index.done"))
    return int(marks[0].read_text() or 0) if marks else 0


def measure(folder: Path, scratch: Path, count: int, workers: int) -> dict[str, object]:
    """Bare loop and index, alternately and twice each so that both find the files in the page cache; then a
    kill half-way.
    """
    paths = [str(path) for path in sorted(folder.rglob("*.*"))]
    assert len(paths) == count
    pieces = [paths[start : start + 64] for start in range(0, count, 64)]
    loops, spent, indexes = [], [], []
    for attempt in range(2):
        began, before = time.monotonic(), cpu(resource.RUSAGE_CHILDREN)
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            assert sum(pool.imap_unordered(bare, pieces)) == count
        loops.append(time.monotonic() - began)
        spent.append(cpu(resource.RUSAGE_CHILDREN) - before)
        indexes.append(finish(start(folder, scratch / f"run-{attempt}", workers)))
    seconds = min(item["seconds"] for item in indexes)
    began = time.monotonic()
    assert bare(paths) == count
    loop = time.monotonic() - began
    killed = scratch / "killed"
    process = start(folder, killed, workers)
    while finished(killed) < count // 2:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = finished(killed)
    resumed = finish(start(folder, killed, workers))
    equal = len({path.read_bytes() for path in scratch.glob("*/index-*/frames.parquet")}) == 1
    return {
        "files": count,
        "bare_files_per_second": round(count / min(loops)),
        "index_and_audit_files_per_second": round(count / seconds),
        "loop_files_per_second": round(count / loop),
        "loop_ratio": round(loop / seconds, 3),
        "ratio": round(min(loops) / seconds, 3),
        "index_ratio": round(
            min(loops) / min(item["seconds"] - item["audit_seconds"] for item in indexes), 3
        ),
        "cpu_ratio": round(min(spent) / min(item["cpu_seconds"] for item in indexes), 3),
        "index_cpu_ratio": round(min(spent) / min(item["index_cpu_seconds"] for item in indexes), 3),
        "bare_seconds": [round(item, 2) for item in loops],
        "bare_cpu_seconds": [round(item, 2) for item in spent],
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
        jobs = [
            (files, first, min(first + 500, given.count), given.side) for first in range(0, given.count, 500)
        ]
        for _ in pool.imap_unordered(make, jobs):
            pass
    result = measure(files, scratch, given.count, given.workers)
    print(json.dumps(result | {"load": round(os.getloadavg()[0], 2), "cores": given.workers}, indent=1))


if __name__ == "__main__":
    main()
