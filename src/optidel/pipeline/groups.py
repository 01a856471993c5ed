"""Frames that belong together, as a selection's group rule needs them."""

import polars as pl

from optidel.errors import RecipeError
from optidel.store import Artifact, rows_digest


def group_labels(frames: pl.DataFrame) -> pl.Series:
    """The group of each frame (columns ``id`` and ``group``); one of no known group is a group by itself."""
    # No group's name holds the zero character, so the id behind it is no group's name.
    alone = pl.lit("\0") + pl.col("id")
    return frames.select(pl.coalesce("group", alone))["group"]


def group_config(indexed: Artifact, groups: str) -> dict[str, str]:
    """What a step's config says of groups: the rule, and a hash of who belongs to whom; else nothing.

    Raises:
        RecipeError: a rule, but no frame of a known group.
    """
    if groups == "none":
        return {}

    frames = indexed.table("frames.parquet")
    if frames["group"].null_count() == len(frames):
        raise RecipeError(
            f"selection.groups is {groups!r}, but no frame has a known group; say which with corpus.pattern "
            'or corpus.manifest, or set selection.groups = "none"'
        )
    grouping = rows_digest(group_labels(frames))
    return {"groups": groups, "grouping": grouping}
