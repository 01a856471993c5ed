"""The pipeline: which steps follow which, for every method and seed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from optidel.arrays import Indices
from optidel.corpus.frames import Corpus
from optidel.corpus.index import index_step, listing
from optidel.corpus.names import names_of
from optidel.corpus.options import IndexOptions
from optidel.corpus.tags import Tags, load_tags
from optidel.errors import BudgetError, RecipeError
from optidel.mapping import Plan
from optidel.methods import MEASURED_ON_HELD_OUT, count_for, method_named
from optidel.models.presets import PRESETS, make_views
from optidel.pipeline.incremental import earlier_warmup
from optidel.pipeline.parameters import check_methods, held_out_needed, parameters
from optidel.pipeline.published import check_conflicts, registry_of
from optidel.pipeline.selections import kept_frequencies, kept_rows
from optidel.pipeline.steps.clean import clean_step
from optidel.pipeline.steps.compose import compose_step
from optidel.pipeline.steps.holdout import check_holdout, holdout_step, share_of, unseen_step
from optidel.pipeline.steps.leaks import leaks_step
from optidel.pipeline.steps.pixels import keeps_all, pixels_step, subset_step
from optidel.pipeline.steps.prints import prints_step
from optidel.pipeline.steps.result import result_step
from optidel.pipeline.steps.select import Composites, SelectOptions, Sources, select_step
from optidel.pipeline.steps.tag import tag_step
from optidel.pipeline.steps.target import apart_step, target_step, target_vectors_step
from optidel.pipeline.steps.task import task_step
from optidel.pipeline.steps.whiten import whiten_step
from optidel.pipeline.weights import Weights
from optidel.progress import say
from optidel.recipe import EXECUTION, Protocol, Recipe, ScorerName
from optidel.remote import here, place
from optidel.report import write_report
from optidel.report.leaks import sentence
from optidel.runs.baselines import BLIND, FULL, PIXELS, SCRATCH, UNTRAINED
from optidel.runs.collect import Trial
from optidel.runs.summaries import IndexSummary, SelectSummary, read_summary
from optidel.store import Artifact, Store
from optidel.training.dealing import Frequencies
from optidel.training.loggers import available
from optidel.training.options import Execution, PretrainOptions

if TYPE_CHECKING:
    from optidel.pipeline.steps.pretrain import Subset

# Steps of a pre-training over steps of a proxy, by default. Twenty proxies then took half as long as one
# pre-training, less than a tenth of a run with a warm-up and four or more encoders.
PROXY_PART = 8

# What a run can stop after; the result and the report follow the last.
STEPS = ("index", "embed", "select", "patches", "compose", "pretrain", "evaluate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run.

    ``table`` has a row a method and protocol, ``cells`` a row a method, seed and protocol; ``report`` is the
    page.

    Example:
        >>> import optidel
        >>> result = optidel.run("recipe.toml")  # doctest: +SKIP
        >>> result.table.select("method", "miou")  # doctest: +SKIP
    """

    table: pl.DataFrame
    cells: pl.DataFrame
    report: Path


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the pipelines of one bench have in common.

    ``listed``, ``whole`` and ``index`` are the frames of the corpus: all, without dropped test images, and
    without those that are held out (``holdout``); so files that change meanwhile change nothing. ``tags`` are
    what a person decided. ``ranking``
    gives a method its largest budget: a nested method (a smaller budget keeps the first of a larger one)
    ranks the frames once, and smaller budgets are cut from that. ``announced`` are the folders of the
    artifacts that were reported.
    """

    store: Store
    listed: Artifact
    whole: Artifact
    holdout: Artifact | None = None
    tags: Tags = field(default_factory=Tags)
    ranking: Mapping[str, float] = field(default_factory=dict)
    announced: set[Path] = field(default_factory=set)

    @property
    def index(self) -> Artifact:
        """The frames that may be chosen and trained on."""
        return self.holdout or self.whole

    @cached_property
    def corpus(self) -> Corpus:
        """The indexed corpus, loaded once for all pipelines."""
        return Corpus.load(self.index)

    @cached_property
    def looking(self) -> "Shared":
        """The same for pipelines that make nothing: their artifacts are named, and not all exist."""
        store = Store(self.store.root, look=True)
        return replace(self, store=store)


class Pipeline:
    """The artifacts of a recipe, each made when first asked for."""

    def __init__(self, recipe: Recipe, shared: Shared | None = None) -> None:
        """Check the recipe's names and open the run folder; nothing is computed yet.

        Args:
            recipe: every option of the run.
            shared: what the pipelines of a bench have in common; None for a run on its own.

        Raises:
            RecipeError: an unknown method, or a parameter that a method does not have.
        """
        # A name that is wrong is told before a folder is made.
        check_methods(recipe)
        available(recipe.pretrain.loggers)  # a logger that is not installed is said before anything is made
        self.recipe = recipe
        self.plan = Plan(**recipe.work.model_dump())
        self.preset = PRESETS[recipe.preset]
        self.store = shared.store if shared else Store(recipe.out)
        self._shared = shared
        self._announced = shared.announced if shared else set[Path]()

    @cached_property
    def listed(self) -> Artifact:
        """All frames of the folder, without those that a person dropped."""
        if self._shared:
            return self._shared.listed

        if not self.tags.drop:
            return self._indexed
        return self._announce(tag_step(self.store, self._indexed, self.tags))

    @cached_property
    def _indexed(self) -> Artifact:
        """All frames of the folder, those that a person dropped too."""
        index = index_step(self.store, place(self.recipe.images), self._reading, self.plan)
        return self._announce(index)

    @property
    def _reading(self) -> IndexOptions:
        """How files are read."""
        section = self.recipe.corpus
        own_keys = section.model_dump(exclude={"limits", "holdout", "tags", "cache"})
        return IndexOptions(**own_keys, **section.limits.model_dump())

    @cached_property
    def tags(self) -> Tags:
        """What a person decided about single frames; nothing without a file of tags.

        Raises:
            InputError: the file cannot be used.
        """
        if self._shared:
            return self._shared.tags
        path = self.recipe.corpus.tags
        if path is None:
            return Tags()
        ids = self._indexed.table("frames.parquet")["id"].to_list()
        tags = load_tags(Path(path), ids, names_of("hashed", self.store.root))
        counted = f"{len(tags.keep)} keep, {len(tags.drop)} drop, {len(tags.again)} look again"
        say(f"tags: {counted}; dropped frames leave the corpus, kept ones are always chosen")
        return tags

    @cached_property
    def whole(self) -> Artifact:
        """Frames and quarantined files; without the test images, where the recipe drops leaks, and without
        target images.
        """
        if self._shared:
            return self._shared.whole
        return self.without_target(self.cleaned(self.listed))

    @cached_property
    def target(self) -> Artifact | None:
        """Unlabelled images of the target; None where the recipe names none."""
        folder = self.recipe.selection.target
        if folder is None:
            return None
        return self._announce(target_step(self.store, here(place(folder)), self._reading, self.preset.size))

    def without_target(self, index: Artifact) -> Artifact:
        """An index without the frames that are target images; as it is where there is no target."""
        if self.target is None:
            return index
        return self._announce(apart_step(self.store, index, self.target))

    @cached_property
    def target_vectors(self) -> Artifact | None:
        """Vectors of the target images, as methods compare them; None where the recipe names no target."""
        if self.target is None:
            return None
        section = self.recipe.encoder
        weights = section.weights if self.mae.artifact else None
        whitens = self.recipe.features.post == "whiten"
        vectors = target_vectors_step(
            self.store,
            self.target,
            self.embed,
            self.mae,
            weights,
            section.seed,
            self.index if whitens else None,
        )
        return self._announce(vectors)

    @cached_property
    def holdout(self) -> Artifact | None:
        """The corpus without the frames that are held out, and a table of those; None where none are."""
        if self._shared:
            return self._shared.holdout
        return self.held_out(self.whole)

    def held_out(self, index: Artifact) -> Artifact | None:
        """An index without this recipe's held-out frames, and a table of those; None where there are none.

        Raises:
            RecipeError: a share that was asked for cannot be held out.
        """
        section = self.recipe.corpus
        share = share_of(section.holdout, read_summary(index, IndexSummary).frames)
        if not share:
            return None

        holdout = holdout_step(self.store, index, share)
        if section.holdout:
            check_holdout(holdout, share)
        count = read_summary(holdout, IndexSummary).held_out
        return self._announce(holdout) if count else None

    @cached_property
    def index(self) -> Artifact:
        """The frames that may be chosen and trained on."""
        return self.holdout or self.whole

    def cleaned(self, index: Artifact) -> Artifact:
        """An index without this recipe's test images, where it drops leaks; else the index as it is."""
        if self.recipe.leaks != "drop" or self.leaks is None:
            return index
        cleaned = clean_step(self.store, index, self.leaks)
        return self._announce(cleaned)

    @cached_property
    def corpus(self) -> Corpus:
        """The indexed corpus."""
        if self._shared:
            return self._shared.corpus
        return Corpus.load(self.index)

    @cached_property
    def leaks(self) -> Artifact | None:
        """Test images that lie in the corpus; None without a labelled set, or where nobody asks."""
        recipe = self.recipe
        if recipe.leaks == "off" or not recipe.labelled:
            return None

        images, labelled = place(recipe.images), here(place(recipe.evaluate.test_on or recipe.labelled))
        # All frames are compared, also those that another task's leaks took out.
        leaks = leaks_step(self.store, self.listed, self.task, labelled, self.plan)
        if leaks.path not in self._announced:
            drop = recipe.leaks == "drop"
            say(f"leaks: {sentence(leaks, drop=drop)}")
            registry = registry_of(recipe.registry)
            if isinstance(images, Path):  # a known set is told by its folder's files
                check_conflicts(images, labelled, registry, leaks, drop=drop)
        return self._announce(leaks)

    @cached_property
    def unseen(self) -> Artifact | None:
        """The held-out frames at the preset's size; None where none are held out."""
        if self.holdout is None:
            return None
        unseen = unseen_step(self.store, self.holdout, self.preset.size)
        return self._announce(unseen)

    @cached_property
    def pixels(self) -> Artifact:
        """Every frame at the preset's size."""
        cache = self.recipe.corpus.cache
        return self._announce(pixels_step(self.store, self.index, self.preset.size, self.plan, cache))

    @cached_property
    def _keeps_all(self) -> bool:
        """Whether the pixels of every frame are kept."""
        frames = read_summary(self.index, IndexSummary).frames
        return keeps_all(self.recipe.corpus.cache, frames, self.preset.size)

    def _subset(self, rows: Indices) -> "Subset | None":
        """The pixels of some frames, where not those of all are kept; None where they are."""
        from optidel.pipeline.steps.pretrain import Subset

        if self._keeps_all:
            return None
        # In the order of the corpus, in which a batch is read whatever order chose it.
        frames, places = np.unique(rows, return_inverse=True)
        pixels = subset_step(self.store, self.index, frames, self.preset.size, self.plan)
        return Subset(pixels=self._announce(pixels), rows=places)

    @cached_property
    def mae(self) -> Weights:
        """The masked autoencoder that scores: the one given, or one warmed up on a sample of the corpus."""
        section = self.recipe.encoder
        if section.weights:
            from optidel.models.encoders import load_encoder

            # Another kind of encoder has no reconstruction error, so a warm-up scores beside it.
            encoder = load_encoder(section.weights, self.preset.size)
            if encoder.kind == "vit_mae":
                return Weights(name=section.weights)

        return Weights(artifact=self._announce(self._warmup()))

    def _warmup(self) -> Artifact:
        """The warm-up of an earlier state of the corpus, where there is one to keep; else one of its own."""
        from optidel.pipeline.checkpoints import warmup_moments
        from optidel.pipeline.steps import pretrain as pretraining
        from optidel.training.pretrain import drawn

        section, preset = self.recipe.encoder, self.recipe.preset
        options = PretrainOptions(
            steps=section.steps,
            batch=self.recipe.pretrain.batch,
            lr=self.recipe.pretrain.lr,
            sample=section.sample,
            execution=self._execution,
        )
        if section.reuse:
            config = pretraining.pretrain_config(preset, options, section.seed)
            earlier = earlier_warmup(self.store, self.pixels, config, pretraining.VERSION)
            if earlier:
                return earlier
        loggers = available(self.recipe.pretrain.loggers)
        shown = drawn(len(self.corpus), None, options, section.seed)
        return pretraining.pretrain_step(
            self.store,
            "warmup",
            self.pixels,
            None,
            preset,
            options,
            section.seed,
            {},
            loggers=loggers,
            moments=warmup_moments(section.steps),
            subset=self._subset(shown),
        )

    @cached_property
    def embed(self) -> Artifact:
        """Embeddings, difficulty and error maps."""
        from optidel.pipeline.steps.embed import embed_step

        section = self.recipe.encoder
        # An autoencoder that was given makes the vectors itself, in the pass that scores.
        weights = section.weights if self.mae.artifact else None
        embed = embed_step(self.store, self.pixels, self.mae, weights, section.seed, self.plan)
        return self._announce(embed)

    @cached_property
    def prints(self) -> Artifact:
        """What is kept of every frame to find its copies."""
        return self._announce(prints_step(self.store, self.whole, self.plan))

    @cached_property
    def patches(self) -> Artifact:
        """Key patches."""
        from optidel.pipeline.steps.patches import patches_step

        section, seed, size = self.recipe.patches, self.recipe.encoder.seed, self.preset.size
        patches = patches_step(self.store, self.index, self.embed, self.mae, size, section, seed, self.plan)
        return self._announce(patches)

    @cached_property
    def whitened(self) -> Artifact | None:
        """The embedding, whitened; None where methods compare it as it is."""
        if self.recipe.features.post == "none":
            return None
        whitened = whiten_step(self.store, self.index, self.embed)
        return self._announce(whitened)

    @property
    def compared(self) -> Artifact:
        """The vectors of frames that methods compare."""
        return self.whitened or self.embed

    def check_held_out(self, method: str) -> None:
        """Refuse a method that is guided by held-out frames where there are none.

        Raises:
            RecipeError: says what to set.
        """
        if method_named(method).needs in MEASURED_ON_HELD_OUT and self.unseen is None:
            raise RecipeError(held_out_needed(method))

    @cached_property
    def influence(self) -> Artifact:
        """Influence of every frame on the held-out V-entropy."""
        from optidel.pipeline.steps.influence import influence_step

        self.check_held_out("influence")
        assert self.unseen is not None, "checked above"
        seed = self.recipe.encoder.seed
        influence = influence_step(self.store, self.pixels, self.unseen, self.mae, self.compared, seed)
        return self._announce(influence)

    @cached_property
    def mixture(self) -> Artifact:
        """Concepts, and the shares of them at which the least held-out V-entropy is expected."""
        from optidel.pipeline.steps.mixture import MixtureOptions, mixture_step

        self.check_held_out("mixture")
        assert self.unseen is not None, "checked above"
        section, training = self.recipe.mixture, self.recipe.pretrain
        # Always a masked autoencoder from untrained weights: what is measured is what the images teach it.
        options = PretrainOptions(
            steps=section.steps or max(1, training.steps // PROXY_PART),
            batch=training.batch,
            lr=training.lr,
            views=make_views(training.views, training.crop, training.flip, training.jitter),
            execution=self._execution,
        )
        mixture = mixture_step(
            self.store,
            self.index,
            self.pixels,
            self.unseen,
            self.compared,
            self.recipe.preset,
            MixtureOptions(proxies=section.proxies, concepts=section.concepts, training=options),
            self.recipe.encoder.seed,
        )
        return self._announce(mixture)

    @cached_property
    def whitened_patches(self) -> Artifact | None:
        """The key patches' embedding, whitened; None where methods compare it as it is."""
        if self.recipe.features.post == "none":
            return None
        whitened = whiten_step(self.store, None, self.patches)
        return self._announce(whitened)

    @cached_property
    def task(self) -> Artifact:
        """The labelled set."""
        if not self.recipe.labelled:
            raise RecipeError(
                "evaluation needs a labelled set; pass --labelled DIR (or labelled = in the recipe), "
                "with images/ and masks/, or a folder for each class"
            )
        folder, size = here(place(self.recipe.labelled)), self.preset.size
        registry = registry_of(self.recipe.registry)
        # Volumes are cut and shown as those of the corpus are.
        shown = IndexOptions(axes=tuple(self.recipe.corpus.axes), window=self.recipe.corpus.window)
        task = task_step(self.store, folder, size, self.recipe.evaluate, listing(folder), registry, shown)
        return self._announce(task)

    def budget(self, method: str) -> float:
        """The fraction a method may keep: all of it for the reference."""
        if method == FULL:
            return 1.0
        return self.recipe.budget

    def select(self, method: str, seed: int) -> Artifact:
        """What a method keeps."""
        options = self._select_options(method, seed)
        sources = self._sources(method)
        largest = self._largest_budget(options)
        if largest is not None:
            # More than there are sound frames is no fault of the smaller budget.
            with suppress(BudgetError):
                # How often frames are shown depends on the choice, so a ranking does not say it.
                ranking = replace(options, budget=largest, sampling="uniform")
                unweighted = replace(sources, space=None)
                ranked = self._announce(select_step(self.store, unweighted, ranking))
                return self._announce(select_step(self.store, sources, options, ranked))
        return self._announce(select_step(self.store, sources, options))

    def _select_options(self, method: str, seed: int) -> SelectOptions:
        options = SelectOptions(
            method=method,
            budget=self.budget(method),
            seed=seed,
            groups=self.recipe.selection.groups,
            scorer=self._scorer(method),
            params=parameters(self.recipe, method),
            keep=() if method == FULL else self.tags.keep,  # it keeps them in any case
        )
        if method_named(method).unit == "frame":
            return replace(options, sampling=self.recipe.pretrain.sampling)

        section = self.recipe.optidel
        options = replace(options, scorer=section.scorer)
        if not section.composition:
            return replace(options, sampling=self.recipe.pretrain.sampling)
        composites = Composites(grid=section.grid, originals=section.originals)
        return replace(options, composites=composites)

    def _scorer(self, method: str) -> ScorerName:
        """The difficulty that a method of whole frames reads."""
        entry = method_named(method)
        # The recipe's scorer takes the place of the usual one, and of none that a method is named after.
        if entry.needs == "difficulty" and entry.scorer == "error":
            return self.recipe.selection.scorer
        return entry.scorer

    def hardness(self, scorer: ScorerName) -> Artifact | None:
        """The difficulty of every frame; None where it follows from the errors of the embedding alone."""
        if scorer not in ("learnability", "scale-free"):
            return None
        return self._hardness(self.pixels, self.embed, scorer)

    @property
    def patch_hardness(self) -> Artifact | None:
        """The difficulty of every key patch; None where it follows from their errors alone."""
        scorer = self.recipe.optidel.scorer
        if scorer not in ("learnability", "scale-free"):
            return None
        return self._hardness(self.patches, self.patches, scorer)

    def _hardness(self, pixels: Artifact, scored: Artifact, scorer: ScorerName) -> Artifact:
        from optidel.pipeline.steps.hardness import hardness_step

        seed = self.recipe.encoder.seed
        return self._announce(hardness_step(self.store, pixels, scored, self.mae, scorer, seed))

    def _sources(self, method: str) -> Sources:
        sources = self._compared_sources(method)
        # What composites are made of stands for no frame.
        if self.recipe.pretrain.sampling == "uniform" or self.composes(method):
            return sources
        return replace(sources, space=self.compared)

    def _compared_sources(self, method: str) -> Sources:
        if method_named(method).unit == "key patch":
            return Sources(
                index=self.index,
                patches=self.patches,
                whitened=self.whitened_patches,
                hardness=self.patch_hardness,
            )
        if method in BLIND:
            return Sources(index=self.index)
        needs = method_named(method).needs
        return Sources(
            index=self.index,
            embed=self.embed,
            whitened=self.whitened,
            hardness=self.hardness(self._scorer(method)),
            target=self.target_vectors if needs == "target" else None,
            influence=self.influence if needs == "influences" else None,
            mixture=self.mixture if needs == "mixture" else None,
        )

    def _largest_budget(self, options: SelectOptions) -> float | None:
        """The larger budget that a bench ranks a nested method for; None where this budget is its own."""
        if self._shared is None:
            return None
        # Shares of groups depend on the count, so under a group rule no method is nested. Key patches are
        # chosen for composites, a share of them for whole frames: they are not cut either. Nor is what a
        # person kept.
        method = method_named(options.method)
        if options.keep or not method.nested or method.unit == "key patch" or options.groups != "none":
            return None

        largest = self._shared.ranking.get(options.method, options.budget)
        return largest if largest > options.budget else None

    def composes(self, method: str) -> bool:
        """Whether a method's key patches become new images."""
        of_patches = method_named(method).unit == "key patch"
        return of_patches and self.recipe.optidel.composition

    def deals(self, method: str) -> bool:
        """Whether a method's key patches are dealt into new images at every step."""
        return self.composes(method) and self.recipe.optidel.compose == "deal"

    def compose(self, method: str, seed: int) -> Artifact | None:
        """The new images of a method that makes some."""
        if not self.composes(method):
            return None
        selected = self.select(method, seed)
        grid, size = self.recipe.optidel.grid, self.preset.size
        if self.deals(method):
            grid = 1  # the pool: every patch is a picture of its own
        composed = compose_step(self.store, self.index, self.patches, selected, grid, size, seed)
        return self._announce(composed)

    def pretrain(self, method: str, seed: int) -> Artifact:
        """The encoder pre-trained on what a method keeps or makes."""
        from optidel.pipeline.steps.pretrain import pretrain_step

        composed, selected = self.compose(method, seed), self.select(method, seed)
        # Composites are an artifact of their own; frames are rows of all frames.
        pixels = composed or self.pixels
        rows = None if composed else kept_rows(selected)

        whole = 0
        if self.deals(method):
            whole = read_summary(selected, SelectSummary).originals or 0

        section, preset = self.recipe.pretrain, self.recipe.preset
        frequencies = None
        if section.sampling != "uniform" and composed is None:
            weights, concepts = kept_frequencies(selected)
            frequencies = Frequencies(weights=weights, concepts=concepts)
        options = PretrainOptions(
            objective=section.objective,
            steps=self._pretrain_steps(method),
            batch=section.batch,
            lr=section.lr,
            views=make_views(section.views, section.crop, section.flip, section.jitter),
            target=section.target,
            weights=section.weights,
            layer_decay=section.layer_decay,
            tiles=self.recipe.optidel.grid if self.deals(method) else 1,
            whole=whole,
            alone=self.recipe.optidel.alone if self.deals(method) else 0.0,
            at=self._moments_of(method),
            sampling=section.sampling if frequencies else "uniform",
            execution=self._execution,
        )
        # The choice is an input by what it keeps: methods that choose alike share their encoder.
        extra = {"select": selected}
        loggers = available(section.loggers)
        encoder = pretrain_step(
            self.store,
            "pretrain",
            pixels,
            rows,
            preset,
            options,
            seed,
            extra,
            loggers=loggers,
            frequencies=frequencies,
            subset=None if rows is None else self._subset(rows),
        )
        return self._announce(encoder)

    @property
    def _execution(self) -> Execution:
        """How the steps of every pre-training are computed."""
        return Execution(**{name: getattr(self.recipe.pretrain, name) for name in EXECUTION})

    def _pretrain_steps(self, method: str) -> int:
        """Optimizer steps: the same for all, or as many as give the same passes over the method's images."""
        section = self.recipe.pretrain
        if section.compute == "steps":
            return section.steps
        frames = len(self.corpus)
        share = count_for(self.budget(method), frames) / frames
        return max(1, round(section.steps * share))

    def entropy(self, method: str, seed: int) -> Artifact | None:
        """Held-out V-entropy of a method's encoder; None where no frames are held out."""
        from optidel.pipeline.steps.entropy import entropy_step

        if self.unseen is None:
            return None
        encoder, objective = self.pretrain(method, seed), self.recipe.pretrain.objective
        entropy = entropy_step(self.store, self.unseen, encoder, objective)
        return self._announce(entropy)

    def _moments_of(self, method: str) -> tuple[int, ...]:
        """Numbers of steps, short of all, after which the encoder is scored too."""
        steps = self._pretrain_steps(method)
        moments = {round(share * steps) for share in self.recipe.evaluate.at or ()}
        return tuple(sorted(moments & set(range(1, steps))))

    def along(self) -> Artifact | None:
        """Scores of every method and seed along its pre-training; None where the recipe wants none."""
        from optidel.pipeline.steps.along import Moment, along_step

        moments = []
        for seed, method in product(self.recipe.seeds, self.recipe.methods):
            for protocol in self.recipe.evaluate.protocols:
                for step in self._moments_of(method):
                    moment = Moment(
                        method=method,
                        budget=self.budget(method),
                        seed=seed,
                        protocol=protocol,
                        step=step,
                        scores=self.evaluate(method, seed, protocol, at=step),
                    )
                    moments.append(moment)
        return self._announce(along_step(self.store, moments)) if moments else None

    def evaluate(self, method: str, seed: int, protocol: Protocol, at: int | None = None) -> Artifact:
        """Scores on the labelled set, after ``at`` steps; method ``scratch`` is an untrained encoder,
        ``pixels`` none at all.
        """
        from optidel.pipeline.steps.evaluate import evaluate_step

        encoder = None if method in UNTRAINED else self.pretrain(method, seed)
        section, preset = self.recipe.evaluate, self.recipe.preset
        raw = method == PIXELS
        scores = evaluate_step(self.store, self.task, encoder, preset, protocol, section, seed, at, raw=raw)
        return self._announce(scores)

    def cells(self) -> Iterator[Trial]:
        """Every method and seed, seed by seed: an interrupted run is a fair comparison as far as it got."""
        for seed in self.recipe.seeds:
            for method in (SCRATCH, *self.recipe.methods):
                yield self.cell(method, seed)

    def cell(self, method: str, seed: int) -> Trial:
        """One method, or an untrained encoder, at one seed, from its selection to its scores."""
        protocols = self.recipe.evaluate.protocols
        scores: dict[str, Artifact] = {
            protocol: self.evaluate(method, seed, protocol) for protocol in protocols
        }
        if method in UNTRAINED:
            return Trial(
                method=method,
                budget=0.0,
                seed=seed,
                select=None,
                compose=None,
                pretrain=None,
                evaluate=scores,
            )
        return Trial(
            method=method,
            budget=self.budget(method),
            seed=seed,
            select=self.select(method, seed),
            compose=self.compose(method, seed),
            pretrain=self.pretrain(method, seed),
            evaluate=scores,
            entropy=self.entropy(method, seed),
        )

    def shared(self, methods: Sequence[str]) -> dict[str, Artifact]:
        """What the cells of ``methods`` have in common, by role."""
        choosing = [method for method in methods if method not in UNTRAINED]
        shared = {"index": self.index, "pixels": self.pixels, "task": self.task}
        if self.leaks:
            shared["leaks"] = self.leaks
        if self.unseen:
            shared["unseen"] = self.unseen
        if any(self._looks(method) for method in choosing):
            shared["embed"] = self.embed
            if self.mae.artifact:
                shared["warmup"] = self.mae.artifact
        of_patches = [method for method in choosing if method_named(method).unit == "key patch"]
        if of_patches:
            shared["patches"] = self.patches
            if self.whitened_patches:
                shared["whitened patches"] = self.whitened_patches
            if self.patch_hardness:
                shared["patch hardness"] = self.patch_hardness
        # Asked last: asking for the whitened embedding makes it, and blind methods need none.
        compares_frames = [method for method in choosing if self._looks(method) and method not in of_patches]
        if compares_frames and self.whitened:
            shared["whitened"] = self.whitened
        needs = {method_named(method).needs for method in choosing}
        if "target" in needs and self.target_vectors:
            shared["target"] = self.target_vectors
        for method in compares_frames:
            hardness = self.hardness(self._scorer(method))
            if hardness:
                shared["hardness"] = hardness
        if "influences" in needs:
            shared["influence"] = self.influence
        if "mixture" in needs:
            shared["mixture"] = self.mixture
        return shared

    def _looks(self, method: str) -> bool:
        """Whether a method needs the embedding: to choose, or to say how often each frame is shown."""
        return method not in BLIND or self.recipe.pretrain.sampling != "uniform"

    def until(self, step: str) -> list[Artifact]:
        """Go as far as ``step`` for every method and seed, and return its artifacts."""
        if step in ("index", "embed", "patches"):
            return self.build(step)
        # From scratch is evaluated too, which no other step knows.
        if step == "evaluate":
            return [artifact for cell in self.cells() for artifact in cell.evaluate.values()]

        artifacts = []
        for seed in self.recipe.seeds:
            for method in self.recipe.methods:
                artifacts.append(getattr(self, step)(method, seed))
        return [artifact for artifact in artifacts if artifact is not None]

    def build(self, *roles: str) -> list[Artifact]:
        """Make artifacts that do not depend on the method (``index``, ``task``, …), and return those."""
        artifacts = [getattr(self, role) for role in roles]
        return [artifact for artifact in artifacts if artifact is not None]

    def finish(self) -> Result:
        """Everything, the tables and the page."""
        # A labelled set that cannot be used, test images in the corpus, and a budget that rounds to nothing
        # should be known before hours of training.
        self.build("task", "leaks")
        for method in self.recipe.methods:
            count_for(self.budget(method), len(self.corpus))
            self.check_held_out(method)

        cells = list(self.cells())
        self.along()
        result = result_step(self.store, self.recipe, self.shared(self.recipe.methods), cells)
        report = write_report(self.store.root, result)
        return Result(table=result.table("table.parquet"), cells=result.table("cells.parquet"), report=report)

    def _announce(self, artifact: Artifact) -> Artifact:
        """Report an artifact when it is first used."""
        if self.store.look or artifact.path in self._announced:
            return artifact

        self._announced.add(artifact.path)
        say(f"{artifact.step:<9} {artifact.path.name}  {artifact.seconds:.1f} s")
        return artifact
