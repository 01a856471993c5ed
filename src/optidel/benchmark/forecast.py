"""What a bench will run and about how long, before it runs: costs measured in the store, else a stated rule
of thumb.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from optidel.benchmark.plan import Bench, Cell, cells, key_of, method_of, recipe_of
from optidel.benchmark.shards import part_of
from optidel.benchmark.statistics import detectable_sentence, settings
from optidel.benchmark.tables import open_bench, read_record
from optidel.methods import METHODS
from optidel.models.presets import PRESETS
from optidel.recipe import PatchesSection, Recipe
from optidel.report.text import percent
from optidel.runs.baselines import BLIND, SCRATCH
from optidel.store import MANIFEST, Artifact, Store
from optidel.training.objectives import OBJECTIVES, objective_named
from optidel.training.precision import device
from optidel.training.segmentation import SCHEDULES

RATE = {"cpu": 1.4e11, "cuda": 3e13}
"""Floating-point operations a second that a training step is taken to reach: two CPU cores, one GPU."""
FRAME_SECONDS = {"index": 0.01, "pixels": 0.01, "embed": 0.005, "patches": 1.3}
"""Seconds a frame; for key patches those of the proposer on the candidate frames, on two CPU cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One kind of work: how often it is to be done, how often it is done already, seconds each, and where
    that number is from.
    """

    what: str
    total: int
    done: int
    seconds: float
    measured: bool

    @property
    def left(self) -> float:
        """Seconds still to go."""
        return max(0, self.total - self.done) * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """``cells`` in the order in which they run, with whether each is done; the kinds of work; and what
    difference could be detected.

    ``blocks``: seconds from now until all methods of a seed and budget have been run once, in the order in
        which that happens.
    """

    cells: tuple[tuple[Cell, bool], ...]
    items: tuple[Item, ...]
    blocks: tuple[tuple[str, float], ...]
    detectable: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Seconds still to go."""
        return sum(item.left for item in self.items)


def forecast(
    bench: Bench, out: Path, *, shard: tuple[int, int] | None = None, pilot: Path | None = None
) -> Forecast:
    """Count what a bench will do; nothing is computed and nothing written into ``out``.

    Args:
        bench: what is to run.
        out: its run folder, which need not exist.
        shard: as in :func:`~optidel.benchmark.runner.run_bench`.
        pilot: a folder with a finished or unfinished bench of two seeds or more, for the minimum detectable
            difference; default ``out``.
    """
    planned = cells(bench)
    mine = planned if shard is None else part_of(bench, planned, *shard)
    done = {
        cell for cell in mine if (record := read_record(out, key_of(bench, cell))) and record.state == "done"
    }
    artifacts = Store(out).artifacts() if (out / "run.json").exists() else []
    costs = _measured(artifacts)
    recipe = recipe_of(bench, mine[0], "") if mine else recipe_of(bench, planned[0], "")

    def items(part: Sequence[Cell]) -> list[Item]:
        there = done & set(part)
        shared, chosen = (
            _shared(bench, part, recipe, artifacts, costs),
            _selections(bench, part, there, costs),
        )
        return [
            *shared,
            *chosen,
            *_trainings(bench, part, there, costs),
            *_evaluations(bench, part, there, costs),
        ]

    return Forecast(
        cells=tuple((cell, cell in done) for cell in mine),
        items=tuple(item for item in items(mine) if item.total),
        blocks=tuple((name, sum(item.left for item in items(mine[:stop]))) for name, stop in _blocks(mine)),
        detectable=_detectable(bench, pilot or out),
    )


def _blocks(mine: Sequence[Cell]) -> list[tuple[str, int]]:
    """Where in the plan a seed and budget ends; from scratch and full belong to the budget that follows them."""
    ends: list[tuple[str, int]] = []
    for place, cell in enumerate(mine, 1):
        name = f"seed {cell.seed}, {percent(cell.budget)}"
        following = mine[place] if place < len(mine) else None
        if following is None or (cell.seed, cell.budget) != (following.seed, following.budget):
            whole = cell.budget in (0.0, 1.0) and following is not None and following.seed == cell.seed
            ends += [] if whole else [(name, place)]
    return ends


def _detectable(bench: Bench, pilot: Path) -> tuple[str, ...]:
    if not (pilot / "bench.json").exists():
        return (
            "Without a pilot (two seeds, in the run folder or by --pilot) the smallest detectable difference is not known.",
        )
    return tuple(
        f"{setting.name}: {detectable_sentence(bench, setting)}" for setting in settings(open_bench(pilot))
    )


def _measured(artifacts: Sequence[Artifact]) -> Mapping[tuple[Any, ...], float]:
    """Median seconds by kind: a training step by preset, batch and objective; an evaluation step by protocol;
    others by step.
    """
    found: dict[tuple[Any, ...], list[float]] = {}
    for artifact in artifacts:
        config = artifact.json(MANIFEST)["config"]
        if artifact.step in ("pretrain", "warmup"):
            options = config["options"]
            found.setdefault(("train", config["preset"], options["batch"], options["objective"]), []).append(
                artifact.seconds / options["steps"]
            )
        elif artifact.step == "evaluate":
            key = (
                "evaluate",
                config["preset"],
                config["protocol"],
                config["options"]["steps"],
                config["options"]["batch"],
            )
            found.setdefault(key, []).append(artifact.seconds)
        else:
            found.setdefault((artifact.step,), []).append(artifact.seconds)
    return {key: median(values) for key, values in found.items()}


def step_seconds(preset: str, batch: int) -> float:
    """The rule of thumb: a step costs three forward passes of 2 operations a weight and token, at ``RATE``."""
    model = PRESETS[preset]
    return 6 * 12 * model.width**2 * model.depth * model.grid**2 * batch / RATE[device().type]


