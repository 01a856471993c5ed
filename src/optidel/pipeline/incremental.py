"""What a run folder holds of an earlier state of the corpus: rows to copy, a warm-up to keep, choices.

A step that can reuse such a state asks :func:`earlier_states` for the artifacts of its kind and, for each,
where it holds the frames of today.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from jaxtyping import Int64
from numpy import ndarray

from optidel.corpus.reuse import known_rows
from optidel.progress import say
from optidel.runs.summaries import SelectionChange, SelectSummary, read_summary
from optidel.store import MANIFEST, Artifact, Store, newest

if TYPE_CHECKING:
    from optidel.features.embedding import Earlier

# Part of today's frames that an earlier warm-up must have had in its corpus, or a new one is trained.
#
# Below one half the model would know the corpus less well than a sample of it would teach.
SHARE = 0.5


# What two selections must share to be compared.
KIND = ("method", "budget", "seed", "unit")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierState:
    """An artifact, and for each frame of today its row there, int64 (n,), -1 where it is new."""

    artifact: Artifact
    rows: Int64[ndarray, "n"]

    @property
    def count(self) -> int:
        """Frames of today that it holds."""
        in_both = self.rows >= 0
        return int(in_both.sum())


def earlier_states(
    store: Store, step: str, pixels: Artifact, *, config: Mapping[str, Any], version: int
) -> list[EarlierState]:
    """Artifacts of a step that the same code and options made, from this or an earlier state of the corpus.

    Those whose corpus is no longer in the run folder, or was read at another size, are left out.

    Args:
        store: the run.
        step: name of a step that reads ``pixels``.
        pixels: the corpus as it is.
        config: options of the step.
        version: of the step's code.

    Returns:
        Oldest first.
    """
    artifacts = store.artifacts()
    hashes = _hashes(artifacts, pixels)
    states = []
    for artifact in store.artifacts(step):
        manifest = artifact.json(MANIFEST)
        if manifest["config"] != dict(config) or manifest["version"] != version:
            continue

        # The artifact does not say which frames it holds: its pixels lead to their index, which does.
        source = newest(artifacts, artifact.inputs["pixels"])
        if source is None or not _alike(source, pixels):
            continue

        source_hashes = _hashes(artifacts, source)
        if hashes is not None and source_hashes is not None:
            states.append(EarlierState(artifact=artifact, rows=known_rows(source_hashes, hashes)))
    return states


def earlier_warmup(
    store: Store, pixels: Artifact, config: Mapping[str, Any], version: int
) -> Artifact | None:
    """The warm-up to use for a corpus: its own, else the oldest that knew :data:`SHARE` of its frames.

    The oldest stays the answer when later ones are added, so the embedding of a frame that stays is never
    made twice.

    Args:
        store: the run.
        pixels: the corpus as it is.
        config: options of the warm-up.
        version: of the warm-up's code.
    """
    states = earlier_states(store, "warmup", pixels, config=config, version=version)
    for state in states:
        if state.artifact.inputs["pixels"] == pixels.content:
            return state.artifact

    for state in states:
        if state.count >= SHARE * len(state.rows):
            name = state.artifact.path.name
            say(
                f"warmup: {name}, trained on an earlier state of this corpus, is kept; "
                "encoder.reuse = false trains a new one"
            )
            return state.artifact
    return None


def earlier_scores(
    store: Store, pixels: Artifact, inputs: Mapping[str, Artifact], config: Mapping[str, Any], version: int
) -> "Earlier | None":
    """What the same models gave for the earlier state of the corpus that holds most frames of today.

    Args:
        store: the run.
        pixels: the corpus as it is.
        inputs: of the embedding to be made.
        config: of the embedding to be made.
        version: of the embedding's code.
    """
    mae = inputs["mae"].content if "mae" in inputs else None
    states = earlier_states(store, "embed", pixels, config=config, version=version)
    usable = [state for state in states if state.count and state.artifact.inputs.get("mae") == mae]
    if not usable:
        return None
    # The first of those that hold most, which is the oldest.
    best = max(usable, key=lambda state: state.count)

    name, total = best.artifact.path.name, len(best.rows)
    say(
        f"embed: {best.count} of {total} frames are as in {name} and copied from there, "
        f"{total - best.count} are computed"
    )
    from optidel.features.embedding import COPIED, Earlier  # brings torch, which most commands do not need

    for array in COPIED:
        best.artifact.file(f"{array}.npy")  # compared with its hash here, once for all workers
    return Earlier(name=name, folder=best.artifact.path, rows=best.rows)


def _hashes(artifacts: Sequence[Artifact], pixels: Artifact) -> list[str] | None:
    """Pixel hashes of the frames that an artifact was decoded from; None where their index is gone."""
    index = newest(artifacts, pixels.inputs["index"])
    if index is None:
        return None
    frames = index.table("frames.parquet")
    return frames["sha256"].to_list()


def _alike(first: Artifact, second: Artifact) -> bool:
    """Whether two artifacts differ in nothing but their inputs."""
    first_manifest, second_manifest = first.json(MANIFEST), second.json(MANIFEST)
    making = ("step", "version", "config")
    return all(first_manifest[name] == second_manifest[name] for name in making)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Frames by id against an earlier state of the corpus; ``changed`` ones hold other pixels."""

    added: int
    removed: int
    changed: int
    same: int


