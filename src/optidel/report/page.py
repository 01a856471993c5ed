"""The page: everything the template shows, put together and rendered to RUN/report.html."""

import json
import platform
import re
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from optidel.recipe import Recipe
from optidel.report import figures, gallery, leaks, numbers, vinformation
from optidel.report.pictures import Pictures
from optidel.report.templates import environment
from optidel.runs.collect import PROTOCOLS, MethodScore, Run, read_run
from optidel.runs.summaries import (
    EmbedSummary,
    IndexSummary,
    PatchesSummary,
    SelectSummary,
    TaskSummary,
    read_summary,
)
from optidel.store import Artifact, replacing

PACKAGES = (
    "optidel",
    "torch",
    "transformers",
    "faiss-cpu",
    "numpy",
    "polars",
    "pillow",
    "scikit-image",
    "onnxruntime",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of the header: what was run."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A Plotly figure as JSON that is safe inside a script element; ``name`` is its id on the page."""

    name: str
    title: str
    json: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Files that could not become frames for one kind of reason; ``examples`` are the first few, each with
    its full reason.
    """

    kind: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """The rows of one protocol, as a table and as dots and whiskers."""

    protocol: str
    rows: tuple[MethodScore, ...]
    plots: tuple[Plot, ...]


def write_report(run: Path, result: Artifact | None = None) -> Path:
    """Write RUN/report.html, which opens without a network.

    Args:
        run: a run folder. Of an unfinished run the page shows what there is.
        result: which result of the folder to show; by default the newest.

    Returns:
        The page's path.

    Raises:
        InputError: the folder holds no run, or nothing in it is finished yet.
        StoreError: the page cannot be written.
    """
    opened = read_run(Path(run), result)
    target, page = opened.root / "report.html", render(opened)
    with replacing(target) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return target


def render(run: Run) -> str:
    """The page as HTML."""
    pictures = Pictures(run)
    extremes = gallery.extremes(run, pictures)
    costs = numbers.step_costs(run)
    templates = environment()
    templates.filters["plot"] = _plot
    templates.filters.update(
        signed=numbers.signed,
        percent=numbers.percent,
        duration=duration,
        plural=numbers.plural,
        times=numbers.times,
    )
    return templates.get_template("template.html.j2").render(
        run=run,
        title=_title(run),
        colours=figures.colour_of(run.methods),
        facts=_facts(run),
        quarantined=_quarantined(run.rejected),
        verdict=numbers.verdict(run),
        leaks=leaks.section(run),
        tables=_tables(run),
        budget_plots=_budget_plots(run),
        loss_plot=_plot("losses", "Loss of pre-training", figures.losses(run)),
        choices=gallery.choices(run, pictures),
        patch_summary=None if run.patches is None else read_summary(run.patches, PatchesSummary),
        patch_frames=gallery.patches_on_frames(run, pictures),
        refusals=gallery.refusals(run, pictures),
        composites=gallery.composites(run, pictures),
        extremes=extremes,
        difficulty_plot=extremes
        and _plot(
            "difficulty",
            "Histogram of difficulty",
            figures.difficulty(extremes.values, extremes.chosen, extremes.unit, extremes.scorer),
        ),
        segmentations=gallery.segmentations(run),
        vinformation=vinformation.section(run),
        costs=costs,
        cost_plot=_plot("cost", "Seconds of each step", figures.seconds_of_steps(costs)),
        break_even=numbers.break_even(run),
        recipe=run.recipe and to_toml(run.recipe),
        versions=_versions(),
        plotly=Markup(get_plotlyjs()),
    )


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``12.3 s``, ``4 min 05 s``, ``1 h 12 min``."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML that ``optidel run --config`` reads back; options left unset are left out."""
    values = recipe.model_dump(mode="json", exclude_none=True)
    plain = [f"{name} = {_toml(value)}" for name, value in values.items() if not isinstance(value, dict)]
    for section, options in values.items():
        if isinstance(options, dict):
            plain += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in options.items())]
    return "\n".join(plain) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _title(run: Run) -> str:
    corpus = Path(read_summary(run.index, IndexSummary).root).name
    return f"{corpus} → {read_summary(run.task, TaskSummary).name}" if run.task else corpus


def _plot(name: str, title: str, figure: Any) -> Plot | None:
    """The figure's JSON; every < is escaped, so no text in it can end the script element."""
    return (
        None
        if figure is None
        else Plot(name=name, title=title, json=Markup(figure.to_json().replace("<", "\\u003c")))
    )


def _tables(run: Run) -> tuple[ResultTable, ...]:
    tables = []
    for protocol in PROTOCOLS:
        scores = tuple(score for score in run.scores if score.protocol == protocol)
        if scores:
            plots = [
                _plot(
                    f"miou-{protocol}",
                    "mIoU with its interval",
                    figures.whiskers(scores, run.methods, "miou"),
                )
            ]
            if any(score.difference is not None for score in scores):
                plots += [
                    _plot(
                        f"difference-{protocol}",
                        "Difference to random",
                        figures.whiskers(scores, run.methods, "difference"),
                    )
                ]
            tables.append(
                ResultTable(
                    protocol=protocol, rows=scores, plots=tuple(plot for plot in plots if plot is not None)
                )
            )
    return tuple(tables)


