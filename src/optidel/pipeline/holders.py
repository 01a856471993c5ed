"""OptiDEL without composition: the whole frames that hold the hardest key patches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from optidel.arrays import Scores
from optidel.errors import BudgetError
from optidel.methods import count_for, select
from optidel.pipeline.reuse import group_config, group_labels, since_earlier
from optidel.pipeline.steps import Groups, Rows, accepted_patches, hardness, kept_content, selection_table
from optidel.recipe import OptidelSection
from optidel.records import Frame, KeyPatch, Selection, from_table
from optidel.store import Artifact, Store, Workspace


def select_holders_step(
    store: Store,
    indexed: Artifact,
    patched: Artifact,
    options: OptidelSection,
    budget: float,
    seed: int,
    groups: Groups = "none",
) -> Artifact:
    """Choose frames by their key patches: each frame is represented by its hardest, and OptiDEL chooses among
    those.

    What differs from composing is only what is trained on: the frame around a hard, diverse patch instead of
    four such patches. A frame without an accepted key patch cannot be chosen.
    """

    def make(work: Workspace) -> None:
        frames = from_table(Frame, indexed.table("frames.parquet"))
        patches = accepted_patches(patched)
        count = count_for(budget, len(frames))
        difficulty = hardness(patched, options.scorer)
        best = hardest_of_each(patches, difficulty)
        if count > len(best):
            raise BudgetError(
                f"optidel without composition: budget {budget:g} of {len(frames)} frames is {count}, "
                f"but only {len(best)} hold a key patch; lower the budget or raise patches.candidates"
            )
        row_of = {frame.id: row for row, frame in enumerate(frames)}
        rows = np.array([row_of[patches[place].frame] for place in best], np.int64)
        rule: dict[str, Any] = (
            {}
            if groups == "none"
            else {"groups": group_labels([frames[row] for row in rows]), "group_rule": groups}
        )
        vectors = np.asarray(patched.array("vectors.npy")[best])
        selection = select(
            vectors,
            "optidel",
            count,
            difficulty=difficulty[best],
            seed=seed,
            diversity=options.diversity,
            **rule,
        )
        table = selection_table([frames[row].id for row in rows], rows, selection)
        work.content = kept_content(table)
        work.write_table("selection.parquet", pl.concat([table, _without(frames, rows)]))
        summary = {
            "method": "optidel",
            "budget": budget,
            "seed": seed,
            "unit": "frame",
            "items": len(frames),
            "kept": count,
        }
        summary |= {"index": indexed.content}
        work.write_json(
            "summary.json",
            summary | since_earlier(store, indexed, summary, table.filter("kept")["id"].to_list()),
        )

    choice = options.model_dump(mode="json", exclude={"grid", "originals"})  # both are of composites
    config = {"method": "optidel", "options": choice, "budget": budget, "seed": seed} | group_config(
        indexed, groups
    )
    return store.build(
        "select", make, version=1, config=config, inputs={"index": indexed, "patches": patched}
    )


def hardest_of_each(patches: Sequence[KeyPatch], difficulty: Scores) -> Rows:
    """For every frame that has any, the place of its hardest patch, the first at a tie; in the order of
    ``patches``.
    """
    best: dict[str, int] = {}
    for place, patch in enumerate(patches):
        if patch.frame not in best or difficulty[place] > difficulty[best[patch.frame]]:
            best[patch.frame] = place
    return np.array(sorted(best.values()), dtype=np.int64)


def _without(frames: Sequence[Frame], rows: Rows) -> pl.DataFrame:
    """The frames that could not be chosen, and why."""
    left = np.setdiff1d(np.arange(len(frames)), rows)
    nothing = Selection(
        indices=np.empty(0, np.int64),
        gains=np.empty(0),
        kept_twin=np.full(len(left), -1, np.int64),
        similarity=np.full(len(left), np.nan),
        reason=np.array([frames[row].flaw or "no key patch" for row in left], dtype=str),
    )
    return selection_table([frames[row].id for row in left], left, nothing)
