"""The choice: which items a method keeps at a budget, and why each stayed or went."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from optidel.arrays import Indices, Vectors
from optidel.errors import BudgetError
from optidel.features.clusters import cluster
from optidel.methods import count_for, select
from optidel.methods.mixture import ConceptShares
from optidel.methods.weights import CLIP, balanced_weights, clipped, mass_of
from optidel.pipeline.groups import group_config, group_labels
from optidel.pipeline.incremental import since_earlier
from optidel.pipeline.items import Items, Scored, frame_items, holder_items, patch_items
from optidel.pipeline.selections import (
    BELOW,
    cut,
    kept_content,
    kept_first,
    refused_table,
    selection_table,
)
from optidel.pipeline.steps.whiten import sound_rows
from optidel.progress import say
from optidel.recipe import Sampling, ScorerName
from optidel.runs.baselines import BLIND
from optidel.runs.summaries import SelectSummary, read_summary, write_summary
from optidel.store import MANIFEST, Artifact, Store, Workspace

# Of the code of this step. Before 4 four functions with versions of their own wrote selections.
VERSION = 4

Groups = Literal["none", "spread", "together"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Composites:
    """What key patches become: images of ``grid`` patches, and an ``originals`` share of whole frames."""

    grid: int
    originals: float

    def counts(self, images: int) -> tuple[int, int]:
        """Key patches to choose for so many images, and how many of the images are whole frames."""
        # Rounded down, so that at least one image is a composite.
        whole = int(self.originals * images)
        patches = (images - whole) * self.grid + whole
        return patches, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectOptions:
    """What a choice depends on beside the corpus.

    ``budget`` is a fraction of the frames. ``params`` are the method's own parameters, only those that differ
    from its defaults, so that a parameter that a later version adds leaves older choices valid.
    ``composites`` says how key patches become images; it is None where the frames around them are kept.
    ``keep`` are ids of frames that a person keeps whatever the method says. With another ``sampling`` than
    ``uniform`` the choice says how often each of its frames is shown.
    """

    method: str
    budget: float
    seed: int
    groups: Groups = "none"
    scorer: ScorerName = "error"
    params: Mapping[str, Any] = field(default_factory=dict)
    composites: Composites | None = None
    keep: tuple[str, ...] = ()
    sampling: Sampling = "uniform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a choice is made from: always the index; ``embed`` for frames, ``patches`` for key patches.

    ``whitened`` are the vectors of these, whitened; None where methods compare them as they are. ``hardness``
    holds the difficulty of frames where the errors alone do not give it. ``target`` are vectors of the images
    that the method aims at, ``influence`` and ``mixture`` what was measured on held-out frames; each is None
    where the method does not read it. ``space`` are the vectors in which frames stand for others, where the
    choice says how often each is shown.
    """

    index: Artifact
    embed: Artifact | None = None
    patches: Artifact | None = None
    whitened: Artifact | None = None
    hardness: Artifact | None = None
    target: Artifact | None = None
    influence: Artifact | None = None
    mixture: Artifact | None = None
    space: Artifact | None = None

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """Those there are, by role."""
        artifacts = {
            "index": self.index,
            "embed": self.embed,
            "patches": self.patches,
            "whiten": self.whitened,
            "hardness": self.hardness,
            "target": self.target,
            "influence": self.influence,
            "mixture": self.mixture,
            "space": self.space,
        }
        return {role: artifact for role, artifact in artifacts.items() if artifact}

    def guides(self, rows: Indices) -> dict[str, Any]:
        """What a method reads beside vectors and difficulty, by the names of its arguments.

        Args:
            rows: int64 (n,), the frames that can be chosen.
        """
        guides: dict[str, Any] = {}
        if self.target:
            guides["target"] = self.target.array("vectors.npy")
        if self.influence:
            guides["influences"] = np.asarray(self.influence.array("influence.npy")[rows])
        if self.mixture:
            concepts = np.asarray(self.mixture.array("concepts.npy")[rows])
            shares = np.asarray(self.mixture.array("shares.npy"))
            guides["mixture"] = ConceptShares(concepts=concepts, shares=shares)
        return guides


