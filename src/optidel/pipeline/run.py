"""The run: which steps follow which, for every method and seed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from optidel.corpus.frames import Corpus
from optidel.corpus.index import index_step, listing
from optidel.corpus.options import IndexOptions
from optidel.errors import BudgetError, RecipeError, nearest
from optidel.methods import METHODS, count_for
from optidel.models.encoders import load_encoder
from optidel.models.presets import PRESETS
from optidel.models.segmenter import Protocol
from optidel.pipeline.holders import select_holders_step
from optidel.pipeline.known import check_conflicts, registry_of
from optidel.pipeline.overlap import clean_step, leaks_step
from optidel.pipeline.patches import patches_step
from optidel.pipeline.ranking import cut_step
from optidel.pipeline.results import result_step
from optidel.pipeline.reuse import earlier_warmup
from optidel.pipeline.steps import (
    PRETRAIN,
    WHOLE,
    compose_step,
    embed_step,
    evaluate_step,
    kept_rows,
    pixels_step,
    pretrain_config,
    pretrain_step,
    select_patches_step,
    select_step,
    task_step,
)
from optidel.progress import say
from optidel.recipe import Recipe, load_recipe, make_recipe
from optidel.report import write_report
from optidel.report.leaks import sentence
from optidel.runs.collect import Trial
from optidel.store import Artifact, Store
from optidel.training.pretrain import PretrainOptions

STEPS = ("index", "embed", "select", "patches", "compose", "pretrain", "evaluate")
"""What a run can stop after; the result and the report follow the last."""

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run: ``table`` one row a method and protocol, ``cells`` one row a method, seed and protocol,
    ``report`` the page.
    """

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

    def __init__(
        self,
        recipe: Recipe,
        *,
        base: "Pipeline | None" = None,
        ranking: Mapping[str, float] | None = None,
        look: bool = False,
    ) -> None:
        """Check the recipe's names and open the run folder; nothing is computed yet.

        Args:
            recipe: every option of the run.
            base: a pipeline over the same corpus, whose index is taken over, so that files that change
                meanwhile change nothing.
            ranking: method to a budget. Nested methods (a smaller budget keeps the first of a larger one)
                rank the frames once, for this budget, and smaller ones are cut from it.
            look: make nothing: artifacts are named, not all exist.
        """
        for method in recipe.methods:
            if method not in METHODS:
                raise RecipeError(
                    f"unknown method {method!r}{nearest(method, METHODS)}; there are {', '.join(METHODS)}"
                )
        self.recipe = recipe
        self.preset = PRESETS[recipe.preset]
        self.store: Store = base.store if base and not look else Store(recipe.out, look=look)
        self.ranking = ranking or {}
        self._base = base
        self._seen: set[Path] = base._seen if base else set()

    @cached_property
    def index(self) -> Artifact:
        """Frames and quarantined files; without the test images, where the recipe drops leaks."""
        if self._base:
            return self._base.index
        if self.recipe.leaks == "drop" and self.leaks:
            return self._told(clean_step(self.store, self.listed, self.leaks))
        return self.listed

    @cached_property
    def leaks(self) -> Artifact | None:
        """Which test images lie in the corpus; None without a labelled set, or where the recipe does not ask."""
        if self.recipe.leaks == "off" or not self.recipe.labelled:
            return None
        found = leaks_step(self.store, self.listed, self.task, Path(self.recipe.labelled))
        if found.path not in self._seen:
            drop = self.recipe.leaks == "drop"
            say(f"leaks: {sentence(found, drop=drop)}")
            check_conflicts(
                Path(self.recipe.images),
                Path(self.recipe.labelled),
                registry_of(self.recipe.registry),
                found,
                drop=drop,
            )
        return self._told(found)

    @cached_property
    def listed(self) -> Artifact:
        """All frames of the folder."""
        if self._base:
            return self._base.listed
        section = self.recipe.corpus
        options = IndexOptions(**section.model_dump(exclude={"limits"}), **section.limits.model_dump())
        return self._told(index_step(self.store, Path(self.recipe.images), options))

    @cached_property
    def corpus(self) -> Corpus:
        """The indexed corpus."""
        return self._base.corpus if self._base else Corpus.load(self.index)

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
        schedule = PretrainOptions(
            steps=options.steps,
            batch=self.recipe.pretrain.batch,
            lr=self.recipe.pretrain.lr,
            sample=options.sample,
        )
        config = pretrain_config(self.recipe.preset, schedule, options.seed)
        earlier = earlier_warmup(self.store, self.pixels, config, PRETRAIN) if options.reuse else None
        return self._told(
            earlier
            or pretrain_step(
                self.store, "warmup", self.pixels, None, self.recipe.preset, schedule, options.seed, {}
            )
        )

    @cached_property
    def embed(self) -> Artifact:
        """Embeddings, difficulty and error maps."""
        weights = self.recipe.encoder.weights if isinstance(self.mae, Artifact) else None
        return self._told(embed_step(self.store, self.pixels, self.mae, weights, self.recipe.encoder.seed))

    @cached_property
    def patches(self) -> Artifact:
        """Key patches."""
        options, seed = self.recipe.patches, self.recipe.encoder.seed
        return self._told(
            patches_step(self.store, self.index, self.embed, self.mae, self.preset.size, options, seed)
        )

    @cached_property
    def task(self) -> Artifact:
        """The labelled set."""
        if not self.recipe.labelled:
            raise RecipeError(
                "evaluation needs a labelled set; pass --labelled DIR (or labelled = in the recipe), with images/ and masks/"
            )
        folder = Path(self.recipe.labelled)
        known = registry_of(self.recipe.registry)
        return self._told(
            task_step(self.store, folder, self.preset.size, self.recipe.evaluate, listing(folder), known)
        )

    def budget(self, method: str) -> float:
        """The fraction a method may keep: all of it for the reference."""
        return 1.0 if method == "full" else self.recipe.budget

    def select(self, method: str, seed: int) -> Artifact:
        """What a method keeps."""
        groups, budget = self.recipe.selection.groups, self.budget(method)
        if METHODS[method].unit == "key patch":
            choose = select_patches_step if self.recipe.optidel.composition else select_holders_step
            return self._told(
                choose(self.store, self.index, self.patches, self.recipe.optidel, budget, seed, groups)
            )
        embedded = None if method in WHOLE else self.embed
        largest = self.ranking.get(method, budget)
        # Shares of groups depend on the count, so under a group rule no method is nested.
        if METHODS[method].nested and groups == "none" and budget < largest:
            with suppress(
                BudgetError
            ):  # more than there are sound frames, which is no fault of the smaller budget
                ranked = self._told(
                    select_step(self.store, self.index, embedded, method, largest, seed, groups)
                )
                return self._told(cut_step(self.store, ranked, budget))
        return self._told(select_step(self.store, self.index, embedded, method, budget, seed, groups))

    def compose(self, method: str, seed: int) -> Artifact | None:
        """The new images of a method that makes some."""
        if METHODS[method].unit != "key patch" or not self.recipe.optidel.composition:
            return None
        grid, size = self.recipe.optidel.grid, self.preset.size
        return self._told(
            compose_step(self.store, self.index, self.patches, self.select(method, seed), grid, size, seed)
        )

    def pretrain(self, method: str, seed: int) -> Artifact:
        """The encoder pre-trained on what a method keeps or makes."""
        composed, selected = self.compose(method, seed), self.select(method, seed)
        pixels, rows = (composed, None) if composed else (self.pixels, kept_rows(selected))
        section = self.recipe.pretrain
        steps = section.steps
        if section.compute == "epochs":
            frames = len(self.corpus)
            steps = max(1, round(steps * count_for(self.budget(method), frames) / frames))
        options = PretrainOptions(
            objective=section.objective, steps=steps, batch=section.batch, lr=section.lr
        )
        return self._told(
            pretrain_step(
                self.store, "pretrain", pixels, rows, self.recipe.preset, options, seed, {"select": selected}
            )
        )

    def evaluate(self, method: str, seed: int, protocol: Protocol) -> Artifact:
        """Scores on the labelled set; method ``scratch`` is an untrained encoder."""
        encoder = None if method == SCRATCH else self.pretrain(method, seed)
        return self._told(
            evaluate_step(
                self.store, self.task, encoder, self.recipe.preset, protocol, self.recipe.evaluate, seed
            )
        )

    def cells(self) -> Iterator[Trial]:
        """Every method and seed, seed by seed, so that an interrupted run is a fair comparison as far as it
        got.
        """
        for seed in self.recipe.seeds:
            for method in (SCRATCH, *self.recipe.methods):
                yield self.cell(method, seed)

    def cell(self, method: str, seed: int) -> Trial:
        """One method, or an untrained encoder, at one seed, from its selection to its scores."""
        scratch = method == SCRATCH
        return Trial(
            method=method,
            budget=0.0 if scratch else self.budget(method),
            seed=seed,
            select=None if scratch else self.select(method, seed),
            compose=None if scratch else self.compose(method, seed),
            pretrain=None if scratch else self.pretrain(method, seed),
            evaluate={
                protocol: self.evaluate(method, seed, protocol) for protocol in self.recipe.evaluate.protocols
            },
        )

    def shared(self, methods: Sequence[str]) -> dict[str, Artifact]:
        """What the cells of ``methods`` have in common, by role."""
        shared = {"index": self.index, "pixels": self.pixels, "task": self.task}
        if self.leaks:
            shared["leaks"] = self.leaks
        if any(method not in (SCRATCH, *WHOLE) for method in methods):
            shared["embed"] = self.embed
            if isinstance(self.mae, Artifact):
                shared["warmup"] = self.mae
        if any(method != SCRATCH and METHODS[method].unit == "key patch" for method in methods):
            shared["patches"] = self.patches
        return shared

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
        self.leaks  # noqa: B018  and so should test images in the corpus
        for method in self.recipe.methods:  # and a budget that rounds to nothing
            count_for(self.budget(method), len(self.corpus))
        cells = list(self.cells())
        result = result_step(self.store, self.recipe, self.shared(self.recipe.methods), cells)
        report = write_report(self.store.root, result)
        return Result(table=result.table("table.parquet"), cells=result.table("cells.parquet"), report=report)

    def _told(self, artifact: Artifact) -> Artifact:
        if artifact.path not in self._seen and not self.store.look:
            self._seen.add(artifact.path)
            say(f"{artifact.step:<9} {artifact.path.name}  {artifact.seconds:.1f} s")
        return artifact
