"""Kill workers, actors of Ray, decoding processes and drivers at random moments, and compare what is made in
the end.

    python benchmarks/kill_workers.py --kills 50 --out docs/results/kills.csv

Draws 40 pictures, makes index, prints, embeddings and key patches of them once without workers, then again
and again one step of these, in small shards, with two processes or two actors of Ray. At a random moment one
process gets SIGKILL: a worker (the executor has to notice), a process that decodes for one (the worker has
to), or the driver (the same command is run again). In the end every byte of the step is compared. Appends a
line a kill, so that it can be stopped and continued; ``--steps`` and ``--victims`` choose what is killed.
"""

import argparse
import csv
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

STEPS = ("index", "prints", "embed", "patches")
VICTIMS = ("worker", "actor", "decoder", "driver")
FRAMES = 40
SHARD = 8

# What the command lines of the processes that are to be killed hold.
MARKS = {
    "worker": "optidel.mapping import main",
    "actor": "ray::_Seat",
    "decoder": "optidel.corpus.sandbox.process import main",
}

# Seconds after the step began within which a process is killed: as long as most steps take.
LONGEST = 3.0

COLUMNS = ("number", "step", "victim", "executor", "after", "killed", "again", "equal")


def draw(folder: Path) -> None:
    """Pictures with a texture and a bright blob."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:72, :96]
    for number in range(FRAMES):
        wave = 20 * np.sin(x / rng.uniform(4, 9)) * np.cos(y / rng.uniform(4, 9))
        image = np.array([150, 80, 70]) + wave[..., None] + rng.normal(0, 4, (72, 96, 3))
        row, column = rng.uniform(20, 50), rng.uniform(20, 70)
        image[(y - row) ** 2 + (x - column) ** 2 < rng.uniform(60, 200)] += [60, 70, 40]
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")


def make(images: Path, run: Path, step: str, executor: str, workers: int) -> None:
    """Make one step, in this process: what a driver does."""
    from optidel.models.presets import PRESETS, Preset
    from optidel.pipeline.pipeline import Pipeline
    from optidel.recipe import make_recipe

    PRESETS["tiny"] = Preset(
        size=32, patch=8, width=32, depth=2, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2
    )
    values = {
        "images": str(images),
        "out": str(run),
        "encoder": {"steps": 4},
        "patches": {"backend": "regions", "candidates": 0.75},
        "work": {"executor": executor, "shard": SHARD} | ({"workers": workers} if workers else {}),
    }
    getattr(Pipeline(make_recipe(values)), step)


def start(images: Path, run: Path, step: str, executor: str, workers: int) -> subprocess.Popen[bytes]:
    """The same in a process of its own, with all its children in one group."""
    arguments = ["--child", str(images), str(run), step, executor, str(workers)]
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (run.parent / "log.txt").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def digests(run: Path, step: str) -> dict[str, str]:
    """Hash of every file of a step, without the measured seconds."""
    files = [path for path in run.glob(f"{step}-*/**/*") if path.is_file() and path.name != "cost.json"]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def children(pid: int) -> list[int]:
    """All processes below one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    below = list(parents.get(pid, []))
    for child in below:
        below += parents.get(child, [])
    return below


def victim_of(driver: int, victim: str, rng: np.random.Generator) -> int | None:
    """A process to kill; None where there is none at the moment."""
    if victim == "driver":
        return driver
    matches = []
    for pid in children(driver):
        try:
            if MARKS[victim] in Path(f"/proc/{pid}/cmdline").read_text():
                matches.append(pid)
        except OSError:
            continue
    return int(rng.choice(matches)) if matches else None


def kill_once(
    number: int, images: Path, whole: Path, step: str, victim: str, rng: np.random.Generator
) -> dict[str, object]:
    """One step with one kill; the line of the table."""
    executor = "ray" if victim == "actor" else "local"
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        shutil.copytree(whole, run)
        for folder in run.glob(f"{step}-*"):
            shutil.rmtree(folder)
        driver = start(images, run, step, executor, 2)
        after = float(rng.uniform(0, LONGEST))
        began = None
        pid = None
        while driver.poll() is None and pid is None:
            # Counted from when there is something to kill, for starting takes seconds itself.
            if began is None and (victim == "driver" or victim_of(driver.pid, victim, rng)):
                began = time.monotonic()
            if began is not None and time.monotonic() - began > after:
                pid = victim_of(driver.pid, victim, rng)
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    break
            time.sleep(0.05)
        code = driver.wait()
        again = 0
        while code != 0 and again < 3:
            again += 1
            code = start(images, run, step, executor, 2).wait()
        return {
            "number": number,
            "step": step,
            "victim": victim,
            "executor": executor,
            "after": f"{after:.2f}",
            "killed": pid is not None,
            "again": again,
            "equal": code == 0 and digests(run, step) == digests(whole, step),
        }


def main() -> None:
    """Kill and compare until there are as many kills as asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    parser.add_argument("--out", type=Path, default=Path("kills.csv"))
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        images, run, step, executor, workers = options.child
        make(Path(images), Path(run), step, executor, int(workers))
        return

    # Only files are decoded by processes of their own; the other steps read what was decoded.
    pairs = [
        (step, victim)
        for victim in options.victims
        for step in options.steps
        if victim != "decoder" or step == "index"
    ]
    rows = list(csv.DictReader(options.out.open())) if options.out.exists() else []
    kills = sum(row["killed"] == "True" for row in rows)
    with tempfile.TemporaryDirectory() as scratch:
        images, whole = Path(scratch) / "images", Path(scratch) / "whole"
        draw(images)
        for step in STEPS:
            make(images, whole, step, "local", 0)
        number = len(rows)
        while kills < options.kills:
            rng = np.random.default_rng((options.seed, number))
            step, victim = pairs[number % len(pairs)]
            row = kill_once(number, images, whole, step, victim, rng)
            is_new = not options.out.exists()
            with options.out.open("a", newline="") as handle:
                writer = csv.DictWriter(handle, COLUMNS)
                if is_new:
                    writer.writeheader()
                writer.writerow(row)
            print(row, flush=True)
            number += 1
            kills += bool(row["killed"])


if __name__ == "__main__":
    main()
