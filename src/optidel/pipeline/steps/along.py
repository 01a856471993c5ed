"""Scores along a pre-training: what its encoder was worth before it was trained to the end."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from optidel.runs.summaries import EvaluateSummary, read_summary
from optidel.store import Artifact, Store, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One encoder at one moment of its training, and its scores under one protocol."""

    method: str
    budget: float
    seed: int
    protocol: str
    step: int
    scores: Artifact


def along_step(store: Store, moments: Sequence[Moment]) -> Artifact:
    """Write ``along.parquet``: method, budget, seed, protocol, step and scores, a row for each moment."""

    def make(work: Workspace) -> None:
        rows = []
        for moment in moments:
            scores = read_summary(moment.scores, EvaluateSummary)
            rows.append(
                {
                    "method": moment.method,
                    "budget": moment.budget,
                    "seed": moment.seed,
                    "protocol": moment.protocol,
                    "step": moment.step,
                    **scores.outcomes,
                }
            )
        work.write_table("along.parquet", pl.DataFrame(rows))

    inputs = {
        f"{moment.method}-{moment.seed}-{moment.protocol}-{moment.step}": moment.scores for moment in moments
    }
    return store.build("along", make, version=1, config={}, inputs=inputs)
