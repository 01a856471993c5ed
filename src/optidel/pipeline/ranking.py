"""One ranking for all budgets: the selection of a smaller budget, cut from that of a larger one."""

import polars as pl

from optidel.methods import METHODS, count_for
from optidel.pipeline.steps import kept_content
from optidel.store import Artifact, Store, Workspace

BELOW = "ranked below the budget"


def cut_step(store: Store, ranked: Artifact, budget: float) -> Artifact:
    """The first rows of ``ranked``, a selection of a nested method under a larger budget; a row whose twin
    went has none.

    Its seconds are those of the ranking: whoever wants this budget alone has to rank as well.
    """
    summary = ranked.json("summary.json")
    assert METHODS[summary["method"]].nested, "only what is ranked can be cut"

    def make(work: Workspace) -> None:
        if not work.has("selection.parquet"):
            work.charge(ranked.seconds)
        count = count_for(budget, summary["items"])
        table = cut(ranked.table("selection.parquet"), count)
        work.content = kept_content(table)
        work.write_table("selection.parquet", table)
        summary.pop("since", None)  # counted for the other budget
        work.write_json("summary.json", summary | {"budget": budget, "kept": count})

    return store.build(
        "select",
        make,
        version=1,
        config={"cut": budget, "index": summary["index"]},
        inputs={"ranked": ranked},
    )


def cut(table: pl.DataFrame, count: int) -> pl.DataFrame:
    """A selection's table with only its first ``count`` rows kept."""
    kept = pl.col("rank").is_between(0, count - 1)
    twin_kept = pl.col("twin").is_in(table.filter(kept)["id"].to_list())
    return table.with_columns(
        kept=kept,
        rank=pl.when(kept).then("rank").otherwise(pl.lit(-1, pl.Int64)),
        gain=pl.when(kept).then("gain"),
        twin=pl.when(twin_kept).then("twin"),
        similarity=pl.when(twin_kept).then("similarity"),
        reason=pl.when(pl.col("kept") & ~kept).then(pl.lit(BELOW)).otherwise("reason"),
    )
