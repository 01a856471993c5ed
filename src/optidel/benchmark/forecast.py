"""What a bench will run and about how long, before it runs.

Costs are those measured in the store, else of a stated rule of thumb.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from optidel.benchmark.bench import Bench, method_of
from optidel.benchmark.entropy import entropy_by_seed
from optidel.benchmark.plan import Trial, key_of, recipe_of, trials
from optidel.benchmark.power import detectable_sentence, entropy_detectable_sentence
from optidel.benchmark.settings import settings
from optidel.benchmark.shards import part_of
from optidel.benchmark.tables import open_bench, read_record
from optidel.methods import method_named
from optidel.models.presets import PRESETS
from optidel.pipeline.pipeline import PROXY_PART
from optidel.recipe import PatchesSection, Protocol, Recipe
from optidel.report.text import percent
from optidel.runs.baselines import BLIND
from optidel.store import MANIFEST, Artifact, Store
from optidel.training.objectives import objective_named
from optidel.training.precision import device
from optidel.training.segmentation import SCHEDULES

# Floating-point operations a second that a training step reaches: measured on two CPU cores and on one H100.
RATE = {"cpu": 1.4e11, "cuda": 3e13}

# Seconds a frame, measured on two CPU cores; for key patches those of the proposer on the candidate frames.
FRAME_SECONDS = {
    "index": 0.01,
    "prints": 0.007,
    "pixels": 0.01,
    "embed": 0.005,
    "hardness": 0.005,
    "influence": 0.01,
    "patches": 1.3,
}
# Images of a target, of which each is decoded and embedded; a folder of a few tens is usual.
TARGET_IMAGES = 50.0
OTHER_SECONDS = 0.01  # of a step without a rule: it does not count beside training

# What an evaluation step costs in forward passes of a training step: fine-tuning also goes back through the
# encoder and through a decoder, a probe trains a small head on a frozen one.
EVALUATION = {"fine-tune": 1.5, "probe": 0.2}

SELECTION_SECONDS = 1.0  # a selection from some thousand frames
NO_PILOT = (
    "Without a pilot (two seeds, in the run folder or by --pilot) "
    "the smallest detectable difference is not known."
)

# Seconds by kind of work.
Costs = Mapping[tuple[Any, ...], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One kind of work: how often it is to be done and is done, and seconds each.

    ``measured`` says whether these are from the store, and not by the rule of thumb.
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
    """``cells``, the trials in the order in which they run, with whether each is done; and the kinds of work.

    ``blocks``: seconds from now until all methods of a seed and budget have been run once, in the order in
    which that happens. ``detectable``: sentences on what difference could be detected.
    """

    cells: tuple[tuple[Trial, bool], ...]
    items: tuple[Item, ...]
    blocks: tuple[tuple[str, float], ...]
    detectable: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Seconds still to go."""
        left = [item.left for item in self.items]
        return sum(left)


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
    planned = trials(bench)
    part = planned if shard is None else part_of(bench, planned, *shard)
    finished = {trial for trial in part if _is_finished(bench, out, trial)}
    artifacts = Store(out).artifacts() if (out / "run.json").exists() else []
    outlook = _Outlook(
        bench=bench,
        finished=frozenset(finished),
        artifacts=artifacts,
        costs=_measured(artifacts),
        recipe=recipe_of(bench, (part or planned)[0]),
        frames=_frames(bench, artifacts),
    )

    blocks = []
    for name, stop in _blocks(part):
        seconds = sum(item.left for item in outlook.items(part[:stop]))
        blocks.append((name, seconds))
    return Forecast(
        cells=tuple((trial, trial in finished) for trial in part),
        items=tuple(item for item in outlook.items(part) if item.total),
        blocks=tuple(blocks),
        detectable=_detectable(bench, pilot or out),
    )


def _is_finished(bench: Bench, out: Path, trial: Trial) -> bool:
    key = key_of(bench, trial)
    record = read_record(out, key)
    return record is not None and record.state == "done"


def _blocks(part: Sequence[Trial]) -> list[tuple[str, int]]:
    """Where in the plan a seed and budget ends; from scratch and full belong to the budget that follows."""
    ends: list[tuple[str, int]] = []
    for stop, trial in enumerate(part, start=1):
        following = part[stop] if stop < len(part) else None
        if following and (trial.seed, trial.budget) == (following.seed, following.budget):
            continue
        baseline = trial.budget in (0.0, 1.0)
        if baseline and following and following.seed == trial.seed:
            continue
        ends.append((f"seed {trial.seed}, {percent(trial.budget)}", stop))
    return ends


def _detectable(bench: Bench, pilot: Path) -> tuple[str, ...]:
    if not (pilot / "bench.json").exists():
        return (NO_PILOT,)
    tables = open_bench(pilot)
    sentences = []
    for setting in settings(tables):
        in_entropy = entropy_detectable_sentence(bench, setting, entropy_by_seed(tables, setting))
        for sentence in (in_entropy, detectable_sentence(bench, setting)):
            if sentence:
                sentences.append(f"{setting.name}: {sentence}")
    return tuple(sentences)


