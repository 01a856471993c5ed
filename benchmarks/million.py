"""A million synthetic frames through index, embedding and MedDEL: memory, disk and time a frame.

    python benchmarks/million.py --frames 1000000 --out FOLDER --json benchmarks/million.json

Frames are drawn from their number when they are asked for, so no image is on disk; all else is what a run
does: an index written in parts, an embedding in shards of 4,096 by a small autoencoder, MedDEL on its
vectors. Killed, it continues. Memory is read after each shard.
"""

import argparse
import hashlib
import json
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from optidel.corpus.frame_table import FrameTable
from optidel.features.embedding import SCORES, Scorer, ScoreWorker
from optidel.mapping import Make, Plan, Tick, join_arrays, run
from optidel.methods import select
from optidel.models.encoders import save_encoder
from optidel.models.mae import build_mae
from optidel.models.presets import Preset
from optidel.progress import say
from optidel.records import Frame, to_table
from optidel.store import Store, Workspace

TINY = Preset(
    size=16, patch=8, width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2
)

# Images that the others are made from, by adding what their number says.
BASES = 256


class Drawn:
    """Images u8 (n, s, s, 3) that exist only when they are asked for."""

    def __init__(self, count: int) -> None:
        """Draw what the images are made from."""
        rng = np.random.default_rng(0)
        self.shape = (count, TINY.size, TINY.size, 3)
        self.bases = rng.integers(0, 200, (BASES, *self.shape[1:]), dtype=np.uint8)

    def __len__(self) -> int:
        """Number of images."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Draw some."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        numbers = np.asarray(rows)
        shade = (numbers * 2654435761 >> 16) % 56
        images: np.ndarray = self.bases[numbers % BASES] + shade[:, None, None, None].astype(np.uint8)
        return images


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnWorker:
    """Scores drawn images."""

    count: int
    mae: str
    mean: str

    def open(self) -> Make:
        """Load the model."""
        worker = ScoreWorker(
            pixels="", mae=self.mae, weights=None, mean=self.mean, seed=0, earlier=None, earlier_rows=None
        )
        return Scorer(worker, Drawn(self.count))

    def stand_in(self, row: int) -> None:
        """No row kills its worker."""
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWorker:
    """Lists synthetic frames as an index does."""

    def open(self) -> Make:
        """Nothing to load."""
        return self.frames

    def frames(self, rows: range, tick: Tick) -> pl.DataFrame:
        """Some frames: 40 a patient, of seven sites and two modalities."""
        numbers = np.arange(rows.start, rows.stop)
        sources = [f"site-{n // 40 % 7}/patient-{n // 40:07d}/image-{n:09d}.png" for n in numbers.tolist()]
        empty = to_table(Frame, [])
        columns = {
            "id": sources,
            "source": sources,
            "locator": "",
            "height": 480 + numbers % 3,
            "width": 640,
            "channels": 3,
            "group": [f"{n // 40:032x}" for n in numbers.tolist()],
            "modality": np.where(numbers // 40 % 2, "ES", "US"),
            "sha256": [hashlib.sha256(str(n).encode()).hexdigest() for n in numbers.tolist()],
            "flaw": np.where(numbers % 50, "", "blank"),
            "rule": "0 to 255",
        }
        table = pl.DataFrame({"id": columns.pop("id")})
        for name, values in columns.items():
            series = pl.lit(values) if isinstance(values, str | int) else pl.Series(name, values)
            table = table.with_columns(series.alias(name))
        for name in empty.columns:
            if name not in table.columns:
                table = table.with_columns(pl.lit(None).alias(name))
        tick(len(rows))
        return table.select(empty.columns).cast(dict(empty.schema))

    def stand_in(self, row: int) -> None:
        """No row kills its worker."""
        return


def resident() -> float:
    """Bytes of memory that this process holds and that belong to no file."""
    text = Path("/proc/self/status").read_text()
    return 1024.0 * int(text.split("RssAnon:")[1].split()[0])


@dataclass
class Meter:
    """Seconds and memory of each step."""

    notes: dict[str, Any] = field(default_factory=dict)

    def step(self, store: Store, name: str, make: Any, config: dict[str, Any], inputs: Any = None) -> Any:
        """Make a step, and note what it took where it was not there."""
        before, memory = time.process_time(), []

        def measured(work: Workspace) -> None:
            clock = work.clock

            def sampled() -> float:
                memory.append(resident())
                return clock()

            work.clock = sampled  # type: ignore[method-assign]
            make(work)

        artifact = store.build(name, measured, version=1, config=config, inputs=inputs)
        if memory:
            tenths = [memory[round(tenth / 10 * (len(memory) - 1))] for tenth in range(1, 11)]
            self.notes[name] = {
                "cpu_seconds": round(time.process_time() - before, 1),
                "megabytes_at_each_tenth": [round(held / 1e6) for held in tenths],
                "bytes_a_frame": round(
                    sum(path.stat().st_size for path in artifact.path.rglob("*") if path.is_file())
                    / config["frames"]
                ),
            }
            say(f"{name}: {self.notes[name]}")
        return artifact


def main() -> None:
    """Every step, then the numbers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count, plan = options.frames, Plan(workers=options.workers)
    store, meter, config = Store(options.out), Meter(), {"frames": options.frames}

    def index(work: Workspace) -> None:
        job = run(work, ListWorker(), count, "index", plan)
        with work.writing("frames.parquet") as path:
            parts = [job.folder / shard.name for shard in job.shards]
            pl.scan_parquet(parts).sink_parquet(path, statistics=False)

    def weights(work: Workspace) -> None:
        with work.writing("encoder") as folder:
            save_encoder(build_mae(TINY, torch.Generator().manual_seed(0)), folder, TINY.size)
        work.write_array("mean.npy", np.full(Drawn(1).shape[1:], 0.5, np.float32))

    def embed(work: Workspace) -> None:
        worker = DrawnWorker(
            count=count, mae=str(mae.path.absolute() / "encoder"), mean=str(mae.path.absolute() / "mean.npy")
        )
        job = run(work, worker, count, "embed", plan)
        join_arrays(work, job, SCORES)

    def choose(work: Workspace) -> None:
        selection = select(embedded.array("vectors.npy"), "meddel", count // 20, seed=0)
        work.clock()
        work.write_array("indices.npy", selection.indices)

    indexed = meter.step(store, "index", index, config)
    before = resident()
    frames = FrameTable(indexed.file("frames.parquet"))
    first = resident()
    # The first time also takes what reading takes, and does not give it back: a second table uses it again.
    again = FrameTable(indexed.file("frames.parquet"))
    second = resident()
    meter.notes["frames in memory"] = {
        "bytes_a_frame": round(frames.nbytes / count),
        "bytes_a_frame_resident": round((second - first) / count),
        "bytes_a_frame_with_reading": round((first - before) / count),
    }
    del again
    say(str(meter.notes["frames in memory"]))
    mae = meter.step(store, "warmup", weights, config)
    embedded = meter.step(store, "embed", embed, config, {"mae": mae})
    meter.step(store, "select", choose, config, {"embed": embedded})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    result = {"frames": count, "peak_megabytes": round(peak), "steps": meter.notes}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
