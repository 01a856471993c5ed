"""Synthetic frames through the steps of a real run, index to MedDEL: memory, disk and time a frame.

    python benchmarks/stacks.py --frames 100000 --out FOLDER --json benchmarks/stacks.json

The steps are those of a run, on a corpus at a URL: stacks of a thousand pages that are drawn from their
number when they are read, so no image is on disk. Pixels are kept for what is trained on alone
(``corpus.cache = "chosen"``). Memory is what all processes hold, read once a second. Killed, it continues.
"""

import argparse
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import tifffile
from fsspec import AbstractFileSystem

from optidel.corpus.frames import Corpus
from optidel.models.presets import PRESETS, Preset
from optidel.pipeline.pipeline import Pipeline
from optidel.progress import say
from optidel.recipe import make_recipe

# Small: what is measured are the steps, not the model.
TINY = Preset(
    size=16, patch=8, width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2
)

PAGES = 1000
"""Of a stack: as long as a long ultrasound clip."""

SIDE = 24
"""Of a page, in px: what a frame costs beside its pixels is what grows with the corpus."""

FIELDS = ("RssAnon:", "PPid:")

TICKS = os.sysconf("SC_CLK_TCK")


class DrawnStacks(AbstractFileSystem):  # type: ignore[misc]
    """Stacks of pages, each drawn from its number when it is opened."""

    protocol = "drawn"
    root_marker = ""

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """The stacks of the folder ``frames-COUNT``."""
        folder = self._strip_protocol(path).rstrip("/")
        count = int(folder.rpartition("-")[2])
        infos = [self._entry(f"{folder}/patient-{n:06d}.tif") for n in range(-(-count // PAGES))]
        return infos if detail else [info["name"] for info in infos]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """What a server says of a file, or of the folder."""
        name = self._strip_protocol(path).rstrip("/")
        return self._entry(name) if name.endswith(".tif") else {"name": name, "type": "directory", "size": 0}

    def _entry(self, name: str) -> dict[str, Any]:
        return {"name": name, "type": "file", "size": len(drawn(0)), "etag": name}

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> io.BytesIO:
        return io.BytesIO(drawn(int(path.rpartition("-")[2].removesuffix(".tif"))))


def drawn(number: int) -> bytes:
    """A stack as a TIFF: soft noise under a brightness and a stripe that follow from stack and page."""
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 60, (PAGES, SIDE, SIDE, 3), dtype=np.uint8)
    shade = rng.integers(20, 150, (PAGES, 1, 1, 1), dtype=np.uint8)
    pages = noise + shade
    pages[np.arange(PAGES), np.arange(PAGES) % SIDE] += 40
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pages, photometric="rgb", metadata=None)
    return buffer.getvalue()


def family() -> dict[int, float]:
    """This process and its living children, each with the bytes that it holds and that belong to no file."""
    memory, parents = {}, {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            lines = (folder / "status").read_text().splitlines()
        except OSError:  # it ended meanwhile
            continue
        values = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(FIELDS)}
        parents[int(folder.name)] = values.get("PPid:", 0)
        memory[int(folder.name)] = 1024.0 * values.get("RssAnon:", 0)
    members = {os.getpid()}
    while new := {child for child, parent in parents.items() if parent in members} - members:
        members |= new
    return {process: memory[process] for process in members}


def held() -> float:
    """Bytes of memory of the family."""
    return sum(family().values())


def processor_seconds() -> float:
    """Of the family, and of its children that ended."""
    ticks = 0
    for process in family():
        try:
            after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        ticks += sum(map(int, after_name[11:15]))  # utime, stime and those of waited-for children
    return ticks / TICKS


@dataclass
class Meter:
    """Seconds and memory of each step."""

    frames: int
    notes: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, root: Path, *steps: str) -> Iterator[None]:
        """Note what the block takes, and what its steps wrote."""
        memory, done = [held()], threading.Event()

        def sample() -> None:
            while not done.wait(1.0):
                memory.append(held())

        sampler = threading.Thread(target=sample)
        sampler.start()
        processor, clock = processor_seconds(), time.perf_counter()
        try:
            yield
        finally:
            done.set()
            sampler.join()
        folders = [folder for step in steps for folder in root.glob(f"{step}-*")]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        self.notes[name] = {
            "cpu_seconds": round(processor_seconds() - processor, 1),
            "seconds": round(time.perf_counter() - clock, 1),
            "megabytes_at_each_tenth": [
                round(memory[round(tenth / 10 * (len(memory) - 1))] / 1e6) for tenth in range(11)
            ],
            "most_megabytes": round(max(memory) / 1e6),
            "bytes_a_frame_on_disk": round(sum(path.stat().st_size for path in files) / self.frames, 1),
        }
        say(f"{name}: {self.notes[name]}")


def main() -> None:
    """Every step, then the numbers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    fsspec.register_implementation("drawn", DrawnStacks)
    PRESETS["tiny"] = TINY
    recipe = {
        "images": f"drawn://frames-{options.frames}",
        "out": str(options.out),
        "methods": ["meddel"],
        "budget": 0.05,
        "corpus": {"cache": "chosen", "holdout": 0.0},
        "encoder": {"steps": 50},
    }
    run = Pipeline(make_recipe(recipe))
    meter = Meter(frames=options.frames)
    with meter.step("index", options.out, "index"):
        index = run.index
    before = held()
    with meter.step("the list of frames", options.out):
        corpus = Corpus.load(index)
    meter.notes["the list of frames"]["bytes_a_frame"] = round((held() - before) / len(corpus))
    del corpus
    with meter.step("warm-up", options.out, "pixels", "subset", "warmup"):
        run.mae  # noqa: B018  # a property that makes its artifact
    with meter.step("embed", options.out, "embed"):
        run.embed  # noqa: B018
    with meter.step("MedDEL", options.out, "whiten", "select"):
        run.select("meddel", 0)
    result = {"frames": options.frames, "steps": meter.notes}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
