"""What is published of the sets that a run pre-trains and tests on: their names, and images they share."""

from pathlib import Path

from optidel.copies.datasets import Conflict, conflicts
from optidel.datasets import DATASETS, Registry, load_registry, recognise
from optidel.errors import InputError, RecipeError
from optidel.progress import say
from optidel.runs.summaries import LeaksSummary, read_summary
from optidel.store import Artifact


def registry_of(path: str | None) -> Registry:
    """The known sets, with those of a registry file."""
    return load_registry(path) if path else DATASETS


def check_conflicts(
    images: Path, labelled: Path, registry: Registry, leaks: Artifact, *, drop: bool
) -> list[Conflict]:
    """Say which images the two sets are published to share, where both are known.

    Args:
        images: folder of the corpus; for a folder called ``images``, the set is looked for around it.
        labelled: folder of the labelled set.
        registry: known sets.
        leaks: what the leak check found.
        drop: whether the run leaves out what was found.

    Raises:
        RecipeError: it is published that they share images, equal pixels were found, and the run would train
            on them.
    """
    test_set = _name(labelled, registry)
    if not test_set:
        return []
    # Beside a folder ``images`` lie the masks and tables by which a set is recognised.
    around = images.resolve().parent if images.name.lower() == "images" else images
    corpus_set = _name(around, registry)
    if not corpus_set:
        return []
    published = conflicts([corpus_set], [test_set], registry)

    # Only equal pixels prove it: a near-copy may be another image of the same device.
    exact = read_summary(leaks, LeaksSummary).images["exact"]
    for conflict in published:
        if conflict.certain and exact and not drop:
            raise RecipeError(
                f"{conflict.reason}, and {exact} test images are in {images}: {conflict.remedy}, "
                'or set leaks = "drop" in the recipe, which does it for you; '
                'leaks = "off" trains on them all the same'
            )
        say(f"sets: {conflict.reason}{_outcome(conflict, exact)}")
    return published


def _outcome(conflict: Conflict, exact: int) -> str:
    """What the run does about a conflict, with so many test images found by equal pixels."""
    if exact:
        return "; the test images found are left out" if conflict.certain else ""

    goes_on = ", so the run goes on" if conflict.certain else ""
    return f"; no test image was found with equal pixels{goes_on}"


def _name(folder: Path, registry: Registry) -> str:
    """The set that a folder holds; empty where none is known."""
    try:
        return recognise(folder, registry=registry).dataset.name
    except InputError:
        return ""
