"""What a bench's numbers say: means, differences to random, full and the rivals, and ranks."""

from typing import Any

import numpy as np
import polars as pl

from optidel.benchmark.bench import Bench, method_of
from optidel.benchmark.settings import Choice, Matrix, Setting
from optidel.benchmark.tables import Tables
from optidel.evaluation.claims import lack_of_data
from optidel.evaluation.comparisons import Comparison, compare
from optidel.evaluation.intervals import Interval
from optidel.evaluation.table import score_columns
from optidel.methods import ALL_METHODS
from optidel.report.costs import trainings_to_break_even
from optidel.runs.baselines import FULL, RANDOM

RIVALS, BASE = "rivals", "base"
# What methods are compared to, in words.
REFERENCES = {
    RANDOM: "random",
    FULL: "full",
    RIVALS: "the mean of the other selection methods",
    BASE: "the method that it varies",
}

LEAST_RIVALS = 2  # the mean of one is that one, to which the method is compared anyway

COMPARED = {
    "method": pl.String,
    "budget": pl.Float64,
    "reference": pl.String,
    "seeds": pl.Int64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "joint_low": pl.Float64,
    "joint_high": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}


def method_rows(tables: Tables, setting: Setting) -> pl.DataFrame:
    """One row a method and budget.

    Means over seeds and images with intervals, NormDEL, images, seconds, and when they are earned back.
    """
    results = setting.rows(tables.results)
    full = results.filter(pl.col("method") == FULL)
    full_seconds = full["seconds_train"].to_list()
    rows = []
    for choice in setting.scores:
        rows.append(_method_row(setting, choice, results, full_seconds))
    # Columns that are None in every row have no type of their own.
    floats = {"normdel": pl.Float64, "break_even": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=floats)


def _method_row(
    setting: Setting, choice: Choice, results: pl.DataFrame, full_seconds: list[float]
) -> dict[str, Any]:
    method, budget = choice
    seeds = results.filter((pl.col("method") == method) & (pl.col("budget") == budget))
    images = int(seeds["n_images"][0])
    row: dict[str, Any] = {"method": method, "budget": budget, "seeds": len(seeds), "n_images": images}
    kept = seeds["kept"][0] if images else None
    row |= score_columns(setting.outcomes, setting.matrices(choice), kept)
    row["seconds_select"] = seeds["seconds_select"].mean()
    row["seconds_train"] = seeds["seconds_train"].mean()
    row["break_even"] = None
    if 0 < budget < 1 and full_seconds:
        # At equal epochs, training on n of N images saves T · (1 − n/N) of the T seconds of training on all.
        saved = float(np.mean(full_seconds)) * (1 - seeds["kept"].to_numpy().mean())
        row["break_even"] = trainings_to_break_even(row["seconds_select"], float(saved))
    return row


def comparison_rows(bench: Bench, setting: Setting) -> pl.DataFrame:
    """One row a method, budget and reference: paired difference, its intervals, and Holm's p.

    Families, over which corrections count: the methods compared to one reference at one budget. ``rivals`` is
    the mean of every other selection method at that budget, ``random`` and variants left out; ``base`` is the
    method that a variant changes. Where data for a claim are missing, a row has its difference alone.
    """
    # Each family is judged by itself, with a generator of its own: no row depends on which others there are.
    rows = []
    for budget in setting.budgets:
        for reference in REFERENCES:
            differences = _differences(bench, setting, budget, reference)
            judged = compare(list(differences.values()), np.random.default_rng(0))
            for (method, difference), comparison in zip(differences.items(), judged, strict=True):
                row = {"method": method, "budget": budget, "reference": reference}
                rows.append(row | _comparison_columns(difference, comparison))
    return pl.DataFrame(rows, schema=COMPARED)


def _comparison_columns(difference: Matrix, comparison: Comparison) -> dict[str, Any]:
    columns: dict[str, Any] = {"seeds": len(difference), "difference": comparison.interval.mean}
    if not lack_of_data(*difference.shape):
        columns |= _ends("difference", comparison.interval)
        columns |= {"joint_low": comparison.joint.low, "joint_high": comparison.joint.high}
        columns |= {"p": comparison.p, "p_holm": comparison.p_holm}
    return columns


def _differences(bench: Bench, setting: Setting, budget: float, reference: str) -> dict[str, Matrix]:
    """Every method at a budget minus one reference; those that cannot be compared to it are left out."""
    differences = {}
    for method in setting.methods(budget):
        difference = _difference(bench, setting, (method, budget), reference)
        if difference is not None:
            differences[method] = difference
    return differences


def _difference(bench: Bench, setting: Setting, choice: Choice, reference: str) -> Matrix | None:
    method, budget = choice
    base = method_of(bench, method)
    if reference == RIVALS:
        return _to_rivals(setting, choice, base)
    references = {BASE: (base, budget), FULL: (FULL, 1.0), RANDOM: (RANDOM, budget)}
    if references[reference][0] == method:
        return None
    return setting.difference(choice, references[reference])


def _to_rivals(setting: Setting, choice: Choice, base: str) -> Matrix | None:
    """A method minus the mean of every other selection method at its budget."""
    _, budget = choice
    rivals = [(name, budget) for name in setting.methods(budget) if name in ALL_METHODS]
    rivals = [rival for rival in rivals if rival[0] not in (RANDOM, base)]
    # Only seeds that all have: a mean of differences over unequal seeds would mix the seeds into the methods.
    common = set.intersection(*(set(setting.scores[other]) for other in [choice, *rivals]))
    seeds = sorted(common)
    if len(rivals) < LEAST_RIVALS or not seeds:
        return None
    scores = np.array([setting.scores[choice][seed] for seed in seeds])
    rival_scores = np.array([[setting.scores[rival][seed] for seed in seeds] for rival in rivals])
    return np.asarray(scores - rival_scores.mean(axis=0))


def rank_rows(setting: Setting, budget: float) -> pl.DataFrame:
    """Rank of every method at a budget for every seed, 1 the best; only seeds that all of them have.

    Columns: method, seed, rank; ties share the mean of their ranks.
    """
    methods = setting.methods(budget)
    seeds: list[int] = []
    if methods:
        seeds = sorted(set.intersection(*(set(setting.scores[method, budget]) for method in methods)))

    rows = []
    for seed in seeds:
        for method in methods:
            score = setting.scores[method, budget][seed].mean()
            rows.append({"method": method, "seed": seed, "score": score})
    table = pl.DataFrame(rows, schema={"method": pl.String, "seed": pl.Int64, "score": pl.Float64})
    ranks = pl.col("score").rank("average", descending=True).over("seed")
    return table.with_columns(rank=ranks).drop("score")


def concordance(ranks: pl.DataFrame) -> float | None:
    """Kendall's W of the ranks over seeds: 1 the same order every time, 0 none in common.

    None with fewer than 2 seeds or 3 methods.

    Source: Kendall and Babington Smith 1939, without the correction for ties.
    """
    seeds, methods = ranks["seed"].n_unique(), ranks["method"].n_unique()
    if seeds < 2 or methods < 3:
        return None
    sums = ranks.group_by("method").agg(pl.col("rank").sum())["rank"].to_numpy()
    spread = ((sums - sums.mean()) ** 2).sum()
    return float(12 * spread / (seeds**2 * (methods**3 - methods)))


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
