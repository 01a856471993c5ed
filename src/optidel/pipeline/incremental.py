"""What a run folder holds of an earlier state of the corpus: rows to copy, a warm-up to keep, choices to compare.

A step that can reuse such a state asks :func:`earlier_states` for the artifacts of its kind and, for each, where
it holds the frames of today.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from jaxtyping import Int64
from numpy import ndarray

from optidel.corpus.reuse import known_rows
from optidel.features.embedding import Earlier
from optidel.progress import say
from optidel.runs.summaries import SelectionChange, SelectSummary, read_summary
from optidel.store import MANIFEST, Artifact, Store, newest

SHARE = 0.5
"""Part of today's frames that an earlier warm-up must have had in its corpus, or a new one is trained.

Below one half the model would know the corpus less well than a sample of it would teach.
"""


KIND = ("method", "budget", "seed", "unit")
"""What two selections must share to be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierState:
    """An artifact, and for each frame of today its row there, int64 (n,), -1 where it is new."""

    artifact: Artifact
    rows: Int64[ndarray, "n"]

    @property
    def count(self) -> int:
        """Frames of today that it holds."""
        return int((self.rows >= 0).sum())


def earlier_states(
    store: Store, step: str, pixels: Artifact, *, config: Mapping[str, Any], version: int
) -> list[EarlierState]:
    """The artifacts of a step that the same code and options made from this or an earlier state of the corpus.

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
    """The warm-up to use for a corpus: its own, else the oldest that knew at least :data:`SHARE` of its frames.

    The oldest stays the answer when later ones are added, so the embedding of a frame that stays is never made
    twice.

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

    usable = [state.artifact for state in states if state.count >= SHARE * len(state.rows)]
    if not usable:
        return None
    say(
        f"warmup: {usable[0].path.name}, trained on an earlier state of this corpus, is kept; "
        "encoder.reuse = false trains a new one"
    )
    return usable[0]


def earlier_scores(
    store: Store, pixels: Artifact, inputs: Mapping[str, Artifact], config: Mapping[str, Any], version: int
) -> Earlier | None:
    """What the same models gave for the earlier state of the corpus that holds most frames of today.

    Args:
        store: the run.
        pixels: the corpus as it is.
        inputs: of the embedding to be made.
        config: of the embedding to be made.
        version: of the embedding's code.
    """
    models = {name: artifact.content for name, artifact in inputs.items() if name != "pixels"}
    best: EarlierState | None = None
    for state in earlier_states(store, "embed", pixels, config=config, version=version):
        origin = state.artifact.inputs
        same_models = {name: origin[name] for name in origin if name != "pixels"} == models
        if same_models and state.count > (best.count if best else 0):
            best = state
    if best is None:
        return None

    name, total = best.artifact.path.name, len(best.rows)
    say(
        f"embed: {best.count} of {total} frames are as in {name} and copied from there, "
        f"{total - best.count} are computed"
    )
    arrays = {array: best.artifact.array(f"{array}.npy") for array in ("vectors", "error", "error_map")}
    return Earlier(name=name, rows=best.rows, **arrays)


def _hashes(artifacts: Sequence[Artifact], pixels: Artifact) -> list[str] | None:
    """Pixel hashes of the frames that an artifact was decoded from; None where their index is gone."""
    index = newest(artifacts, pixels.inputs["index"])
    return None if index is None else index.table("frames.parquet")["sha256"].to_list()


def _alike(first: Artifact, second: Artifact) -> bool:
    """Whether two artifacts differ in nothing but their inputs."""
    manifests = first.json(MANIFEST), second.json(MANIFEST)
    return all(manifests[0][name] == manifests[1][name] for name in ("step", "version", "config"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Frames by id against an earlier state of the corpus; ``changed`` ones hold other pixels under one id."""

    added: int
    removed: int
    changed: int
    same: int


def changes(before: pl.DataFrame, now: pl.DataFrame) -> Changes:
    """What happened between two tables of frames (columns ``id`` and ``sha256``)."""
    columns = ["id", "sha256"]
    joined = now.select(columns).join(before.select(columns), on="id", how="left", suffix="_before")
    same = int((joined["sha256"] == joined["sha256_before"]).fill_null(False).sum())
    in_both = len(joined) - joined["sha256_before"].null_count()
    return Changes(added=len(now) - in_both, removed=len(before) - in_both, changed=in_both - same, same=same)


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
    corpus = changes(index.table("frames.parquet"), indexed.table("frames.parquet"))
    earlier_ids = set(earlier.table("selection.parquet").filter("kept")["id"])
    stay = len(earlier_ids & set(kept_ids))
    say(
        f"select {method}: since {earlier.path.name}: {corpus.added} frames added, {corpus.removed} removed, "
        f"{corpus.changed} changed; {stay} of the {len(earlier_ids)} chosen then stay, "
        f"{len(kept_ids) - stay} are new"
    )
    return SelectionChange(
        added=corpus.added,
        removed=corpus.removed,
        changed=corpus.changed,
        earlier=earlier.path.name,
        kept_earlier=len(earlier_ids),
        still_kept=stay,
    )
