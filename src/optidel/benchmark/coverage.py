"""A cheap proxy of what a selection is worth: how close every image is to a kept one, over nested budgets; no
training.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from optidel.arrays import Vectors
from optidel.features.neighbours import nearest_rows
from optidel.features.rows import unit
from optidel.pipeline.selections import kept_rows
from optidel.runs.collect import open_store
from optidel.runs.summaries import SelectSummary, read_summary
from optidel.store import Artifact

SAMPLE = 5000
"""Images whose nearest kept one is looked up: the mean over them is known to a hundredth of its spread."""


def coverage(vectors: Vectors, kept: Int64[np.ndarray, "m"], rng: np.random.Generator) -> float:
    """Mean over (a sample of) the rows of the cosine similarity to the nearest kept row; 1 where everything
    is kept.

    Args:
        vectors: float (n, d), memory-mapped if large.
        kept: int64 (m,), rows kept.
        rng: the sample.
    """
    rows = rng.permutation(len(vectors))[:SAMPLE]
    _, similarity = nearest_rows(
        unit(np.asarray(vectors[np.sort(rows)])), unit(np.asarray(vectors[np.sort(kept)]))
    )
    return float(np.mean(similarity))


def coverage_of_run(root: Path) -> dict[str, dict[float, float]]:
    """Method to budget to coverage, the mean over seeds, for every selection of frames in a run folder that
    has an embedding.
    """
    artifacts = open_store(root).artifacts()
    embedded = next((artifact for artifact in reversed(artifacts) if artifact.step == "embed"), None)
    if embedded is None:
        return {}
    vectors = embedded.array("vectors.npy")
    found: dict[str, dict[float, list[float]]] = {}
    for selected in (artifact for artifact in artifacts if artifact.step == "select"):
        summary = read_summary(selected, SelectSummary)
        if summary.unit == "frame" and summary.budget < 1 and _same_frames(selected, len(vectors)):
            value = coverage(vectors, kept_rows(selected), np.random.default_rng(0))
            found.setdefault(summary.method, {}).setdefault(summary.budget, []).append(value)
    return {
        method: {budget: float(np.mean(values)) for budget, values in sorted(budgets.items())}
        for method, budgets in sorted(found.items())
    }


def _same_frames(selected: Artifact, frames: int) -> bool:
    """Whether the selection is of the corpus that was embedded, and not of an earlier state of it."""
    return read_summary(selected, SelectSummary).items == frames


def predicted_errors(covered: Float[np.ndarray, "k"], y: Float[np.ndarray, "k"]) -> Float[np.ndarray, "i"]:
    """Error of the prediction of each inner point, in order of coverage, by a line through all others.

    Args:
        covered: coverage at each budget, 1 at full.
        y: mean scores.
    """
    order = np.argsort(covered)
    inner = order[1:-1] if len(y) > 3 else order[:0]
    errors = []
    for row in inner:
        slope, start = np.polyfit(np.delete(covered, row), np.delete(y, row), 1)
        errors.append(slope * covered[row] + start - y[row])
    return np.array(errors)
