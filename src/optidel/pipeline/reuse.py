"""What a run folder knows of a corpus that has grown or changed: the warm-up to keep, the rows to copy, what
a choice has become.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from optidel.corpus.reuse import Rows, known_rows
from optidel.errors import RecipeError
from optidel.features.embedding import Earlier
from optidel.progress import say
from optidel.records import Frame, from_table
from optidel.store import MANIFEST, Artifact, Store, canonical, digest, newest

SHARE = 0.5
"""Of the frames of today, at least this part must be as an earlier warm-up knew its corpus, or a new one is
trained.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Frames by id against an earlier state of the corpus; ``changed`` ones hold other pixels under the same
    id.
    """

    added: int
    removed: int
    changed: int
    same: int


def changes(before: pl.DataFrame, now: pl.DataFrame) -> Changes:
    """What happened between two tables of frames (columns id and sha256)."""
    joined = now.select("id", "sha256").join(
        before.select("id", "sha256"), on="id", how="left", suffix="_before"
    )
    same = int((joined["sha256"] == joined["sha256_before"]).fill_null(False).sum())
    met = len(joined) - joined["sha256_before"].null_count()
    return Changes(added=len(now) - met, removed=len(before) - met, changed=met - same, same=same)


def since_earlier(
    store: Store, indexed: Artifact, summary: Mapping[str, Any], kept: Sequence[str]
) -> dict[str, Any]:
    """How a choice differs from the newest one of the same method, budget and seed on another state of the
    corpus; empty without one.

    Args:
        store: the run.
        indexed: the corpus as it is.
        summary: of the choice: method, budget, seed, unit.
        kept: ids chosen now.
    """
    same = ("method", "budget", "seed", "unit")
    for artifact in reversed(store.artifacts("select")):
        earlier = artifact.json("summary.json")
        if any(earlier[name] != summary[name] for name in same) or earlier.get("index") in (
            None,
            indexed.content,
        ):
            continue
        index = newest(store.artifacts(), earlier["index"])
        if index is None:
            continue
        found = changes(index.table("frames.parquet"), indexed.table("frames.parquet"))
        chosen = set(artifact.table("selection.parquet").filter("kept")["id"])
        stay = len(chosen & set(kept))
        say(
            f"select {summary['method']}: since {artifact.path.name}: {found.added} frames added, {found.removed} removed, "
            f"{found.changed} changed; {stay} of the {len(chosen)} chosen then stay, {len(kept) - stay} are new"
        )
        counts = {"added": found.added, "removed": found.removed, "changed": found.changed}
        return {
            "since": counts | {"earlier": artifact.path.name, "kept_earlier": len(chosen), "still_kept": stay}
        }
    return {}


def earlier_warmup(
    store: Store, pixels: Artifact, config: Mapping[str, Any], version: int
) -> Artifact | None:
    """The warm-up to use for a corpus: its own where it is finished, else the oldest of the same options that
    knew most of the corpus.

    The oldest, because it stays the answer when later ones are added, so the embedding of frames that stay is
    never made twice.

    Args:
        store: the run.
        pixels: the corpus as it is.
        config: options of the warm-up.
        version: of the warm-up's code.
    """
    states = _States(store, pixels)
    known: list[Artifact] = []
    for artifact in store.artifacts("warmup"):
        manifest = artifact.json(MANIFEST)
        if manifest["config"] != dict(config) or manifest["version"] != version:
            continue
        if manifest["inputs"]["pixels"] == pixels.content:
            return artifact
        rows = states.rows(manifest["inputs"]["pixels"])
        if rows is not None and (rows >= 0).sum() >= SHARE * len(rows):
            known.append(artifact)
    if not known:
        return None
    say(
        f"warmup: {known[0].path.name}, trained on an earlier state of this corpus, is kept; encoder.reuse = false trains a new one"
    )
    return known[0]


def earlier_scores(
    store: Store, pixels: Artifact, inputs: Mapping[str, Artifact], config: Mapping[str, Any], version: int
) -> Earlier | None:
    """What the same models gave for an earlier state of the corpus, of those there are the one that knows
    most frames of today.

    Args:
        store: the run.
        pixels: the corpus as it is.
        inputs: of the embedding wanted.
        config: of the embedding wanted.
        version: of the embedding's code.
    """
    states = _States(store, pixels)
    best, most = None, 0
    for artifact in store.artifacts("embed"):
        manifest = artifact.json(MANIFEST)
        others = {name: content for name, content in manifest["inputs"].items() if name != "pixels"}
        if (manifest["config"], manifest["version"]) != (dict(config), version):
            continue
        if others != {name: given.content for name, given in inputs.items() if name != "pixels"}:
            continue
        known = states.rows(manifest["inputs"]["pixels"])
        if known is not None and (count := int((known >= 0).sum())) > most:
            best, most = (artifact, known), count
    if best is None:
        return None
    artifact, known = best
    say(
        f"embed: {most} of {len(known)} frames are as in {artifact.path.name} and copied from there, {len(known) - most} are computed"
    )
    arrays = {name: artifact.array(f"{name}.npy") for name in ("vectors", "error", "error_map")}
    return Earlier(name=artifact.path.name, rows=known, **arrays)


class _States:
    """The corpus as it is beside earlier states of it; what the run holds is listed once."""

    def __init__(self, store: Store, pixels: Artifact) -> None:
        self.artifacts = store.artifacts()
        self.pixels = pixels
        self.hashes = self._hashes(pixels)

    def rows(self, content: str) -> Rows | None:
        """For each frame of today its row in the pixels of that content, or -1; None where these are gone or
        were made otherwise.
        """
        before = newest(self.artifacts, content)
        if before is None or self.hashes is None or not _same_making(before, self.pixels):
            return None
        earlier = self._hashes(before)
        return None if earlier is None else known_rows(earlier, self.hashes)

    def _hashes(self, pixels: Artifact) -> list[str] | None:
        index = newest(self.artifacts, pixels.inputs["index"])
        return None if index is None else index.table("frames.parquet")["sha256"].to_list()


def _same_making(one: Artifact, two: Artifact) -> bool:
    """Whether two artifacts differ in nothing but their inputs."""
    first, second = one.json(MANIFEST), two.json(MANIFEST)
    return all(first[name] == second[name] for name in ("step", "version", "config"))


def group_labels(frames: Sequence[Frame]) -> list[str]:
    """The group of each frame; a frame of no known group is one of its own."""
    return [frame.group if frame.group is not None else f"\0{frame.id}" for frame in frames]


def group_config(indexed: Artifact, groups: str) -> dict[str, str]:
    """What a step's config says of groups: nothing without a rule, else the rule and a hash of who belongs to
    whom.

    Raises:
        RecipeError: a rule, but no frame of a known group.
    """
    if groups == "none":
        return {}
    frames = from_table(Frame, indexed.table("frames.parquet"))
    if all(frame.group is None for frame in frames):
        raise RecipeError(
            f"selection.groups is {groups!r}, but no frame has a known group; say which with corpus.pattern or corpus.manifest, "
            'or set selection.groups = "none"'
        )
    return {"groups": groups, "grouping": digest(canonical(group_labels(frames)))}
