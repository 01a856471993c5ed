"""What a finished demo may say: counts, and H with its spread."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from optidel.evaluation.claims import MIN_SEEDS
from optidel.evaluation.entropies import Entropy, above_text, closed_text, entropy_of
from optidel.pipeline.audit import Audit
from optidel.report.text import percent
from optidel.runs.baselines import FULL, RANDOM
from optidel.runs.collect import Run, read_run
from optidel.runs.summaries import EntropySummary, LeaksSummary, SelectSummary, read_summary
from optidel.store import Store
from optidel.words import counted

# Files that are named among those that could not be used.
NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One thing that the demo shows: its title, and a sentence or more."""

    title: str
    lines: tuple[str, ...]


def story(root: Path, audit: Audit) -> list[Chapter]:
    """What the run of the demo says, chapter by chapter.

    Args:
        root: the run folder.
        audit: of the folder of DICOM files.

    Raises:
        InputError: the folder holds no finished run.
    """
    run = read_run(root)
    chapters = [
        _broken(audit),
        _redundant(audit),
        _leaks(run),
        _kept(run),
        _entropy(run),
    ]
    return [chapter for chapter in chapters if chapter.lines]


def _broken(audit: Audit) -> Chapter:
    """Files that could not be used, with the reason."""
    [index] = Store(audit.page.parent, look=True).artifacts("index")
    rejected = index.table("rejected.parquet")
    frames = counted(audit.frames, "frame", ("is", "are"))
    lines = [f"{frames} read; {counted(rejected.height, 'file')} set aside, with the reason:"]
    for source, reason in rejected.select("source", "reason").head(NAMED).iter_rows():
        lines.append(f"{source} {reason}")
    return Chapter(title="A folder of DICOM files: what is broken", lines=tuple(lines))


def _redundant(audit: Audit) -> Chapter:
    share = percent(round(audit.redundant / audit.frames, 2))
    line = (
        f"{audit.redundant} of {audit.frames} frames ({share}) repeat an earlier one: "
        f"{audit.counts['exact copies']} pixel by pixel, {audit.counts['near-copies']} nearly, "
        f"in {audit.groups} groups."
    )
    return Chapter(title="…and what is redundant", lines=(line, f"to look at: {audit.page}"))


def _leaks(run: Run) -> Chapter:
    if run.leaks is None:
        return Chapter(title="…and what leaks", lines=())
    summary = read_summary(run.leaks, LeaksSummary)
    verdict = (
        f"{summary.leaked} of {summary.test} test images lie" if summary.leaked else "No test image lies"
    )
    line = f"{verdict} among the {summary.train} frames that may be trained on."
    return Chapter(title="…and what leaks", lines=(line,))


def _kept(run: Run) -> Chapter:
    """What each method keeps, and of how many slabs: those of a slab are much alike."""
    slab_of = dict(run.frames.select("id", "group").iter_rows())
    slabs = len(set(slab_of.values()))
    lines = []
    for trial in run.examples:
        if trial.select is None or trial.method == FULL:
            continue
        table = trial.select.table("selection.parquet").filter("kept")
        unit = read_summary(trial.select, SelectSummary).unit
        frames = [name.rpartition("@")[0] if unit == "key patch" else name for name in table["id"]]
        touched = len({slab_of[name] for name in frames})
        lines.append(f"{trial.method}: {counted(len(table), unit)} from {touched} of {slabs} slabs")
    return Chapter(title="A brain in slabs: what each method keeps", lines=tuple(lines))


def _entropy(run: Run) -> Chapter:
    """H of what nobody saw; a claim only where its interval over seeds supports one."""
    seeds: dict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    images = 0
    for trial in run.trials:
        if trial.entropy is not None:
            summary = read_summary(trial.entropy, EntropySummary)
            seeds[trial.method, trial.budget][trial.seed] = summary.h
            images = summary.images
    if not seeds:
        return Chapter(title="What encoders know", lines=())
    measured = {choice: entropy_of(choice, seeds) for choice in seeds}
    count = min(entropy.seeds for entropy in measured.values())
    lines = [
        f"H of {images} frames that no method and no training saw, nats a value, lower is better; "
        f"mean over {counted(count, 'seed')}:",
        *(_entropy_line(method, budget, measured[method, budget]) for method, budget in measured),
    ]
    random = next((entropy for (method, _), entropy in measured.items() if method == RANDOM), None)
    above = random.above_full if random else None
    if count < MIN_SEEDS:
        lines.append("One seed supports no claim about methods.")
    elif above is not None and above.low > 0:
        lines.append("The interval excludes zero: which frames are kept matters here.")
    else:
        lines.append(
            "The interval holds zero: with these seeds, random is not measurably worse than everything."
        )
    return Chapter(title="What encoders know of images that nobody chose", lines=tuple(lines))


def _entropy_line(method: str, budget: float, entropy: Entropy) -> str:
    """``optidel  10 %  1.4312 (1.41 to 1.45)  closes 80 % (60 to 100)``."""
    interval = entropy.interval
    spread = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
    note = above_text(entropy).lstrip(", ") if method == RANDOM else ""
    # Without an interval a share of the distance is no claim.
    if entropy.closed_interval is not None:
        note = f"closes {closed_text(entropy)} of random's distance to full"
    return f"{method:8} {percent(budget):>5}  {entropy.mean:.4f}{spread}  {note}".rstrip()
