"""Frames that belong together, as a selection's group rule needs them."""

from collections.abc import Sequence

from optidel.errors import RecipeError
from optidel.records import Frame, from_table
from optidel.store import Artifact, canonical, digest


def group_labels(frames: Sequence[Frame]) -> list[str]:
    """The group of each frame; a frame of no known group is a group by itself."""
    labels = []
    for frame in frames:
        # No group's name holds the zero character, so the id behind it is no group's name.
        alone = f"\0{frame.id}"
        labels.append(alone if frame.group is None else frame.group)
    return labels


def group_config(indexed: Artifact, groups: str) -> dict[str, str]:
    """What a step's config says of groups: the rule, and a hash of who belongs to whom; else nothing.

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
    grouping = digest(canonical(group_labels(frames)))
    return {"groups": groups, "grouping": grouping}