def _frames(bench: Bench, artifacts: Sequence[Artifact]) -> int:
    """Frames of the index, or files under the folder where there is none yet."""
    for artifact in reversed(artifacts):
        if artifact.step == "index":
            return len(artifact.table("frames.parquet"))
    folder = Path(bench.images)
    return sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0


def _measured(artifacts: Sequence[Artifact]) -> Costs:
    """Median seconds by kind of work.

    A training step by preset, batch and objective; an evaluation by preset, protocol and options; other steps
    by name.
    """
    seconds: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for artifact in artifacts:
        config = artifact.json(MANIFEST)["config"]
        options = config.get("options", {})
        if artifact.step in ("pretrain", "warmup"):
            key = _training_key(config["preset"], options["batch"], options["objective"])
            seconds[key].append(artifact.seconds / options["steps"])
        elif artifact.step == "evaluate":
            key = _evaluation_key(config["preset"], config["protocol"], options["steps"], options["batch"])
            seconds[key].append(artifact.seconds)
        else:
            seconds[artifact.step,].append(artifact.seconds)
    return {key: median(values) for key, values in seconds.items()}


def _training_key(preset: str, batch: int, objective: str) -> tuple[Any, ...]:
    return "train", preset, batch, objective


def _evaluation_key(preset: str, protocol: str, steps: int | None, batch: int | None) -> tuple[Any, ...]:
    return "evaluate", preset, protocol, steps, batch


