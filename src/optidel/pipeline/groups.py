"""Frames that belong together, as a selection's group rule needs them."""

from collections.abc import Sequence

from optidel.errors import RecipeError
from optidel.records import Frame, from_table
from optidel.store import Artifact, canonical, digest


def group_labels(frames: Sequence[Frame]) -> list[str]:
    """The group of each frame; a frame of no known group is a group by itself."""
    # No group's name holds the zero character, so an id behind it meets no group.
    return [frame.group if frame.group is not None else f"\0{frame.id}" for frame in frames]


def group_config(indexed: Artifact, groups: str) -> dict[str, str]:
    """What a step's config says of groups: the rule and a hash of who belongs to whom; nothing without a rule.

    Raises:
        RecipeError: a rule, but no frame of a known group.
    """
    if groups == "none":
        return {}

    frames = from_table(Frame, indexed.table("frames.parquet"))
    if all(frame.group is None for frame in frames):
        raise RecipeError(
            f"selection.groups is {groups!r}, but no frame has a known group; say which with corpus.pattern "
            'or corpus.manifest, or set selection.groups = "none"'
        )
    return {"groups": groups, "grouping": digest(canonical(group_labels(frames)))}
