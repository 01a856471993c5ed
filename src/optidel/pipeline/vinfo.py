"""V-information of the training sets of a run, measured after it: one artifact a set, resumed and reused."""

from pathlib import Path

from optidel.errors import InputError
from optidel.pipeline.steps.vinfo import vinfo_step
from optidel.progress import say
from optidel.runs.sets import TrainedSet, trained_sets
from optidel.runs.summaries import InformationSummary, read_summary
from optidel.store import Store


def vinfo(root: Path) -> list[tuple[TrainedSet, InformationSummary]]:
    """Measure every training set of a run or bench folder; what was measured before is reused.

    Args:
        root: the folder.

    Raises:
        InputError: no run, or nothing in it is trained yet.
    """
    sets = trained_sets(root)
    if not sets:
        raise InputError(
            f"no encoder in {root} is trained yet, so it holds no training set; "
            "run `optidel run` or `optidel pretrain` first"
        )

    store, measured = Store(root), []
    for number, trained in enumerate(sets, start=1):
        artifact = vinfo_step(store, trained)
        name = f"{trained.method} {trained.budget:.3g} seed {trained.seed}"
        say(f"vinfo {number}/{len(sets)}  {name}  {artifact.path.name}  {artifact.seconds:.1f} s")
        measured.append((trained, read_summary(artifact, InformationSummary)))
    return measured
