"""From evaluated cells to the tables: one row a cell, one row a method."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from optidel.evaluation.intervals import difference_interval, mean_interval
from optidel.evaluation.metrics import normdel
from optidel.recipe import Recipe
from optidel.runs.baselines import BLIND, RANDOM, SCRATCH
from optidel.runs.collect import Trial
from optidel.store import Artifact, Store, Workspace


def result_step(
    store: Store, recipe: Recipe, shared: dict[str, Artifact], cells: Sequence[Trial]
) -> Artifact:
    """Write recipe, references to all artifacts, the tidy table of cells and the table of methods."""

    def make(work: Workspace) -> None:
        work.write_json("recipe.json", recipe.model_dump(mode="json"))
        work.write_json("artifacts.json", _references(shared, cells))
        tidy = cell_table(recipe, shared, cells)
        work.write_table("cells.parquet", tidy)
        work.write_table("table.parquet", method_table(tidy, cells))

    inputs = shared | {
        f"{cell.method}-{cell.seed}-{protocol}": artifact
        for cell in cells
        for protocol, artifact in cell.evaluate.items()
    }
    config = recipe.model_dump(mode="json", exclude={"images", "labelled", "out", "registry"})
    return store.build("result", make, version=1, config=config, inputs=inputs)


def _references(shared: dict[str, Artifact], cells: Sequence[Trial]) -> dict[str, object]:
    def name(artifact: Artifact | None) -> str | None:
        return artifact.path.name if artifact else None

    listed = [
        {
            "method": cell.method,
            "budget": cell.budget,
            "seed": cell.seed,
            "select": name(cell.select),
            "compose": name(cell.compose),
            "pretrain": name(cell.pretrain),
            "evaluate": {protocol: artifact.path.name for protocol, artifact in cell.evaluate.items()},
        }
        for cell in cells
    ]
    roles = ("index", "pixels", "warmup", "embed", "patches", "task", "leaks")
    return {role: name(shared.get(role)) for role in roles} | {"cells": listed}


def cell_table(recipe: Recipe, shared: dict[str, Artifact], cells: Sequence[Trial]) -> pl.DataFrame:
    """One row a method, seed and protocol."""
    frames = len(shared["index"].table("frames.parquet"))
    task = str(shared["task"].json("summary.json")["name"])
    rows = []
    for cell in cells:
        images = _images(cell)
        kept = images / frames
        for protocol, artifact in cell.evaluate.items():
            summary = artifact.json("summary.json")
            rows.append(
                {
                    "method": cell.method,
                    "budget": cell.budget,
                    "seed": cell.seed,
                    "objective": recipe.pretrain.objective,
                    "protocol": protocol,
                    "compute": recipe.pretrain.compute,
                    "task": task,
                    "n_images": images,
                    "kept": kept,
                    "miou": summary["miou"],
                    "dice": summary["dice"],
                    "normdel": normdel(summary["miou"], kept) if images else None,
                    "seconds_select": _seconds_select(cell, shared),
                    "seconds_train": cell.pretrain.seconds if cell.pretrain else 0.0,
                }
            )
    return pl.DataFrame(rows, schema_overrides={"normdel": pl.Float64})


def _images(cell: Trial) -> int:
    if cell.compose:
        return len(cell.compose.array("pixels.npy"))
    return int(cell.select.json("summary.json")["kept"]) if cell.select else 0


def _seconds_select(cell: Trial, shared: dict[str, Artifact]) -> float:
    """What choosing cost: warm-up and embedding for methods that look at the images, key patches and
    composition where used.
    """
    if cell.select is None or cell.method in BLIND:
        return cell.select.seconds if cell.select else 0.0
    steps = [shared.get("warmup"), shared["embed"], cell.select]
    steps += [shared["patches"], cell.compose] if "patches" in cell.select.inputs else []
    return sum(step.seconds for step in steps if step)


def image_scores(artifact: Artifact, column: str) -> Float[np.ndarray, "n"]:
    """Mean over foreground classes of each test image, in a fixed order of images; classes absent from an
    image are left out.
    """
    table = artifact.table("images.parquet").with_columns(pl.col(column).fill_nan(None))
    return table.group_by("id", maintain_order=True).agg(pl.col(column).mean()).sort("id")[column].to_numpy()


def method_table(tidy: pl.DataFrame, cells: Sequence[Trial]) -> pl.DataFrame:
    """One row a method and protocol: means over seeds and test images, their intervals, paired difference to
    random.
    """
    rows = []
    for protocol in tidy["protocol"].unique(maintain_order=True):
        iou = {
            name: _matrix(cells, name, protocol, "iou")
            for name in dict.fromkeys(cell.method for cell in cells)
        }
        for method, matrix in iou.items():
            own = tidy.filter((pl.col("method") == method) & (pl.col("protocol") == protocol))
            overlap = mean_interval(matrix, np.random.default_rng(0))
            dice = mean_interval(_matrix(cells, method, protocol, "dice"), np.random.default_rng(0))
            row = {
                "method": method,
                "budget": own["budget"][0],
                "protocol": protocol,
                "seeds": len(own),
                "n_images": own["n_images"][0],
                "miou": overlap.mean,
                "miou_low": overlap.low,
                "miou_high": overlap.high,
                "dice": dice.mean,
                "dice_low": dice.low,
                "dice_high": dice.high,
                "normdel": normdel(overlap.mean, own["kept"][0]) if own["n_images"][0] else None,
            }
            for other in (RANDOM, SCRATCH):
                gain = (
                    difference_interval(matrix, iou[other], np.random.default_rng(0))
                    if other in iou and other != method
                    else None
                )
                suffix = "" if other == RANDOM else "_scratch"
                row |= {
                    f"difference{suffix}": gain.mean if gain else None,
                    f"difference{suffix}_low": gain.low if gain else None,
                    f"difference{suffix}_high": gain.high if gain else None,
                }
            rows.append(row)
    floats = [name for name in rows[0] if name.startswith("difference") or name == "normdel"]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(floats, pl.Float64))


def _matrix(cells: Sequence[Trial], method: str, protocol: str, column: str) -> Float[np.ndarray, "s n"]:
    return np.stack(
        [image_scores(cell.evaluate[protocol], column) for cell in cells if cell.method == method]
    )