def _budget_plots(run: Run) -> tuple[Plot, ...]:
    found = [protocol for protocol in PROTOCOLS if any(score.protocol == protocol for score in run.scores)]
    plots = [
        _plot(f"budget-{protocol}", protocol, figures.against_budget(run, protocol)) for protocol in found
    ]
    return tuple(plot for plot in plots if plot is not None)


def _facts(run: Run) -> tuple[Fact, ...]:
    indexed = read_summary(run.index, IndexSummary)
    duplicates = run.frames.height - run.frames["sha256"].n_unique()
    flaws = ", ".join(
        f"{count} {name}" for name, count in sorted(Counter(run.frames["flaw"].to_list()).items()) if name
    )
    facts = [
        ("Corpus", f"{indexed.root}: {run.frames.height:,} frames from {indexed.files:,} files"),
        (
            "Set aside",
            f"{run.rejected.height:,} files quarantined; {duplicates:,} exact duplicates; flawed frames: {flaws or 'none'}",
        ),
        ("Labelled", _task_text(run.task)),
        ("Preset", _preset_text(run)),
        ("Methods", ", ".join(run.methods)),
        (
            "Budgets",
            ", ".join(
                numbers.percent(budget) for budget in sorted({trial.budget for trial in run.trials} - {0.0})
            ),
        ),
        ("Seeds", ", ".join(map(str, sorted({trial.seed for trial in run.trials})))),
        (
            "Pre-training",
            _joined(f"{row.objective}, equal {row.compute} for every method" for row in run.trial_scores),
        ),
        ("Encoder", _encoder_text(run)),
        ("Changes", _changes_text(run)),
        ("Key patches", _patches_text(run.patches)),
    ]
    return tuple(Fact(name=name, value=value) for name, value in facts if value)


def _joined(texts: Any) -> str:
    return "; ".join(dict.fromkeys(texts))


def _task_text(task: Artifact | None) -> str:
    if task is None:
        return ""
    summary, splits = read_summary(task, TaskSummary), Counter(task.table("items.parquet")["split"].to_list())
    rejected = task.table("rejected.parquet").height if (task.path / "rejected.parquet").exists() else 0
    return f"{summary.name}: {splits['train']:,} for fine-tuning, {splits['test']:,} for testing; classes: {summary.classes}; {rejected} set aside"


def _preset_text(run: Run) -> str:
    name = f"{run.recipe.preset}, " if run.recipe else ""
    return f"{name}{run.pixels.array('pixels.npy').shape[1]} px" if run.pixels else name.rstrip(", ")


def _encoder_text(run: Run) -> str:
    given = (run.recipe and run.recipe.encoder.weights) or ""
    if run.warmup is None:
        return given
    log = run.warmup.table("log.parquet")
    known = (
        run.embed
        and (run.embed.path / "summary.json").exists()
        and not read_summary(run.embed, EmbedSummary).warmup_is_own
    )
    where = "an earlier state of the corpus" if known else "the corpus itself"
    own = f"masked autoencoder warmed up on {where}, {log['step'][-1] + 1:,} steps, last loss {log['loss'][-1]:.3f}"
    return f"features from {given}; difficulty from a {own}" if given else own


def _changes_text(run: Run) -> str:
    """What happened to the corpus since the choices of the same methods before, where there were any."""
    for cell in run.trials:
        since = read_summary(cell.select, SelectSummary).since if cell.select else None
        if since:
            frames = f"{since.added:,} frames added, {since.removed:,} removed, {since.changed:,} changed"
            stays = f"{since.still_kept:,} of the {since.kept_earlier:,} that {cell.method} chose then stay"
            return f"since {since.earlier}: {frames}; {stays}"
    return ""


def _patches_text(patches: Artifact | None) -> str:
    if patches is None:
        return ""
    s = read_summary(patches, PatchesSummary)
    named = re.sub(
        r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", s.weights or "none"
    )  # the whole digest is in summary.json
    weights = ", without weights" if named == "none" else f" ({named})"
    return f"{s.backend}{weights}, {s.prompting} prompts; {s.kept:,} accepted of {s.masks:,} masks in {s.frames:,} frames"


def _quarantined(rejected: pl.DataFrame) -> tuple[Quarantined, ...]:
    """Group by the reason without its particulars: what is in brackets, quoted, or a number."""
    kinds: dict[str, list[str]] = {}
    for source, reason in rejected.select("source", "reason").iter_rows():
        kind = re.sub(r"\s*\(.*\)|'[^']*'", "", re.sub(r"\d+", "n", reason)).strip()
        kinds.setdefault(kind, []).append(f"{source}: {reason}")
    ordered = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        Quarantined(kind=kind, count=len(files), examples=tuple(files[:5])) for kind, files in ordered
    )


def _versions() -> tuple[Fact, ...]:
    found = [Fact(name="Python", value=platform.python_version())]
    for package in PACKAGES:
        try:
            found.append(Fact(name=package, value=version(package)))
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return tuple(found)
