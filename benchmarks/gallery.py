"""A gallery of a million frames in a headless Chromium: seconds to open, time of a frame, a lasso, memory.

    python benchmarks/gallery.py --frames 1000000 --out FOLDER --json benchmarks/gallery.json

The run is made up: vectors from a mixture of Gaussians, two selections of 5 %, and 256 small images that all
frames share. What is measured is what `optidel gallery RUN --port N` does with it: the server reads, the
browser draws by software (SwiftShader), which is slower than any graphics card.
"""

import argparse
import hashlib
import json
import math
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from optidel.gallery.server import Server
from optidel.progress import say
from optidel.records import Frame, Quality, Rejected, to_table
from optidel.runs.summaries import IndexSummary, SelectSummary, write_summary
from optidel.store import Store, Workspace

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import browser as support  # noqa: E402 - the browser of the tests, found by the line above
from browser import Page, chromium, running  # noqa: E402

WIDTH = 64  # of the vectors: what a small encoder gives
CENTRES = 40  # groups on the map: about as many as a mixed corpus has
IMAGES = 256  # different images: enough that no page shows one twice by chance
BUDGET = 0.05

# Names that the two selections bear; both are drawn at random here.
METHODS = ("meddel", "random")

# Time between two frames while the wheel zooms.
FRAMES = """new Promise((done) => {
  const times = []; let last = performance.now(), angle = 0;
  const canvas = document.getElementById('canvas'), at = canvas.getBoundingClientRect();
  const middle = { clientX: at.left + at.width / 2, clientY: at.top + at.height / 2, bubbles: true };
  const step = (now) => {
    times.push(now - last); last = now; angle += 1;
    if (times.length > 8) { done(times.slice(1)); return; }
    canvas.dispatchEvent(new WheelEvent('wheel', { ...middle, deltaY: angle % 8 < 4 ? -60 : 60 }));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def make_run(root: Path, count: int) -> None:
    """A run folder of ``count`` frames that was never run."""
    rng = np.random.default_rng(0)
    images = root / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number in range(IMAGES):
        path = images / f"{number}.png"
        if not path.exists():
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(path)
    store = Store(root / "run")
    numbers = np.arange(count)
    centre = rng.integers(0, CENTRES, count)
    ids = [f"site-{n // 40 % 7}/patient-{n // 40:07d}/image-{n:09d}.png" for n in numbers.tolist()]

    def index(work: Workspace) -> None:
        columns = {
            "id": ids,
            "source": [f"{n % IMAGES}.png" for n in numbers.tolist()],
            "group": [f"{n // 40:032x}" for n in numbers.tolist()],
            "modality": np.where(numbers // 40 % 2, "ES", "US"),
            "sha256": [hashlib.sha256(str(n).encode()).hexdigest() for n in numbers.tolist()],
            "flaw": np.where(numbers % 50, "", "blank"),
        }
        literals = {"locator": "", "height": 48, "width": 64, "channels": 3, "rule": "0 to 255"}
        work.write_table("frames.parquet", _table(Frame, columns, literals))
        measured = {
            "mean": rng.normal(90, 20, count),
            "sharpness": rng.random(count),
            "entropy": rng.random(count),
        }
        work.write_table("quality.parquet", _table(Quality, {"id": ids, **measured}, {}))
        work.write_table("rejected.parquet", to_table(Rejected, []))
        summary = IndexSummary(
            root=str(images.resolve()),
            scan="{}",
            files=count,
            frames=count,
            rejected=0,
            groups="",
            since=None,
        )
        write_summary(work, summary)

    def embed(work: Workspace) -> None:
        means = rng.standard_normal((CENTRES, WIDTH), dtype=np.float32)
        vectors = means[centre] + 0.4 * rng.standard_normal((count, WIDTH), dtype=np.float32)
        work.write_array("vectors.npy", vectors)
        work.write_array("error.npy", rng.random(count, dtype=np.float32))
        work.write_array("error_map.npy", np.zeros((count, 1, 1), np.float16))

    indexed = store.build("index", index, version=1, config={"frames": count})
    store.build("embed", embed, version=1, config={"frames": count}, inputs={"index": indexed})
    for method in METHODS:

        def select(work: Workspace, method: str = method) -> None:
            kept = np.zeros(count, bool)
            kept[rng.choice(count, int(BUDGET * count), replace=False)] = True
            rank = np.full(count, -1)
            rank[kept] = rng.permutation(int(kept.sum()))
            stand_in = np.flatnonzero(kept)[numbers % int(kept.sum())]
            texts = np.array(ids, dtype=object)
            table = pl.DataFrame(
                {
                    "item": numbers,
                    "id": ids,
                    "kept": kept,
                    "rank": rank,
                    "gain": rng.random(count),
                    "twin": pl.Series(np.where(kept, None, texts[stand_in]).tolist(), dtype=pl.String),
                    "similarity": np.where(kept, np.nan, 0.9),
                    "reason": np.where(kept, "kept", np.where(numbers % 3, "too like a kept one", "easy")),
                }
            )
            work.write_table("selection.parquet", table)
            summary = SelectSummary(
                method=method, budget=BUDGET, seed=0, unit="frame", items=count, kept=int(kept.sum())
            )
            write_summary(work, summary)

        store.build("select", select, version=1, config={"method": method}, inputs={"index": indexed})


def _table(kind: type[Any], columns: dict[str, Any], literals: dict[str, Any]) -> pl.DataFrame:
    """A table of a record: some columns, some values that all rows share, nulls for the rest."""
    schema = dict(to_table(kind, []).schema)
    table = pl.DataFrame({name: pl.Series(values) for name, values in columns.items()})
    table = table.with_columns(pl.lit(value).alias(name) for name, value in literals.items())
    missing = [name for name in schema if name not in table.columns]
    table = table.with_columns(pl.lit(None).alias(name) for name in missing)
    return table.cast({name: kind for name, kind in schema.items() if name in table.columns})


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 2)


# Longest wait for the page, seconds: a million points by software on busy cores.
support.PATIENCE = 400


def measured(page: Page, address: str, count: int) -> dict[str, Any]:
    """Open the page, zoom, lasso, filter and colour it."""
    settled = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"
    drawn = "window.gallery && gallery.plot() && gallery.plot().get('points').length"
    notes: dict[str, Any] = {}

    def opened() -> None:
        page.open(address, size=(1280, 900))
        page.wait(f"{drawn} === {count} && document.querySelectorAll('#grid .tile').length")

    notes["open_seconds"] = seconds(opened)
    times = sorted(page.ask(FRAMES))
    notes["zoom_frame_ms_median"] = round(times[len(times) // 2])
    notes["zoom_frame_ms_worst"] = round(times[-1])

    path = ring(page)
    notes["lasso_drag_seconds"] = seconds(lambda: page.drag(path))
    inside = "document.getElementById('selected').textContent.includes('in the lasso')"
    notes["lasso_answer_seconds"] = seconds(lambda: page.wait(inside))
    notes["lasso_images"] = page.ask("gallery.shown().length")
    clear = f"(document.getElementById('clear').click(), {settled})"
    notes["clear_seconds"] = seconds(lambda: page.ask(clear))

    def change(field: str, value: str) -> Callable[[], object]:
        node = f"document.getElementById('{field}')"
        event = "oninput" if field == "query" else "onchange"
        return lambda: page.ask(f"({node}.value = {value}, {node}.{event}(), {settled})")

    notes["filter_seconds"] = seconds(change("show", "'kept'"))
    notes["all_seconds"] = seconds(change("show", "'all'"))
    notes["name_seconds"] = seconds(change("query", "'site-3'"))
    page.ask(clear)
    notes["colour_seconds"] = seconds(change("colour", "'numbers0'"))
    notes["image_seconds"] = seconds(lambda: page.ask(f"(gallery.go(gallery.shown()[7]), {settled})"))
    notes["script_megabytes"] = round(page.ask("performance.memory.usedJSHeapSize") / 1e6)
    assert page.errors == [], page.errors
    return notes


def ring(page: Page) -> list[tuple[float, float]]:
    """A circle over the middle of the map, a third of its height wide."""
    left, top, width, height = page.ask(
        "(() => { const r = document.getElementById('map').getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height]; })()"
    )
    angles = [2 * math.pi * step / 36 for step in range(37)]
    return [
        (left + width / 2 + height / 6 * math.cos(angle), top + height / 2 + height / 6 * math.sin(angle))
        for angle in angles
    ]


def main() -> None:
    """Make the run, serve it, look at it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="where a screenshot goes")
    options = parser.parse_args()
    binary = chromium()
    if binary is None:
        raise SystemExit("no Chromium; `apt-get install chromium` brings it")
    make_run(options.out, options.frames)
    say("the run is there")

    notes: dict[str, Any] = {"frames": options.frames}
    began, cpu = time.monotonic(), time.process_time()
    server = Server(options.out / "run")
    notes["server_seconds"] = round(time.monotonic() - began, 1)
    notes["server_cpu_seconds"] = round(time.process_time() - cpu, 1)
    notes["server_peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    say(json.dumps(notes))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        with running(binary) as browser:
            page = browser.page()
            notes |= measured(page, server.address, options.frames)
            if options.picture:
                page.screenshot(options.picture)
    finally:
        server.close()
        thread.join()
    text = json.dumps(notes, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
