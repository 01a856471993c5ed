"""The head of a run's page: what was run, on what, and what was set aside."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from optidel.corpus.names import Names
from optidel.corpus.pixels import images_at, where_images_are
from optidel.report.text import percent
from optidel.report.verdict import Verdict, verdict
from optidel.runs.collect import Run
from optidel.runs.summaries import (
    EmbedSummary,
    IndexSummary,
    PatchesSummary,
    SelectSummary,
    TaskSummary,
    read_summary,
)
from optidel.store import Artifact
from optidel.words import counted

EXAMPLES = 5  # files named for each reason: enough to see what they have in common


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line: a name and a value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Files that could not become frames for one kind of reason.

    ``examples`` are the first few, each with its full reason.
    """

    kind: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands above the sections."""

    title: str
    verdict: Verdict
    facts: tuple[Fact, ...]
    quarantined: tuple[Quarantined, ...]


def head_of(run: Run, names: Names) -> Head:
    """The head of a run's page."""
    return Head(
        title=_title(run, names),
        verdict=verdict(run),
        facts=_facts(run, names),
        quarantined=_quarantined(run.rejected, names),
    )


def _title(run: Run, names: Names) -> str:
    corpus = names.folder(read_summary(run.index, IndexSummary).root)
    if run.task is None:
        return corpus
    return f"{corpus} → {read_summary(run.task, TaskSummary).name}"


def _facts(run: Run, names: Names) -> tuple[Fact, ...]:
    """What was run; what the run does not have is left out."""
    budgets = sorted({trial.budget for trial in run.trials} - {0.0})
    seeds = sorted({trial.seed for trial in run.trials})
    trainings = [f"{score.objective}, equal {score.compute} for every method" for score in run.trial_scores]
    facts = {
        "Corpus": _corpus_text(run, names),
        "Set aside": _aside_text(run),
        "Labelled": _task_text(run.task),
        "Preset": _preset_text(run),
        "Methods": ", ".join(run.methods),
        "Budgets": ", ".join(map(percent, budgets)),
        "Seeds": ", ".join(map(str, seeds)),
        "Pre-training": _distinct(trainings),
        "Encoder": _encoder_text(run, names),
        "Changes": _changes_text(run),
        "Key patches": _patches_text(run.patches),
    }
    return tuple(Fact(name=name, value=value) for name, value in facts.items() if value)


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _corpus_text(run: Run, names: Names) -> str:
    summary = read_summary(run.index, IndexSummary)
    frames, files = counted(run.frames.height, "frame"), counted(summary.files, "file")
    return f"{names.folder(summary.root)}: {frames} from {files}"


def _aside_text(run: Run) -> str:
    # Hashes are of decoded pixels, so the same picture in another file counts.
    duplicates = run.frames.height - run.frames["sha256"].n_unique()
    counts = Counter(run.frames["flaw"].to_list())
    flaws = ", ".join(f"{count} {flaw}" for flaw, count in sorted(counts.items()) if flaw)
    return (
        f"{counted(run.rejected.height, 'file')} quarantined; {counted(duplicates, 'exact duplicate')}; "
        f"flawed frames: {flaws or 'none'}"
    )


def _task_text(task: Artifact | None) -> str:
    if task is None:
        return ""
    summary = read_summary(task, TaskSummary)
    splits = Counter(task.table("items.parquet")["split"].to_list())
    # A labelled set of the first version wrote no such table.
    rejected = 0
    if (task.path / "rejected.parquet").exists():
        rejected = task.table("rejected.parquet").height
    classes = ", ".join(summary.labels) if summary.labels else summary.classes
    return (
        f"{summary.name}: {splits['train']:,} for fine-tuning, {splits['test']:,} for testing; "
        f"classes: {classes}; {rejected} set aside"
    )


def _preset_text(run: Run) -> str:
    parts: list[str] = []
    if run.recipe:
        parts.append(run.recipe.preset)
    if run.pixels:
        parts.append(f"{images_at(where_images_are(run.pixels)).shape[1]} px")
    return ", ".join(parts)


def _encoder_text(run: Run, names: Names) -> str:
    weights = run.recipe.encoder.weights if run.recipe else None
    label = weights or ""
    if label.startswith(("/", ".", "~")):
        # The id of a public encoder is no secret, where a folder lies is.
        label = names.folder(label)
    if run.warmup is None:
        return label

    log = run.warmup.table("log.parquet")
    steps, loss = log["step"][-1] + 1, log["loss"][-1]
    corpus = _warmup_corpus(run)
    warmup = f"masked autoencoder warmed up on {corpus}, {steps:,} steps, last loss {loss:.3f}"
    if not label:
        return warmup
    return f"features from {label}; difficulty from a {warmup}"


def _warmup_corpus(run: Run) -> str:
    """Which state of the corpus the warm-up saw."""
    # Embeddings of the first version have no summary, and their warm-up was always their own.
    if run.embed and (run.embed.path / EmbedSummary.FILE).exists():
        summary = read_summary(run.embed, EmbedSummary)
        if not summary.warmup_is_own:
            return "an earlier state of the corpus"
    return "the corpus itself"


def _changes_text(run: Run) -> str:
    """What happened to the corpus since the selections of the same methods before, where there were any."""
    for trial in run.trials:
        since = read_summary(trial.select, SelectSummary).since if trial.select else None
        if since:
            return (
                f"since {since.earlier}: {since.added:,} frames added, {since.removed:,} removed, "
                f"{since.changed:,} changed; {since.still_kept:,} of the {since.kept_earlier:,} "
                f"that {trial.method} chose then stay"
            )
    return ""


def _patches_text(patches: Artifact | None) -> str:
    if patches is None:
        return ""
    summary = read_summary(patches, PatchesSummary)
    weights = ", without weights"
    if summary.weights and summary.weights != "none":
        # Twelve digits of a digest tell weights apart; all of them stand in summary.json.
        weights = " (" + re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", summary.weights) + ")"
    return (
        f"{summary.backend}{weights}, {summary.prompting} prompts; "
        f"{summary.kept:,} accepted of {summary.masks:,} masks in {summary.frames:,} frames"
    )


def _quarantined(rejected: pl.DataFrame, names: Names) -> tuple[Quarantined, ...]:
    """Files by the reason without its particulars: what is in brackets, quoted, or a number."""
    files: dict[str, list[str]] = {}
    for source, reason in rejected.select("source", "reason").iter_rows():
        kind = _kind_of(reason)
        # A reason may quote a name, so under hashed names only its kind is shown.
        files.setdefault(kind, []).append(f"{names(source)}: {reason if names.plain else kind}")

    commonest_first = sorted(files.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        Quarantined(kind=kind, count=len(lines), examples=tuple(lines[:EXAMPLES]))
        for kind, lines in commonest_first
    )


def _kind_of(reason: str) -> str:
    """A reason without its particulars.

    >>> _kind_of("is 3 x 1 px, smaller than 8 px on a side")
    'is n x n px, smaller than n px on a side'
    """
    reason = re.sub(r"(is the test image) .*", r"\1", reason)
    numberless = re.sub(r"\d+", "n", reason)
    return re.sub(r"\s*\(.*\)|'[^']*'", "", numberless).strip()
