"""A labelled set of whole images: a class each, or several labels, split into training and test."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from optidel.arrays import Images
from optidel.datasets import DATASETS, Registry, recognise
from optidel.datasets.masks import single_image
from optidel.errors import InputError
from optidel.evaluation.class_labels import (
    FOLDERS,
    UNKNOWN,
    ClassItem,
    ClassLabels,
    folder_labels,
    has_class_folders,
    table_in,
    table_labels,
)
from optidel.evaluation.pairs import layout_of, with_groups
from optidel.evaluation.splits import TEST, TRAIN, Part, Shown, check_counts, draw, shuffled
from optidel.progress import say
from optidel.readers.decode import fit, pixel_hash
from optidel.readers.decoded import window_of
from optidel.records import Rejected
from optidel.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTask:
    """A labelled set of classes at the model's size.

    ``ids`` str (n,); ``sources`` the images' paths relative to the folder; ``groups`` the patient, video, …
    of each, None where not known; ``images`` u8 (n, s, s, 3); ``labels`` u8 (n, k), 0 no, 1 yes, 255 not
    known; ``classes`` the names of the k columns; ``exclusive``: every image has exactly one; ``split`` str
    (n,), ``train`` or ``test``; ``text`` says how the labels were read; ``rejected`` are the files looked at
    and not used.
    """

    name: str
    ids: Shaped[np.ndarray, "n"]
    sources: list[str]
    groups: list[str | None]
    images: Images
    labels: UInt8[np.ndarray, "n k"]
    classes: tuple[str, ...]
    exclusive: bool
    split: Shaped[np.ndarray, "n"]
    text: str
    rejected: list[Rejected]

    def rows(self, part: Part) -> Int64[np.ndarray, "m"]:
        """Rows of one part."""
        return np.flatnonzero(self.split == part)


def holds_classes(folder: Path | str, labels: str | None = None, registry: Registry = DATASETS) -> bool:
    """Whether a labelled set is one of classes and not of masks.

    It is where ``labels`` says so, where the folder holds a table ``labels.csv``, or where it has a folder a
    class; ``images/`` beside ``masks/`` and the sets of the registry have masks.
    """
    root = Path(folder)
    if labels is not None:
        return True
    if layout_of(root) is not None or not root.is_dir():
        return False
    if table_in(root) is not None:
        return True
    try:
        recognise(root, registry=registry)
    except InputError:
        return has_class_folders(root)
    return False


def load_class_task(
    folder: Path | str,
    size: int,
    *,
    train: int = TRAIN,
    test: int = TEST,
    seed: int = 0,
    group: str | None = None,
    labels: str | None = None,
    window: str | Sequence[float] | None = None,
) -> ClassTask:
    """Read a labelled set of classes.

    Two layouts: a folder a class (``benign/``, ``malignant/``), also inside ``train/`` and ``test/``, whose
    split is then kept; or a table that lists the images, see
    :func:`~optidel.evaluation.class_labels.table_labels`. Without a given split, a permutation that ``seed``
    alone decides is put in an order in which every beginning has the classes in their proportions; the test
    part comes first. A training image whose pixels equal a test image's is rejected. Every file is decoded
    first in a process of its own, with the limits of the index.

    >>> task = load_class_task("SKIN", 64, train=4, test=2)
    >>> task.images.shape, task.labels.shape, task.classes
    ((6, 64, 64, 3), (6, 2), ('benign', 'malignant'))

    Args:
        folder: the labelled set; its name becomes the task's.
        size: side s in px of the model's input; images are stretched with antialiasing.
        train: at most this many training images.
        test: at most this many test images. With fewer images than both, test keeps at least 20 %.
        seed: of the permutation.
        group: what says which images belong together, as in :func:`~optidel.evaluation.tasks.load_task`; wins
            over a column of the table.
        labels: the table, or ``folders`` where folder names are the classes; by default what the folder
            shows. window: of CT, as in the index: a name such as ``lung``, or level and width in HU.

    Raises:
        InputError: no such layout, counts below 1, nothing usable left, or one part without two kinds of
            images. RecipeError: a pattern or a window that cannot be used.
    """
    root = Path(folder)
    check_counts(train, test)
    rejected: list[Rejected] = []
    read = _labels_of(root, labels, rejected)
    say(f"{root.name}: {read.text}")
    sides = {}
    for side, items in read.sides.items():
        grouped = with_groups(items, root, group)
        sides[side] = [replace(item, root=root, window=window_of(window)) for item in grouped]
    load, rng = partial(_load, size=size), np.random.default_rng(seed)
    parts = draw(root, sides, load, (train, test), rng, rejected, _stratified)
    return _assemble(root, read, parts, rejected)


def _labels_of(root: Path, labels: str | None, rejected: list[Rejected]) -> ClassLabels:
    if labels == FOLDERS:
        return folder_labels(root, rejected)
    table = Path(labels) if labels else table_in(root)
    return table_labels(root, table, rejected) if table else folder_labels(root, rejected)


def _stratified(items: Sequence[ClassItem], rng: np.random.Generator) -> list[ClassItem]:
    """A random order in which every beginning has the classes in their proportions."""
    permuted = shuffled(items, rng)
    counts = Counter(item.labels for item in items)
    met: Counter[tuple[int, ...]] = Counter()
    places = []
    for item in permuted:
        # The middle of its share of the order, were its class spread evenly.
        places.append((met[item.labels] + 0.5) / counts[item.labels])
        met[item.labels] += 1
    order = np.argsort(places, kind="stable")
    return [permuted[row] for row in order]


def _load(item: ClassItem, size: int) -> Shown[ClassItem]:
    image = single_image(item.root / item.image, "", item.window)
    height, width = image.shape[:2]
    return Shown(item=item, image=fit(image, size), shape=(height, width), sha256=pixel_hash(image))


def _assemble(
    root: Path, read: ClassLabels, parts: dict[str, list[Shown[ClassItem]]], rejected: list[Rejected]
) -> ClassTask:
    first = f"; the first, {rejected[0].source}: {rejected[0].reason}" if rejected else ""
    if rejected:
        say(f"{root.name}: {counted(len(rejected), 'file')} not used{first}")
    for part in ("train", "test"):
        _check_part(root, part, parts[part], read.classes, first)

    examples = [*parts["train"], *parts["test"]]
    return ClassTask(
        name=root.resolve().name,
        ids=np.array([example.item.id for example in examples]),
        sources=[example.item.source for example in examples],
        groups=[example.item.group for example in examples],
        images=np.stack([example.image for example in examples]),
        labels=np.array([example.item.labels for example in examples], dtype=np.uint8),
        classes=read.classes,
        exclusive=read.exclusive,
        split=np.array([part for part in ("train", "test") for _ in parts[part]]),
        text=read.text,
        rejected=rejected,
    )


def _check_part(
    root: Path, part: str, examples: Sequence[Shown[ClassItem]], classes: tuple[str, ...], first: str
) -> None:
    """Refuse a part in which no class has images with and without it, before anything is trained.

    Raises:
        InputError: there is no such class.
    """
    labels = np.array([example.item.labels for example in examples], dtype=np.uint8).reshape(-1, len(classes))
    has_both = (labels == 0).any(axis=0) & (labels == 1).any(axis=0)
    if has_both.any():
        one_kind = [name for name, both in zip(classes, has_both, strict=True) if not both]
        if one_kind:
            listed = ", ".join(one_kind)
            say(f"{root.name}: all or none of the {part} images are {listed}; no score counts that there")
        return
    word = "training" if part == "train" else "test"
    raise InputError(
        f"none of the {len(classes)} classes of {root} ({', '.join(classes)}) has {word} images with and "
        f"without it, of {len(examples)}, so nothing can be told apart; label more images, or raise "
        f"evaluate.{part}{first}"
    )


__all__ = ["FOLDERS", "UNKNOWN", "ClassTask", "holds_classes", "load_class_task"]
