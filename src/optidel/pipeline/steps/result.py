"""The tables of a run: one row a method, seed and protocol, and one row a method and protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from optidel.evaluation.claims import Difference, claim
from optidel.evaluation.intervals import mean_interval
from optidel.evaluation.metrics import normdel
from optidel.evaluation.table import difference_columns, image_means, score_columns
from optidel.methods import method_named
from optidel.outcomes import Outcomes, outcomes_in
from optidel.recipe import Recipe, as_json
from optidel.runs.baselines import BLIND, RANDOM, SCRATCH
from optidel.runs.collect import Trial
from optidel.runs.summaries import EntropySummary, EvaluateSummary, SelectSummary, TaskSummary, read_summary
from optidel.store import Artifact, Store, Workspace

# Of the code of this step: 2 has the held-out V-entropy of every encoder.
VERSION = 2

# Artifacts that the cells of a run share, by role; ``artifacts.json`` names each, or None.
ROLES = (
    "index",
    "pixels",
    "warmup",
    "embed",
    "patches",
    "task",
    "leaks",
    "unseen",
    "whitened",
    "whitened patches",
    "hardness",
    "patch hardness",
    "target",
    "influence",
    "mixture",
)

# Of these, what methods read beside vectors and errors, by what a method needs and what it chooses among.
GUIDES = {
    ("difficulty", "frame"): ("hardness",),
    ("difficulty", "key patch"): ("patch hardness",),
    ("target", "frame"): ("target",),
    ("influences", "frame"): ("influence",),
    ("mixture", "frame"): ("mixture",),
}

# Recipe keys that are paths: what they hold enters through the artifacts, not through its name.
PATHS = {"images", "labelled", "out", "registry"}


def result_step(
    store: Store, recipe: Recipe, shared: Mapping[str, Artifact], cells: Sequence[Trial]
) -> Artifact:
    """Write recipe, references to all artifacts, the tidy table of cells and the table of methods."""

    def make(work: Workspace) -> None:
        work.write_json("recipe.json", as_json(recipe))
        work.write_json("artifacts.json", _references(shared, cells))
        tidy = cell_table(recipe, shared, cells)
        work.write_table("cells.parquet", tidy)
        work.write_table("table.parquet", method_table(tidy, cells))

    inputs = dict(shared)
    for cell in cells:
        for protocol, artifact in cell.evaluate.items():
            inputs[f"{cell.method}-{cell.seed}-{protocol}"] = artifact
        if cell.entropy:
            inputs[f"{cell.method}-{cell.seed}-entropy"] = cell.entropy
    config = {name: value for name, value in as_json(recipe).items() if name not in PATHS}
    return store.build("result", make, version=VERSION, config=config, inputs=inputs)


def _references(shared: Mapping[str, Artifact], cells: Sequence[Trial]) -> dict[str, object]:
    references: dict[str, object] = {role: _name(shared.get(role)) for role in ROLES}
    references["cells"] = [_reference(cell) for cell in cells]
    return references


def _reference(cell: Trial) -> dict[str, object]:
    """The artifacts of one method and seed, by the names of their folders."""
    scores = {protocol: _name(artifact) for protocol, artifact in cell.evaluate.items()}
    return {
        "entropy": _name(cell.entropy),
        "method": cell.method,
        "budget": cell.budget,
        "seed": cell.seed,
        "select": _name(cell.select),
        "compose": _name(cell.compose),
        "pretrain": _name(cell.pretrain),
        "evaluate": scores,
    }


def _name(artifact: Artifact | None) -> str | None:
    return artifact.path.name if artifact else None


def cell_table(recipe: Recipe, shared: Mapping[str, Artifact], cells: Sequence[Trial]) -> pl.DataFrame:
    """One row a method, seed and protocol."""
    # The share kept is of all frames, also of those marked as worthless.
    frames = len(shared["index"].table("frames.parquet"))
    task = read_summary(shared["task"], TaskSummary).name
    rows = []
    for cell in cells:
        images = _images(cell, recipe)
        kept = images / frames
        entropy = read_summary(cell.entropy, EntropySummary) if cell.entropy else None
        for protocol, artifact in cell.evaluate.items():
            scores = read_summary(artifact, EvaluateSummary)
            row = {
                "method": cell.method,
                "budget": cell.budget,
                "seed": cell.seed,
                "objective": recipe.pretrain.objective,
                "protocol": protocol,
                "compute": recipe.pretrain.compute,
                "task": task,
                "n_images": images,
                "kept": kept,
                **scores.outcomes,
                "normdel": normdel(scores.miou, kept) if images and scores.miou is not None else None,
                "seconds_select": _seconds_select(cell, shared),
                "seconds_train": cell.pretrain.seconds if cell.pretrain else 0.0,
                "h": entropy.h if entropy else None,
                "h_low": entropy.h_low if entropy else None,
                "h_high": entropy.h_high if entropy else None,
            }
            rows.append(row)
    # A column that is None in every row has no type of its own.
    floats = dict.fromkeys(("normdel", "h", "h_low", "h_high"), pl.Float64)
    return pl.DataFrame(rows, schema_overrides=floats)


def _images(cell: Trial, recipe: Recipe) -> int:
    """Images that the encoder of a cell was trained on."""
    if cell.select is None:
        return 0
    summary = read_summary(cell.select, SelectSummary)
    if cell.compose is None:
        return summary.kept

    pictures = len(cell.compose.array("pixels.npy"))
    if recipe.optidel.compose == "frozen":
        return pictures
    # A pool holds patches one by one; an image is made of ``grid`` of them, or is a whole frame.
    whole = summary.originals or 0
    return (pictures - whole) // recipe.optidel.grid + whole


def _seconds_select(cell: Trial, shared: Mapping[str, Artifact]) -> float:
    """What choosing cost.

    Methods that look at the images need warm-up and embedding; where used, key patches and composites too.
    """
    if cell.select is None:
        return 0.0
    # A blind method looks at no image; where its choice says how often each is shown, something did.
    if cell.method in BLIND and "space" not in cell.select.inputs:
        return cell.select.seconds

    steps = [shared.get("warmup"), shared["embed"], cell.select]
    if "patches" in cell.select.inputs:
        steps += [shared["patches"], shared.get("whitened patches"), cell.compose]
    else:
        steps.append(shared.get("whitened"))
    # By what the method needs: a choice that was cut from a ranking names the ranking alone.
    entry = method_named(cell.method)
    if entry.scorer == "error":  # else it reads a difficulty of its own
        steps += [shared.get(role) for role in GUIDES.get((entry.needs, entry.unit), ())]
    return sum(step.seconds for step in steps if step)


def image_scores(artifact: Artifact, column: str) -> Float[np.ndarray, "n"]:
    """One outcome of each test image, in a fixed order of images; as :func:`image_means`."""
    return image_means(artifact.table("images.parquet"))[column].to_numpy()


def method_table(tidy: pl.DataFrame, cells: Sequence[Trial]) -> pl.DataFrame:
    """One row a method and protocol: means over seeds and test images, intervals, paired differences."""
    methods = list(dict.fromkeys(cell.method for cell in cells))
    rows = []
    for protocol in tidy["protocol"].unique(maintain_order=True):
        outcomes = outcomes_in(tidy.columns)
        first, second = (
            {method: _matrix(cells, method, protocol, outcome.column) for method in methods}
            for outcome in outcomes
        )
        for method in methods:
            trials = tidy.filter((pl.col("method") == method) & (pl.col("protocol") == protocol))
            row = _method_row(trials, outcomes, first, second[method])
            rows.append(row | _entropy_columns(cells, method))

    floats = [name for name in rows[0] if name.startswith(("difference", "normdel", "h"))]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(floats, pl.Float64))


def _method_row(
    trials: pl.DataFrame,
    outcomes: Outcomes,
    first: Mapping[str, Float[np.ndarray, "s n"]],
    second: Float[np.ndarray, "s n"],
) -> dict[str, Any]:
    """One row: ``trials`` are the rows of a method's seeds, ``first`` the scores of every method by what they
    are compared by.
    """
    method, images = trials["method"][0], trials["n_images"][0]
    kept = trials["kept"][0] if images else None
    row = {
        "method": method,
        "budget": trials["budget"][0],
        "protocol": trials["protocol"][0],
        "seeds": len(trials),
        "n_images": images,
    }
    row |= score_columns(outcomes, (first[method], second), kept)
    row |= difference_columns("difference", _difference(first, method, RANDOM))
    row |= difference_columns("difference_scratch", _difference(first, method, SCRATCH))
    return row


def _entropy_columns(cells: Sequence[Trial], method: str) -> dict[str, float | None]:
    """Held-out V-entropy of a method: the mean over seeds and images, its interval over seeds and groups."""
    measured = [cell.entropy for cell in cells if cell.method == method and cell.entropy]
    if not measured:
        return dict.fromkeys(("h", "h_low", "h_high"))

    rows = []
    for artifact in measured:
        groups = artifact.table("entropy.parquet").group_by("unit").agg(pl.col("h").sum()).sort("unit")
        images = read_summary(artifact, EntropySummary).images
        # Scaled so that the mean over groups is the mean over images.
        rows.append(groups["h"].to_numpy() * len(groups) / images)
    interval = mean_interval(np.stack(rows), np.random.default_rng(0))
    return {"h": interval.mean, "h_low": interval.low, "h_high": interval.high}


def _difference(
    scores: Mapping[str, Float[np.ndarray, "s n"]], method: str, baseline: str
) -> Difference | None:
    """A method's difference to a baseline; None for the baseline itself, or where it did not run."""
    if baseline not in scores or baseline == method:
        return None
    return claim(scores[method], scores[baseline], np.random.default_rng(0))


def _matrix(cells: Sequence[Trial], method: str, protocol: str, column: str) -> Float[np.ndarray, "s n"]:
    """Scores of a method, a row a seed and a column a test image."""
    rows = [image_scores(cell.evaluate[protocol], column) for cell in cells if cell.method == method]
    return np.stack(rows)
