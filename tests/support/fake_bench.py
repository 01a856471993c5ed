"""A finished bench with known effects, without training anything."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from optidel.benchmark.bench import Bench
from optidel.benchmark.load import make_bench
from optidel.benchmark.plan import key_of, trials
from optidel.benchmark.tables import Record
from optidel.store import MANIFEST, Store, canonical, digest

EFFECTS = {
    "scratch": -0.10,
    "full": 0.0,
    "random": -0.05,
    "k-center": -0.08,
    "moderate": -0.05,
    "meddel": -0.02,
}
IMAGES = 40

FIRST_VERSION: dict[str, Any] = {
    "step": "evaluate",
    "version": 1,
    "config": {},
    "inputs": {},
    "fingerprint": digest(b"evaluate", b"1", canonical({}), canonical({})),
    "content": "",
    "files": {},
}
"""A manifest without hashes, so that a test may change a table."""


def fake_bench(
    root: Path,
    effects: dict[str, float] = EFFECTS,
    noise: float = 0.01,
    h: dict[str, float] | None = None,
    precise: bool = False,
    **changes: Any,
) -> Bench:
    """Write records and per-image scores: a method's effect, less the smaller the budget, and noise of seeds,
    images and the rest. ``h``: held-out H of a method at 5 % above that of full, 0.3. ``precise``: with
    average precision, twice as far from 0.4 as IoU, of all images but the first, which has no foreground.
    """
    methods = [name for name in effects if name != "scratch"]
    given = {
        "images": "IMAGES",
        "labelled": "polyps",
        "methods": methods,
        "budgets": [0.05, 0.1, 0.25, 0.5],
        "seeds": [0, 1, 2],
    }
    bench = make_bench(given | {"protocols": ["probe"]} | changes)
    Store(root)
    (root / "cells").mkdir()
    (root / "bench.json").write_text(json.dumps(bench.model_dump(mode="json")))
    rng = np.random.default_rng(0)
    hardness = 0.3 * rng.beta(2, 2, size=IMAGES)
    for number, cell in enumerate(trials(bench)):
        short = 0.0 if cell.method in ("scratch", "full") else 0.02 * (cell.budget**-0.3 - 1)
        iou = (
            0.4
            + effects[cell.method]
            - short
            + hardness
            + noise * (rng.normal() + 3 * rng.normal(size=IMAGES))
        )
        (root / f"evaluate-{number:016x}").mkdir()
        table = pl.DataFrame(
            {"id": [f"{row:03d}" for row in range(IMAGES)], "class": 1, "iou": iou, "dice": iou}
        )
        folder = root / f"evaluate-{number:016x}"
        if precise:
            precision = 0.4 + 2 * (iou - 0.4)
            precision[0] = np.nan
            table = table.with_columns(ap=precision)
        table.write_parquet(folder / "images.parquet")
        (folder / MANIFEST).write_text(json.dumps(FIRST_VERSION))
        trained = cell.method != "scratch"
        row = asdict(cell) | {
            "n_images": round(1000 * cell.budget),
            "kept": cell.budget,
            "miou": iou.mean(),
            "dice": iou.mean(),
        }
        row |= {
            "normdel": 0.6 if trained else None,
            "seconds_select": 10.0,
            "seconds_train": 100.0 * cell.budget,
            "device": "cpu",
        }
        if h is not None and trained:
            excess = h.get(cell.method, 0.0) * (0.05 / cell.budget if cell.method != "full" else 1.0)
            row["h"] = 0.3 + excess + 0.0005 * cell.seed
        artifacts = {"evaluate": f"evaluate-{number:016x}"}
        record = Record(cell=cell, state="done", reason="", row=row, artifacts=artifacts)
        (root / "cells" / f"{key_of(bench, cell)}.json").write_text(json.dumps(asdict(record)))
    return bench
