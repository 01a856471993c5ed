"""The run: which steps follow which, for every method and seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from optidel.corpus.index import Corpus, index_step, listing
from optidel.errors import RecipeError, nearest
from optidel.methods import METHODS
from optidel.models.encoders import load_encoder
from optidel.models.presets import PRESETS
from optidel.models.segmenter import Protocol
from optidel.pipeline.patches import patches_step
from optidel.pipeline.results import result_step
from optidel.pipeline.steps import (
    WHOLE,
    compose_step,
    embed_step,
    evaluate_step,
    kept_rows,
    pixels_step,
    pretrain_step,
    select_patches_step,
    select_step,
    task_step,
)
from optidel.progress import say
from optidel.recipe import Recipe, load_recipe, make_recipe
from optidel.report import write_report
from optidel.report.collect import Cell
from optidel.store import Artifact, Store
from optidel.training.pretrain import PretrainOptions

STEPS = ("index", "embed", "select", "patches", "compose", "pretrain", "evaluate")
"""What a run can stop after; the result and the report follow the last."""

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run: ``table`` one row a method and protocol, ``cells`` one row a method, seed and protocol, ``report`` the page."""

    table: pl.DataFrame
    cells: pl.DataFrame
    report: Path


def run(recipe: Recipe | dict[str, Any] | str | Path) -> Result:
    """Run a recipe from images to report; what was done before, by this or a killed run, is reused.

    Args:
        recipe: a Recipe, its values, or the path of a TOML file.

    Raises:
        OptidelError: input, recipe or run folder cannot be used; what was computed stays.
    """
    if not isinstance(recipe, Recipe):
        recipe = make_recipe(recipe) if isinstance(recipe, dict) else load_recipe(recipe)
    return Pipeline(recipe).finish()