def select_step(
    store: Store, sources: Sources, options: SelectOptions, ranked: Artifact | None = None
) -> Artifact:
    """Choose items with any method.

    Args:
        store: the run.
        sources: the items.
        options: method, budget, seed and parameters.
        ranked: a choice of the same nested method under a larger budget. Its first rows are then taken, and
            its seconds count here too: whoever wants this budget alone has to rank as well.

    Raises:
        BudgetError: the budget asks for more items than can be chosen.
        RecipeError: a group rule without groups, or a parameter out of range.
    """

    def make(work: Workspace) -> None:
        frames = sources.index.table("frames.parquet").select("id", "group", "sha256", "flaw")
        count, whole = _count(options, len(frames))
        _tell_of_earlier_version(store, options)

        # A ranking's first rows are the choice at a smaller budget, whatever the seed.
        if ranked is None:
            table = _choose(sources, options, frames, count)
        else:
            if not work.has("selection.parquet"):  # else it was counted before a kill
                work.charge(ranked.seconds)
            table = cut(ranked.table("selection.parquet"), count)
        if options.sampling != "uniform":
            table = _with_frequencies(table, sources, options)
        work.content = kept_content(table)
        work.write_table("selection.parquet", table)

        summary = SelectSummary(
            method=options.method,
            budget=options.budget,
            seed=options.seed,
            unit="key patch" if options.composites else "frame",
            items=len(table),
            kept=count,
            index=sources.index.content,
            originals=whole if options.composites else None,
        )
        kept_ids = table.filter("kept").sort("rank")["id"].to_list()
        change = since_earlier(store, sources.index, summary, kept_ids)
        write_summary(work, replace(summary, since=change))

    config = _config(sources, options)
    inputs = sources.artifacts
    # What is cut depends on the ranking alone, and on the corpus that its budget is a fraction of.
    if ranked is not None:
        inputs = {"ranked": ranked}
        if sources.space:
            inputs["space"] = sources.space
        config |= {"index": sources.index.content}
    return store.build("select", make, version=VERSION, config=config, inputs=inputs)


def _config(sources: Sources, options: SelectOptions) -> dict[str, Any]:
    """What of the options decides the choice."""
    params = {name: plain(value) for name, value in options.params.items()}
    config: dict[str, Any] = {
        "method": options.method,
        "budget": options.budget,
        "seed": options.seed,
        "scorer": options.scorer,
        "params": params,
    }
    if options.composites:
        config["composites"] = asdict(options.composites)
    if options.sampling != "uniform":
        config["sampling"] = options.sampling
    if options.keep:
        config["keep"] = list(options.keep)
    config |= group_config(sources.index, options.groups)
    return config


def plain(value: Any) -> Any:
    """A parameter as a JSON value: infinity, which JSON does not have, is its name."""
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value


def _count(options: SelectOptions, frames: int) -> tuple[int, int]:
    """Items to keep, and how many images stay whole frames where key patches become images."""
    images = count_for(options.budget, frames)
    if options.composites is None:
        return images, 0
    return options.composites.counts(images)


def _choose(sources: Sources, options: SelectOptions, frames: pl.DataFrame, count: int) -> pl.DataFrame:
    """Run the method on its items, and write down what became of every item."""
    items = _items(sources, options, frames)
    if count > len(items):
        raise BudgetError(_shortage(sources, options, len(frames), count, len(items)))

    refused = items.refused
    refused_rows = refused_table(refused.ids, refused.rows, refused.reasons)
    kept = _kept_by_person(options, items, count)
    if not len(kept):
        return pl.concat([_selected(sources, options, items, frames, count), refused_rows])

    rest = items.without(kept)
    if count == len(kept):
        unchosen = refused_table(rest.ids, rest.rows, pl.repeat(BELOW, len(rest), eager=True))
    else:
        unchosen = _selected(sources, options, rest, frames, count - len(kept))
    return pl.concat([kept_first(items.ids, items.rows, kept, unchosen), refused_rows])


def _selected(
    sources: Sources, options: SelectOptions, items: Items, frames: pl.DataFrame, count: int
) -> pl.DataFrame:
    """What the method makes of items."""
    rule: dict[str, Any] = {}
    if options.groups != "none":
        labels = group_labels(frames)
        rule = {"groups": labels.gather(items.frames).to_list(), "group_rule": options.groups}
    selection = select(
        items.vectors,
        options.method,
        count,
        difficulty=items.difficulty,
        seed=options.seed,
        **sources.guides(items.rows),
        **rule,
        **options.params,
    )
    return selection_table(items.ids, items.rows, selection)


