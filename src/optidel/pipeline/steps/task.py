"""The labelled set at the model's size, split into images to train on and images to test on."""

from pathlib import Path
from typing import Any

from optidel.corpus.index import listing as listing_of
from optidel.corpus.options import IndexOptions
from optidel.datasets import Registry
from optidel.errors import RecipeError
from optidel.evaluation.class_sets import holds_classes, load_class_task
from optidel.evaluation.stored import write_class_task, write_task
from optidel.evaluation.tasks import known_set, load_task
from optidel.progress import say
from optidel.readers import window_of
from optidel.recipe import EvaluateSection
from optidel.remote import here, place
from optidel.store import Artifact, Store, Workspace, digest

# Of sets of classes.
CLASS_VERSION = 1

# Of the step: 3 reads masks as a viewer shows them and keeps those of the test images at their own size.
VERSION = 3


def task_step(
    store: Store,
    folder: Path,
    size: int,
    options: EvaluateSection,
    listing: str,
    registry: Registry,
    corpus: IndexOptions | None = None,
) -> Artifact:
    """Read the labelled set and split it; the split is the same for every method and seed.

    Args:
        store: the run.
        folder: the labelled set.
        size: side of the images and masks in px.
        options: how many images to train on and to test on, and which belong together.
        listing: hash of the names, sizes and times of the folder's files.
        registry: sets whose layout is known.
        corpus: how the corpus cuts volumes and shows CT, so that the labelled set does alike.
    """

    corpus = corpus or IndexOptions()
    if holds_classes(folder, options.labels, registry):
        return _class_task_step(store, folder, size, options, listing, corpus)

    def make(work: Workspace) -> None:
        task = load_task(
            folder,
            size,
            train=options.train,
            test=options.test,
            seed=0,  # one split for all seeds, so that their scores can be paired by image
            group=options.group,
            registry=registry,
            masks=options.masks,
            ignore=options.ignore,
            test_on=options.test_on,
            axes=corpus.axes,
            window=corpus.window,
        )
        if task.reading.plain and task.reading.text:
            say(f"{task.name}: {task.reading.text}")  # what is not plain was said when it was found
        write_task(work, task)

    config = _config(folder, size, options, listing, registry)
    # Only what is not the default, so that tasks made before there was a choice stay valid.
    if tuple(corpus.axes) != IndexOptions().axes:
        config["axes"] = list(corpus.axes)
    if corpus.window is not None:
        config["window"] = window_of(corpus.window)
    return store.build("task", make, version=VERSION, config=config)


def _class_task_step(
    store: Store, folder: Path, size: int, options: EvaluateSection, listing: str, corpus: IndexOptions
) -> Artifact:
    """A labelled set of classes; arguments as of :func:`task_step`.

    Raises:
        RecipeError: an option that sets of classes have not.
    """
    _check_class_options(folder, options)

    def make(work: Workspace) -> None:
        task = load_class_task(
            folder,
            size,
            train=options.train,
            test=options.test,
            seed=0,  # as for masks
            group=options.group,
            labels=options.labels,
            window=corpus.window,
        )
        write_class_task(work, task)

    config: dict[str, Any] = {
        "classes": True,
        "size": size,
        "train": options.train,
        "test": options.test,
        "listing": listing,
        "group": options.group,
        "labels": options.labels,
    }
    for option in (options.group, options.labels):
        if option and Path(option).is_file():
            config[f"content of {option}"] = digest(Path(option).read_bytes())
    if corpus.window is not None:
        config["window"] = window_of(corpus.window)
    return store.build("task", make, version=CLASS_VERSION, config=config)


def _check_class_options(folder: Path, options: EvaluateSection) -> None:
    if "ridge" in options.protocols:
        raise RecipeError(
            f"{folder} is a set of classes, and the protocol 'ridge' reads masks; "
            'use evaluate.protocols = ["probe", "knn"] or "fine-tune"'
        )
    for name, default in (("test_on", None), ("keep", False), ("masks", "auto"), ("ignore", ())):
        if getattr(options, name) != default:
            raise RecipeError(f"{folder} is a set of classes, which has no evaluate.{name}; leave it out")


def _config(
    folder: Path, size: int, options: EvaluateSection, listing: str, registry: Registry
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "size": size,
        "train": options.train,
        "test": options.test,
        "listing": listing,
        "group": options.group,
    }
    # The option is a path; what the file says is what matters.
    if options.group and Path(options.group).is_file():
        config["manifest"] = digest(Path(options.group).read_bytes())

    # A registry may describe the same files in another way.
    layout = known_set(folder, registry)
    if layout:
        config["set"] = digest(repr(layout.dataset).encode())
    if options.masks != "auto":
        config["masks"] = options.masks
    if options.ignore:
        config["ignore"] = list(options.ignore)
    if options.test_on:
        config["test_on"] = listing_of(here(place(options.test_on)))
    return config
