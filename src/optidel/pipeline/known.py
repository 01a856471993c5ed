"""What is published of the sets that a run pre-trains and tests on: known names, and images that they share."""

from pathlib import Path

from optidel.copies.datasets import Conflict, conflicts
from optidel.datasets import DATASETS, Registry, load_registry, recognise
from optidel.errors import InputError, RecipeError
from optidel.progress import say
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
    tested = _name(labelled, registry)
    trained = (
        _name(images.resolve().parent if images.name.lower() == "images" else images, registry)
        if tested
        else ""
    )
    found = conflicts([trained], [tested], registry) if trained else []
    exact = leaks.json("summary.json")["images"]["exact"]
    for conflict in found:
        if conflict.certain and exact and not drop:
            raise RecipeError(
                f'{conflict.reason}, and {exact} test images are in {images}: {conflict.remedy}, or set leaks = "drop" in the recipe, '
                'which does it for you; leaks = "off" trains on them all the same'
            )
        say(f"sets: {conflict.reason}{_outcome(conflict, exact)}")
    return found


def _outcome(conflict: Conflict, exact: int) -> str:
    if conflict.certain:
        return (
            "; the test images found are left out"
            if exact
            else "; no test image was found with equal pixels, so the run goes on"
        )
    return "" if exact else "; no test image was found with equal pixels"


def _name(folder: Path, registry: Registry) -> str:
    """The set that a folder holds; empty where none is known."""
    try:
        return recognise(folder, registry=registry).dataset.name
    except InputError:
        return ""