class Pipeline:
    """The artifacts of a recipe, each made when first asked for."""

    def __init__(self, recipe: Recipe) -> None:
        """Check the recipe's names and open the run folder; nothing is computed yet."""
        for method in recipe.methods:
            if method not in METHODS:
                raise RecipeError(f"unknown method {method!r}{nearest(method, METHODS)}; there are {', '.join(METHODS)}")
        self.recipe = recipe
        self.preset = PRESETS[recipe.preset]
        self.store = Store(recipe.out)

    @cached_property
    def index(self) -> Artifact:
        """Frames and quarantined files."""
        return self._told(index_step(self.store, Path(self.recipe.images), self.recipe.corpus.axes))

    @cached_property
    def corpus(self) -> Corpus:
        """The indexed corpus."""
        return Corpus.load(self.index)

    @cached_property
    def pixels(self) -> Artifact:
        """Every frame at the preset's size."""
        return self._told(pixels_step(self.store, self.index, self.preset.size))

    @cached_property
    def mae(self) -> Artifact | str:
        """The masked autoencoder that scores: the one given, or one warmed up on a sample of the corpus."""
        options = self.recipe.encoder
        if options.weights and load_encoder(options.weights, self.preset.size).kind == "vit_mae":
            return options.weights
        schedule = PretrainOptions(steps=options.steps, batch=self.recipe.pretrain.batch, lr=self.recipe.pretrain.lr, sample=options.sample)
        return self._told(pretrain_step(self.store, "warmup", self.pixels, None, self.recipe.preset, schedule, options.seed, {}))

    @cached_property
    def embed(self) -> Artifact:
        """Embeddings, difficulty and error maps."""
        weights = self.recipe.encoder.weights if isinstance(self.mae, Artifact) else None
        return self._told(embed_step(self.store, self.pixels, self.mae, weights, self.recipe.encoder.seed))

    @cached_property
    def patches(self) -> Artifact:
        """Key patches."""
        options, seed = self.recipe.patches, self.recipe.encoder.seed
        return self._told(patches_step(self.store, self.index, self.embed, self.mae, self.preset.size, options, seed))

    @cached_property
    def task(self) -> Artifact:
        """The labelled set."""
        if not self.recipe.labelled:
            raise RecipeError("evaluation needs a labelled set; pass --labelled DIR (or labelled = in the recipe), with images/ and masks/")
        folder = Path(self.recipe.labelled)
        return self._told(task_step(self.store, folder, self.preset.size, self.recipe.evaluate, listing(folder)))

    def budget(self, method: str) -> float:
        """The fraction a method may keep: all of it for the reference."""
        return 1.0 if method == "full" else self.recipe.budget

    def select(self, method: str, seed: int) -> Artifact:
        """What a method keeps."""
        if METHODS[method].unit == "key patch":
            budget, options = self.budget(method), self.recipe.optidel
            return self._told(select_patches_step(self.store, self.patches, options, budget, len(self.corpus), seed))
        embedded = None if method in WHOLE else self.embed
        return self._told(select_step(self.store, self.index, embedded, method, self.budget(method), seed))

    def compose(self, method: str, seed: int) -> Artifact | None:
        """The new images of a method that makes some."""
        if METHODS[method].unit != "key patch":
            return None
        grid, size = self.recipe.optidel.grid, self.preset.size
        return self._told(compose_step(self.store, self.index, self.patches, self.select(method, seed), grid, size, seed))

    def pretrain(self, method: str, seed: int) -> Artifact:
        """The encoder pre-trained on what a method keeps or makes."""
        composed, selected = self.compose(method, seed), self.select(method, seed)
        pixels, rows = (composed, None) if composed else (self.pixels, kept_rows(selected))
        count = len(pixels.array("pixels.npy")) if rows is None else len(rows)
        section = self.recipe.pretrain
        steps = section.steps if section.compute == "steps" else max(1, round(section.steps * count / len(self.corpus)))
        options = PretrainOptions(objective=section.objective, steps=steps, batch=section.batch, lr=section.lr)
        return self._told(pretrain_step(self.store, "pretrain", pixels, rows, self.recipe.preset, options, seed, {"select": selected}))

    def evaluate(self, method: str, seed: int, protocol: Protocol) -> Artifact:
        """Scores on the labelled set; method ``scratch`` is an untrained encoder."""
        encoder = None if method == SCRATCH else self.pretrain(method, seed)
        return self._told(evaluate_step(self.store, self.task, encoder, self.recipe.preset, protocol, self.recipe.evaluate, seed))

    def cells(self) -> Iterator[Cell]:
        """Every method and seed, seed by seed, so that an interrupted run is a fair comparison as far as it got."""
        for seed in self.recipe.seeds:
            for method in (SCRATCH, *self.recipe.methods):
                scratch = method == SCRATCH
                yield Cell(
                    method=method,
                    budget=0.0 if scratch else self.budget(method),
                    seed=seed,
                    select=None if scratch else self.select(method, seed),
                    compose=None if scratch else self.compose(method, seed),
                    pretrain=None if scratch else self.pretrain(method, seed),
                    evaluate={protocol: self.evaluate(method, seed, protocol) for protocol in self.recipe.evaluate.protocols},
                )

    def until(self, step: str) -> list[Artifact]:
        """Go as far as ``step`` for every method and seed, and return its artifacts."""
        pairs = [(method, seed) for seed in self.recipe.seeds for method in self.recipe.methods]
        if step in ("index", "embed", "patches"):
            return [getattr(self, step)]
        if step == "evaluate":
            return [artifact for cell in self.cells() for artifact in cell.evaluate.values()]
        made = [getattr(self, step)(method, seed) for method, seed in pairs]
        return [artifact for artifact in made if artifact is not None]

    def finish(self) -> Result:
        """Everything, the tables and the page."""
        self.task  # noqa: B018  a labelled set that cannot be used should be known before hours of training
        cells = list(self.cells())
        shared = {"index": self.index, "pixels": self.pixels, "embed": self.embed, "task": self.task}
        if isinstance(self.mae, Artifact):
            shared["warmup"] = self.mae
        if any(METHODS[method].unit == "key patch" for method in self.recipe.methods):
            shared["patches"] = self.patches
        result = result_step(self.store, self.recipe, shared, cells)
        report = write_report(self.store.root, result)
        return Result(table=result.table("table.parquet"), cells=result.table("cells.parquet"), report=report)

    def _told(self, artifact: Artifact) -> Artifact:
        if artifact.path not in self._seen:
            self._seen.add(artifact.path)
            say(f"{artifact.step:<9} {artifact.path.name}  {artifact.seconds:.1f} s")
        return artifact

    @cached_property
    def _seen(self) -> set[Path]:
        return set()