def step_seconds(preset: str, batch: int) -> float:
    """The rule of thumb: a step is three forward passes of 2 operations a weight and token, at ``RATE``."""
    model = PRESETS[preset]
    # A block of a transformer has twelve weights a squared width: four of attention, eight of its two layers.
    weights = 12 * model.width**2 * model.depth
    tokens = model.grid**2 * batch
    operations = 3 * 2 * weights * tokens
    rate = RATE[device().type]
    return operations / rate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlook:
    """What the kinds of work are counted from."""

    bench: Bench
    finished: frozenset[Trial]
    artifacts: Sequence[Artifact]
    costs: Costs
    recipe: Recipe
    frames: int

    def items(self, part: Sequence[Trial]) -> list[Item]:
        """Every kind of work of some trials."""
        trained = [trial for trial in part if not trial.untrained]
        return [
            *self._shared(part, trained),
            self._selections(trained),
            *self._trainings(trained),
            *self._evaluations(part),
        ]

    def _shared(self, part: Sequence[Trial], trained: Sequence[Trial]) -> list[Item]:
        """The steps that all trials have in common."""
        existing = Counter(artifact.step for artifact in self.artifacts)
        looking = any(self._looks(trial) for trial in trained)
        needs = {method_named(method_of(self.bench, trial.method)).needs for trial in trained}
        totals = {
            "index": 1,
            "prints": int(self.recipe.leaks != "off"),
            "pixels": 1,
            "task": len({trial.task for trial in part}),
            "warmup": int(looking),
            "embed": int(looking),
            "hardness": len(self._scorers(trained) - {"error", "pvi"}),
            "influence": int("influences" in needs),
            "mixture": int("mixture" in needs),
            "target": len({folder for trial in trained if (folder := self._target(trial)) is not None}),
        }
        items = [self._shared_item(step, total, min(existing[step], total)) for step, total in totals.items()]

        sections = self._patch_sections(trained)
        cut = sum(any(_is_cut(artifact, section) for artifact in self.artifacts) for section in sections)
        items.append(self._shared_item("patches", len(sections), cut))
        return items

    def _scorers(self, trained: Sequence[Trial]) -> set[str]:
        """The difficulties that methods of frames read."""
        scorers: set[str] = set()
        for trial in trained:
            method = method_named(method_of(self.bench, trial.method))
            if method.needs == "difficulty" and method.unit == "frame" and method.scorer == "error":
                scorers.add(recipe_of(self.bench, trial).selection.scorer)
        return scorers

    def _looks(self, trial: Trial) -> bool:
        """Whether a trial needs the embedding: to choose, or to say how often each frame is shown."""
        if method_of(self.bench, trial.method) not in BLIND:
            return True
        return recipe_of(self.bench, trial).pretrain.sampling != "uniform"

    def _target(self, trial: Trial) -> str | None:
        """The folder that a trial's recipe aims at."""
        return recipe_of(self.bench, trial).selection.target

    def _shared_item(self, step: str, total: int, finished: int) -> Item:
        key = (step,)
        measured = key in self.costs
        seconds = self.costs[key] if measured else self._rule(step)
        return Item(what=step, total=total, done=finished, seconds=seconds, measured=measured)

    def _rule(self, step: str) -> float:
        """Seconds of a shared step by the rule of thumb."""
        if step == "warmup":
            cost = self._step_cost(self.recipe, "mae")
            return self.recipe.encoder.steps * cost
        if step == "mixture":
            return self._proxies()
        # A target has some tens of images, whatever the corpus has.
        frames = TARGET_IMAGES if step == "target" else float(self.frames)
        if step == "patches":
            frames *= self.recipe.patches.candidates
        return FRAME_SECONDS.get(step, OTHER_SECONDS) * frames

    def _proxies(self) -> float:
        """Seconds of all proxies: a step takes an eighth of the operations, and a quarter of the time."""
        section = self.recipe.mixture
        steps = section.steps or self.recipe.pretrain.steps // PROXY_PART
        return section.proxies * steps * self._step_cost(self.recipe, "mae") / 4

    def _patch_sections(self, trained: Sequence[Trial]) -> set[PatchesSection]:
        """The different options with which key patches are cut."""
        sections = set()
        for method, trial in {trial.method: trial for trial in trained}.items():
            if method_named(method_of(self.bench, method)).unit == "key patch":
                sections.add(recipe_of(self.bench, trial).patches)
        return sections

    def _step_cost(self, recipe: Recipe, objective: str) -> float:
        """Seconds of a training step."""
        batch = recipe.pretrain.batch
        key = _training_key(recipe.preset, batch, objective)
        if key in self.costs:
            return self.costs[key]
        passes = objective_named(objective).passes
        return passes * step_seconds(recipe.preset, batch)

    def _selections(self, trained: Sequence[Trial]) -> Item:
        key = ("select",)
        total = {self._selection(trial) for trial in trained}
        finished = {self._selection(trial) for trial in trained if trial in self.finished}
        return Item(
            what="select (nested methods rank once)",
            total=len(total),
            done=len(finished),
            seconds=self.costs.get(key, SELECTION_SECONDS),
            measured=key in self.costs,
        )

    def _selection(self, trial: Trial) -> tuple[Any, ...]:
        """What tells selections apart: a nested method ranks once for all budgets."""
        method = method_of(self.bench, trial.method)
        if method_named(method).nested:
            return trial.method, trial.seed
        return trial.method, trial.seed, trial.budget

    def _trainings(self, trained: Sequence[Trial]) -> list[Item]:
        """By objective and rule: under equal epochs a smaller set trains shorter."""
        encoders: dict[tuple[str, str], dict[Any, Trial]] = defaultdict(dict)
        for trial in trained:
            encoders[trial.objective, trial.compute][trial.training] = trial

        finished = {trial.training for trial in self.finished}
        items = []
        for (objective, compute), sets in encoders.items():
            recipe = recipe_of(self.bench, next(iter(sets.values())))
            key = _training_key(recipe.preset, recipe.pretrain.batch, objective)
            budgets = [trial.budget if compute == "epochs" else 1.0 for trial in sets.values()]
            share = sum(budgets) / len(budgets)
            item = Item(
                what=f"pretrain, {objective}, equal {compute}",
                total=len(sets),
                done=len(finished & sets.keys()),
                seconds=self._step_cost(recipe, objective) * recipe.pretrain.steps * share,
                measured=key in self.costs,
            )
            items.append(item)
        return items

    def _evaluations(self, part: Sequence[Trial]) -> list[Item]:
        """By task and protocol."""
        groups: dict[tuple[str, Protocol], list[Trial]] = defaultdict(list)
        for trial in part:
            groups[trial.task, trial.protocol].append(trial)

        items = []
        for (task, protocol), group in groups.items():
            recipe = recipe_of(self.bench, group[0])
            options = recipe.evaluate
            key = _evaluation_key(recipe.preset, protocol, options.steps, options.batch)
            item = Item(
                what=f"evaluate, {task}, {protocol}",
                total=len(group),
                done=sum(trial in self.finished for trial in group),
                seconds=self.costs.get(key, _evaluation_rule(recipe, protocol)),
                measured=key in self.costs,
            )
            items.append(item)
        return items


def _evaluation_rule(recipe: Recipe, protocol: Protocol) -> float:
    """Seconds of an evaluation by the rule of thumb."""
    if protocol == "ridge":
        # Training images are embedded twice, test images three times; a third of a step, which goes back too.
        images = 2 * recipe.evaluate.train + 3 * recipe.evaluate.test
        return step_seconds(recipe.preset, images) / 3
    if protocol == "knn":
        # Every image is embedded once.
        return step_seconds(recipe.preset, recipe.evaluate.train + recipe.evaluate.test) / 3
    schedule = SCHEDULES[protocol]
    batch = recipe.evaluate.batch or schedule.batch
    steps = recipe.evaluate.steps or schedule.steps
    return step_seconds(recipe.preset, batch) * steps * EVALUATION[protocol]


def _is_cut(artifact: Artifact, section: PatchesSection) -> bool:
    """Whether an artifact holds key patches of these options.

    Weights are not compared, for they would have to be read.
    """
    if artifact.step != "patches":
        return False
    config = artifact.json(MANIFEST)["config"]
    options = section.model_dump(mode="json", exclude={"weights", "backend"})
    return config["options"] == options and section.backend in ("auto", config["backend"])
