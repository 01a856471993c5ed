"""A cheap proxy of what a selection is worth, without training: how close every image is to a kept one."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from optidel.arrays import Vectors
from optidel.features.neighbours import nearest_rows
from optidel.features.rows import unit
from optidel.pipeline.selections import kept_rows
from optidel.runs.collect import open_store
from optidel.runs.summaries import SelectSummary, read_summary

SAMPLE = (
    5000  # images whose nearest kept one is looked up: the mean is then known to a hundredth of its spread
)

# Budget to coverage.
Curve = dict[float, float]


def coverage(vectors: Vectors, kept: Int64[np.ndarray, "m"], rng: np.random.Generator) -> float:
    """Mean over (a sample of) the rows of the cosine similarity to the nearest kept row.

    Args:
        vectors: float (n, d), memory-mapped if large.
        kept: int64 (m,), rows kept.
        rng: the sample.

    Returns:
        1 where everything is kept.
    """
    sample = np.sort(rng.permutation(len(vectors))[:SAMPLE])
    sample_vectors = unit(np.asarray(vectors[sample]))
    kept_vectors = unit(np.asarray(vectors[np.sort(kept)]))
    _, similarity = nearest_rows(sample_vectors, kept_vectors)
    return float(np.mean(similarity))


def coverage_of_run(root: Path) -> dict[str, Curve]:
    """Method to its coverage, the mean over seeds, for every selection of frames of an embedded corpus."""
    store = open_store(root)
    embeds = store.artifacts("embed")
    if not embeds:
        return {}
    vectors = embeds[-1].array("vectors.npy")

    values: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for select in store.artifacts("select"):
        summary = read_summary(select, SelectSummary)
        # A selection from an earlier state of the corpus has other rows than the embedding.
        same_frames = summary.items == len(vectors)
        if summary.unit == "frame" and summary.budget < 1 and same_frames:
            value = coverage(vectors, kept_rows(select), np.random.default_rng(0))
            values[summary.method][summary.budget].append(value)
    return {method: _means(budgets) for method, budgets in sorted(values.items())}


def _means(budgets: dict[float, list[float]]) -> Curve:
    return {budget: float(np.mean(values)) for budget, values in sorted(budgets.items())}


def predicted_errors(covered: Float[np.ndarray, "k"], y: Float[np.ndarray, "k"]) -> Float[np.ndarray, "i"]:
    """Error of the prediction of each inner point, in order of coverage, by a line through all others.

    Args:
        covered: coverage at each budget, 1 at full.
        y: mean scores.
    """
    order = np.argsort(covered)
    # The ends would be extrapolated; three points leave no inner one to check a line by.
    inner = order[1:-1] if len(y) > 3 else order[:0]
    errors = []
    for row in inner:
        slope, start = np.polyfit(np.delete(covered, row), np.delete(y, row), 1)
        errors.append(slope * covered[row] + start - y[row])
    return np.array(errors)