def _kept_by_person(options: SelectOptions, items: Items, count: int) -> Indices:
    """Positions of the items that a person keeps, int64 (k,); none of key patches.

    Raises:
        BudgetError: more than the budget.
    """
    if items.unit != "frame" or not options.keep:
        return np.empty(0, np.int64)
    kept = np.flatnonzero(items.ids.is_in(list(options.keep)).to_numpy())
    if len(kept) > count:
        raise BudgetError(
            f"{options.method}: {len(kept)} frames are tagged keep, and budget {options.budget:g} is "
            f"{count}; raise the budget or tag fewer"
        )
    return kept


def _items(sources: Sources, options: SelectOptions, frames: pl.DataFrame) -> Items:
    scored = sources.patches or sources.embed
    scores = None
    if scored:
        vectors = (sources.whitened or scored).array("vectors.npy")
        scores = Scored(
            artifact=scored,
            vectors=vectors,
            scorer=options.scorer,
            hardness=sources.hardness,
            seed=options.seed,
        )

    if sources.patches is None or scores is None:
        # The baselines are what nobody looked at; every other method would waste its budget on blank frames.
        keep_flawed = options.method in BLIND
        return frame_items(frames, scores, keep_flawed=keep_flawed)
    if options.composites:
        return patch_items(frames, scores)
    return holder_items(frames, scores)


def _with_frequencies(table: pl.DataFrame, sources: Sources, options: SelectOptions) -> pl.DataFrame:
    """A choice of whole frames with the weight of each kept one, and, for balanced batches, its concept."""
    assert sources.space is not None, "the pipeline passes it where frames are shown unevenly"
    kept = table.filter("kept").sort("rank")
    items = kept["item"].to_numpy()
    vectors: Vectors = sources.space.array("vectors.npy")
    columns = {"id": kept["id"]}
    if options.sampling == "balanced":
        rng = np.random.default_rng(options.seed)
        concepts = cluster(np.asarray(vectors[items]), rng=rng).labels
        columns["weight"] = pl.Series(balanced_weights(concepts))
        columns["concept"] = pl.Series(concepts)
    else:
        # Worthless frames need nobody to stand for them, but a blind method may have kept some.
        rows = np.union1d(sound_rows(sources.index), items)
        mass = mass_of(np.asarray(vectors[rows]), np.searchsorted(rows, items))
        columns["weight"] = pl.Series(clipped(mass, CLIP))
    return table.join(pl.DataFrame(columns), on="id", how="left", maintain_order="left")


def _shortage(sources: Sources, options: SelectOptions, frames: int, count: int, items: int) -> str:
    """Why a budget cannot be met, in the terms of what is chosen."""
    method, budget = options.method, f"budget {options.budget:g}"
    if sources.patches is None:
        asks = f"{method}: {budget} asks for {count} of {frames} frames"
        return f"{asks}, {items} are not blank or dark; lower it"
    if options.composites is None:
        return (
            f"{method} without composition: {budget} of {frames} frames is {count}, "
            f"but only {items} hold a key patch; lower the budget or raise patches.candidates"
        )

    grid = options.composites.grid
    _, whole = _count(options, frames)
    composites = (count - whole) // grid
    asks = f"{method}: {budget} of {frames} frames is {composites} composites of {grid} key patches"
    return (
        f"{asks}, {count} in all, but there are {items}; lower the budget, raise patches.points or "
        "patches.candidates, or lower optidel.grid"
    )


def _tell_of_earlier_version(store: Store, options: SelectOptions) -> None:
    """Say where a choice that an earlier version made is made anew."""
    trial = options.method, options.budget, options.seed
    for artifact in reversed(store.artifacts("select")):
        if artifact.json(MANIFEST)["version"] >= VERSION:
            continue

        summary = read_summary(artifact, SelectSummary)
        if (summary.method, summary.budget, summary.seed) == trial:
            say(
                f"select {options.method}: {artifact.path.name} was made by an earlier version and is made "
                "anew; the old folder is not read and may be deleted"
            )
            return