def _shared(
    bench: Bench,
    mine: Sequence[Cell],
    recipe: Recipe,
    artifacts: Sequence[Artifact],
    costs: Mapping[tuple[Any, ...], float],
) -> list[Item]:
    there = Counter(artifact.step for artifact in artifacts)
    frames = _frames(bench, artifacts)
    methods = {method_of(bench, cell.method) for cell in mine if cell.method != SCRATCH}
    variants = {cell.method: cell for cell in mine if cell.method != SCRATCH}
    looking = any(method not in BLIND for method in methods)
    sections = {recipe_of(bench, cell, "").patches for name, cell in variants.items() if _cuts(bench, name)}
    cut = sum(any(_cut_so(artifact, section) for artifact in artifacts) for section in sections)
    train = (
        costs.get(("train", recipe.preset, recipe.pretrain.batch, "mae"))
        or step_seconds(recipe.preset, recipe.pretrain.batch) * OBJECTIVES["mae"].passes
    )
    wanted = {
        "index": 1,
        "pixels": 1,
        "task": len({cell.task for cell in mine}),
        "warmup": int(looking),
        "embed": int(looking),
    }
    items = []
    for step, total in {**wanted, "patches": len(sections)}.items():
        share = recipe.patches.candidates if step == "patches" else 1.0
        rule = (
            recipe.encoder.steps * train
            if step == "warmup"
            else FRAME_SECONDS.get(step, 0.01) * frames * share
        )
        done = cut if step == "patches" else min(there[step], total)
        items.append(
            Item(
                what=step, total=total, done=done, seconds=costs.get((step,), rule), measured=(step,) in costs
            )
        )
    return items


def _cut_so(artifact: Artifact, section: PatchesSection) -> bool:
    """Whether an artifact holds key patches of these options; weights are not compared, for they would have
    to be read.
    """
    if artifact.step != "patches":
        return False
    config = artifact.json(MANIFEST)["config"]
    same = config["options"] == section.model_dump(mode="json", exclude={"weights", "backend"})
    return same and section.backend in ("auto", config["backend"])


def _cuts(bench: Bench, name: str) -> bool:
    return METHODS[method_of(bench, name)].unit == "key patch"


def _frames(bench: Bench, artifacts: Sequence[Artifact]) -> int:
    """Frames of the index, or files under the folder where there is none yet."""
    index = next((artifact for artifact in reversed(artifacts) if artifact.step == "index"), None)
    if index:
        return len(index.table("frames.parquet"))
    return sum(path.is_file() for path in Path(bench.images).rglob("*")) if Path(bench.images).is_dir() else 0


def _selections(
    bench: Bench, mine: Sequence[Cell], done: set[Cell], costs: Mapping[tuple[Any, ...], float]
) -> list[Item]:
    def kinds(some: Sequence[Cell] | set[Cell]) -> set[tuple[Any, ...]]:
        trained = [cell for cell in some if cell.method != SCRATCH]
        return {
            (c.method, c.seed) if METHODS[method_of(bench, c.method)].nested else (c.method, c.seed, c.budget)
            for c in trained
        }

    seconds, known = costs.get(("select",), 1.0), ("select",) in costs
    what = "select (nested methods rank once)"
    return [Item(what=what, total=len(kinds(mine)), done=len(kinds(done)), seconds=seconds, measured=known)]


def _trainings(
    bench: Bench, mine: Sequence[Cell], done: set[Cell], costs: Mapping[tuple[Any, ...], float]
) -> list[Item]:
    """By objective and rule: under equal epochs a smaller set trains shorter. Full trains alike under both."""
    items = []
    for objective, compute in dict.fromkeys((cell.objective, cell.compute) for cell in mine):
        own = {
            cell.training: cell
            for cell in mine
            if (cell.objective, cell.compute) == (objective, compute) and cell.method != SCRATCH
        }
        if not own:
            continue
        recipe = recipe_of(bench, next(iter(own.values())), "")
        key = ("train", recipe.preset, recipe.pretrain.batch, objective)
        each = (
            costs.get(key)
            or step_seconds(recipe.preset, recipe.pretrain.batch) * objective_named(objective).passes
        )
        share = sum(cell.budget if compute == "epochs" else 1.0 for cell in own.values()) / len(own)
        made = len({cell.training for cell in done} & set(own))
        what = f"pretrain, {objective}, equal {compute}"
        items.append(
            Item(
                what=what,
                total=len(own),
                done=made,
                seconds=each * recipe.pretrain.steps * share,
                measured=key in costs,
            )
        )
    return items


def _evaluations(
    bench: Bench, mine: Sequence[Cell], done: set[Cell], costs: Mapping[tuple[Any, ...], float]
) -> list[Item]:
    items = []
    for task, protocol in dict.fromkeys((cell.task, cell.protocol) for cell in mine):
        own = [cell for cell in mine if (cell.task, cell.protocol) == (task, protocol)]
        recipe = recipe_of(bench, own[0], "")
        options, plan = recipe.evaluate, SCHEDULES[protocol]
        key = ("evaluate", recipe.preset, protocol, options.steps, options.batch)
        rule = (
            step_seconds(recipe.preset, options.batch or plan.batch)
            * (options.steps or plan.steps)
            * (1.5 if protocol == "fine-tune" else 0.2)
        )
        seconds = costs.get(key, rule)
        items.append(
            Item(
                what=f"evaluate, {task}, {protocol}",
                total=len(own),
                done=len(done & set(own)),
                seconds=seconds,
                measured=key in costs,
            )
        )
    return items
