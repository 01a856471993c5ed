"""The audit of a corpus: what is blank, blurred, burned in or there twice, and a page that shows it. Nothing
is deleted.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from optidel.corpus.frames import Corpus
from optidel.corpus.names import names_of
from optidel.corpus.quality import Thresholds
from optidel.errors import RecipeError
from optidel.pipeline.pipeline import Pipeline
from optidel.pipeline.steps.audit import audit_step
from optidel.recipe import Recipe
from optidel.report.audit import write_page
from optidel.report.audit_page import RULES, audit_page
from optidel.runs.summaries import AuditSummary, read_summary

# Thresholds that are fractions of a frame.
FRACTIONS = ("dark", "saturated", "border", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found: ``counts`` by mark; ``redundant`` frames are copies or near-copies of an earlier one;
    ``sampled`` for text.
    """

    frames: int
    counts: dict[str, int]
    redundant: int
    groups: int
    sampled: int
    thresholds: Thresholds
    artifact: Path
    page: Path

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        names = ("frames", "counts", "redundant", "groups", "sampled")
        numbers = {name: getattr(self, name) for name in names}
        return {
            **numbers,
            "redundancy": self.redundant / self.frames,
            "thresholds": asdict(self.thresholds),
            "artifact": str(self.artifact),
            "page": str(self.page),
        }


def audit(
    recipe: Recipe,
    thresholds: dict[str, float] | None = None,
    *,
    sample: int = 200,
    names: str = "plain",
) -> Audit:
    """Index, mark and count; write RUN/audit.html.

    Args:
        recipe: says which images and which run folder.
        thresholds: fields of :class:`~optidel.corpus.quality.Thresholds` other than the defaults.
        sample: frames, evenly spaced, on which burned-in text is looked for; 0 for all.
        names: ``hashed`` shows keyed hashes in place of file names on the page.

    Raises:
        RecipeError: a threshold or a sample below 0, or a fraction above 1.
    """
    limits = _checked(thresholds or {})
    if sample < 0:
        raise RecipeError(f"sample must be 0 or more, got {sample}; 0 looks for text in every frame")

    pipeline = Pipeline(recipe)
    audited = audit_step(pipeline.store, pipeline.whole, limits, sample, pipeline.plan)
    corpus = Corpus.load(pipeline.whole)
    naming = names_of(names, pipeline.store.root)
    page = audit_page(corpus, audited, pipeline.whole, limits, naming)
    summary = read_summary(audited, AuditSummary)
    return Audit(
        frames=summary.frames,
        counts={name: summary.counts[name] for name in RULES},
        redundant=summary.redundant,
        groups=summary.groups,
        sampled=summary.sampled,
        thresholds=limits,
        artifact=audited.path,
        page=write_page(page, pipeline.store.root / "audit.html"),
    )


def _checked(thresholds: dict[str, float]) -> Thresholds:
    """The defaults with other values, each of which makes sense."""
    changes: dict[str, Any] = {}
    for name, value in thresholds.items():
        if value < 0:
            raise RecipeError(f"{name} must be 0 or more, got {value:g}; docs/audit.md lists the defaults")
        if name in FRACTIONS and value > 1:
            raise RecipeError(
                f"{name} is a fraction and must be at most 1, got {value:g}; docs/audit.md lists the defaults"
            )
        changes[name] = int(value) if name == "near" else value
    return replace(Thresholds(), **changes)