def changes(before: pl.DataFrame, now: pl.DataFrame) -> Changes:
    """What happened between two tables of frames (columns ``id`` and ``sha256``)."""
    columns = ["id", "sha256"]
    earlier = before.select(columns)
    joined = now.select(columns).join(earlier, on="id", how="left", suffix="_before")

    # A frame that was not there has no hash before.
    equal = joined["sha256"] == joined["sha256_before"]
    same = int(equal.fill_null(False).sum())
    in_both = len(joined) - joined["sha256_before"].null_count()
    added, removed = len(now) - in_both, len(before) - in_both
    return Changes(added=added, removed=removed, changed=in_both - same, same=same)


def since_earlier(
    store: Store, indexed: Artifact, summary: SelectSummary, kept_ids: Sequence[str]
) -> SelectionChange | None:
    """How a choice differs from the newest one of the same kind on another state of the corpus.

    Args:
        store: the run.
        indexed: the corpus as it is.
        summary: of the choice.
        kept_ids: of the items chosen now.

    Returns:
        None without an earlier choice.
    """
    artifacts = store.artifacts()
    for artifact in reversed(store.artifacts("select")):
        earlier = read_summary(artifact, SelectSummary)
        same_kind = all(getattr(earlier, name) == getattr(summary, name) for name in KIND)
        # Selections of the oldest versions do not say of which corpus they are.
        if not same_kind or earlier.index in (None, indexed.content):
            continue

        index = newest(artifacts, earlier.index)
        if index is not None:
            return _change(artifact, index, indexed, summary.method, kept_ids)
    return None


def _change(
    earlier: Artifact, index: Artifact, indexed: Artifact, method: str, kept_ids: Sequence[str]
) -> SelectionChange:
    """Say and return what has become of an earlier choice."""
    before, now = index.table("frames.parquet"), indexed.table("frames.parquet")
    corpus = changes(before, now)
    table = earlier.table("selection.parquet")
    earlier_ids = set(table.filter("kept")["id"])
    still_kept = earlier_ids.intersection(kept_ids)
    change = SelectionChange(
        added=corpus.added,
        removed=corpus.removed,
        changed=corpus.changed,
        earlier=earlier.path.name,
        kept_earlier=len(earlier_ids),
        still_kept=len(still_kept),
    )

    frames = f"{change.added} frames added, {change.removed} removed, {change.changed} changed"
    items = f"{change.still_kept} of the {change.kept_earlier} chosen then stay"
    new = len(kept_ids) - change.still_kept
    say(f"select {method}: since {change.earlier}: {frames}; {items}, {new} are new")
    return change
