"""Which labelled images are trained on and which tested on.

They are drawn in an order that a seed decides, read only as far as needed, whole groups on one side.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np

from optidel.arrays import Image
from optidel.corpus.groups import group_key
from optidel.corpus.options import IndexOptions
from optidel.corpus.sandbox.workers import Scanned, scan_files
from optidel.errors import InputError
from optidel.progress import say, track
from optidel.readers.decoded import Window
from optidel.records import Rejected
from optidel.words import counted

Part = Literal["train", "test"]

# Defaults: the few labels that a hospital has, and enough images for an interval of some 4 points.
TRAIN, TEST = 200, 300

# With fewer images than asked for, the test part keeps this share: a usual split of small sets.
MIN_TEST = 0.2

REASON = 300  # letters of a decoder's own message that a table keeps; a round number


def check_counts(train: int, test: int) -> None:
    """Refuse a part of no image.

    Raises:
        InputError: a count below 1.
    """
    if min(train, test) < 1:
        raise InputError(
            f"train and test must be at least 1 image, got {train} and {test}; "
            f"the defaults are {TRAIN} and {TEST}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One labelled image, not yet read.

    ``id``; ``image``, its path relative to the labelled folder ``root``; ``group`` where known; ``locator``:
    of the slice, where it is one of a volume; ``window``: level and width in HU, for CT.
    """

    id: str
    image: str
    group: str | None = None
    locator: str = ""
    root: Path = Path()
    window: Window | None = None

    @property
    def source(self) -> str:
        """The image's path, and behind a ``#`` the slice of a volume."""
        return f"{self.image}#{self.locator}" if self.locator else self.image

    @property
    def together(self) -> str:
        """What the image must not be parted from: its group, or itself."""
        return f"\0{self.id}" if self.group is None else self.group


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Generic[ItemT]):
    """One item as read: ``image`` at the model's size; ``shape`` and ``sha256`` of the full-size image."""

    item: ItemT
    image: Image
    shape: tuple[int, int]
    sha256: str


ShownT = TypeVar("ShownT", bound=Shown)  # type: ignore[type-arg]


def shuffled(items: Sequence[ItemT], rng: np.random.Generator) -> list[ItemT]:
    """The items in a random order."""
    return [items[row] for row in rng.permutation(len(items))]


def draw(
    root: Path,
    sides: Mapping[str, Sequence[ItemT]],
    load: Callable[[ItemT], ShownT],
    counts: tuple[int, int],
    rng: np.random.Generator,
    rejected: list[Rejected],
    order: Callable[[Sequence[ItemT], np.random.Generator], list[ItemT]] = shuffled,
) -> dict[str, list[ShownT]]:
    """The images of both parts, ``train`` and ``test``, as they were read.

    Without a given split the test part comes first, so that another number of training images leaves it as it
    is; whole groups are tested on in the order in which the images first meet them. No training image has the
    pixels of a test image.

    Args:
        root: the labelled folder.
        sides: items by side of a given split, ``train`` and ``test``, or all of them under the empty name.
        load: reads one item.
        counts: of training and test images, at most.
        rng: of the order.
        rejected: what is looked at and not used is added here.
        order: the order in which items are taken.

    Raises:
        InputError: all images are of one group.
    """
    train, test = counts
    if "" in sides:
        items = order(sides[""], rng)
        if any(item.group for item in items):
            parts = _grouped(root, items, load, train, test, rejected)
        else:
            examples = _read(root, items, load, train + test, rejected)
            parts = _split(root, examples, train, test)
    else:
        tested = {item.together for item in sides["test"]}
        apart = {"test": list(sides["test"]), "train": _apart(sides["train"], tested, rejected)}
        # The test side first: its images do not depend on how many are trained on.
        parts = {}
        for side, count in (("test", test), ("train", train)):
            items = apart[side]
            if len(items) > count:
                items = order(items, rng)
            parts[side] = _read(root, items, load, count, rejected)
    parts["train"] = _unseen(parts["train"], parts["test"], rejected)
    return parts


def _unseen(train: Sequence[ShownT], test: Sequence[ShownT], rejected: list[Rejected]) -> list[ShownT]:
    """Training images without those that have the pixels of a test image."""
    tested = {example.sha256: example.item.source for example in test}
    unseen = []
    for example in train:
        if example.sha256 in tested:
            reason = f"has the pixels of the test image {tested[example.sha256]}"
            rejected.append(Rejected(source=example.item.source, reason=reason))
        else:
            unseen.append(example)
    return unseen


def scan(root: Path, sources: Sequence[str]) -> Iterator[Scanned]:
    """Decode files in processes of their own, with the limits of an index; what is refused is refused here
    for the same reasons.
    """
    return scan_files(root, sources, IndexOptions().scan(group_key(None)))


def _read(
    root: Path,
    items: Sequence[ItemT],
    load: Callable[[ItemT], ShownT],
    count: int,
    rejected: list[Rejected],
) -> list[ShownT]:
    """The first ``count`` items whose images can be read."""
    examples: list[ShownT] = []
    waiting = list(items)
    while waiting and len(examples) < count:
        # Only as many as still fit are decoded: a labelled set may be far larger than what is asked for.
        missing = count - len(examples)
        batch, waiting = waiting[:missing], waiting[missing:]
        # Volumes were decoded when they were cut.
        files = [item.image for item in batch if not item.locator]
        scans = iter(track(scan(batch[0].root, files), "labelled set", len(files)))
        for item in _by_volume(batch):
            scanned = None if item.locator else next(scans)
            try:
                if scanned and scanned.rejected:
                    raise InputError(scanned.rejected[0].reason)
                examples.append(load(item))
            except Exception as error:  # decoders raise anything, and one bad file never stops a run
                rejected.append(Rejected(source=item.source, reason=reason_of(error, root)))
    return examples


def _by_volume(items: Sequence[ItemT]) -> list[ItemT]:
    """Items in their order, but the slices of a volume together, so that it is decoded once."""
    if not any(item.locator for item in items):
        return list(items)
    first: dict[str, int] = {}
    for item in items:
        first.setdefault(_file(item), len(first))
    return sorted(items, key=lambda item: first[_file(item)])


def _file(item: Item) -> str:
    return item.image if item.locator else item.id


def reason_of(error: Exception, root: Path) -> str:
    """Why a file is not used, without the folder's own path."""
    if isinstance(error, InputError):
        return str(error)
    text = f"image or mask cannot be decoded ({type(error).__name__}: {error})"
    prefix = str(root) + os.sep
    return text.replace(prefix, "")[:REASON]


def _apart(items: Sequence[ItemT], tested: set[str], rejected: list[Rejected]) -> list[ItemT]:
    """Training items of groups that are not tested on."""
    apart = []
    for item in items:
        if item.together in tested:
            reason = f"is of the group {item.group}, which is tested on"
            rejected.append(Rejected(source=item.source, reason=reason))
        else:
            apart.append(item)
    return apart


def _grouped(
    root: Path,
    items: Sequence[ItemT],
    load: Callable[[ItemT], ShownT],
    train: int,
    test: int,
    rejected: list[Rejected],
) -> dict[str, list[ShownT]]:
    """Test and training part, read as far as needed, of whole groups."""
    first: dict[str, int] = {}
    for item in items:
        first.setdefault(item.together, len(first))
    ordered = sorted(items, key=lambda item: first[item.together])

    testing = _read(root, ordered, load, test, rejected)
    tested = {example.item.together for example in testing}
    refused = {entry.source for entry in rejected}
    others = [item for item in ordered if item.together not in tested and item.source not in refused]
    training = _read(root, others, load, train, rejected)

    if len(training) < train:
        examples = [*testing, *training]
        count = len(examples)
        groups = [example.item.together for example in examples]
        cut = _boundary(groups, min(test, max(math.ceil(MIN_TEST * count), count - train)))
        testing, training = examples[:cut], examples[cut : cut + train]
        if examples and not (testing and training):
            raise InputError(
                f"all usable images of {root} are of one group, {examples[0].item.group}; "
                "at least two are needed"
            )
    learnt = len({example.item.together for example in training})
    tried = len({example.item.together for example in testing})
    say(
        f"{root.name}: {counted(learnt, 'group')} ({counted(len(training), 'image')}) for training, {tried} "
        f"({len(testing)}) for testing, none in both"
    )
    return {"test": testing, "train": training}


def _boundary(together: Sequence[str], least: int) -> int:
    """The first boundary between groups at or behind ``least``, or the last one there is; 0 where there is
    only one group.
    """
    last = 0
    for row in range(1, len(together)):
        if together[row] != together[row - 1]:
            last = row
            if row >= least:
                break
    return last


def _split(root: Path, examples: list[ShownT], train: int, test: int) -> dict[str, list[ShownT]]:
    count = len(examples)
    least = math.ceil(MIN_TEST * count)
    held_out = min(test, max(least, count - train))
    if count < train + test:
        say(
            f"{root.name}: {count} usable images, not {train} + {test}; {count - held_out} for training and "
            f"{held_out} for testing"
        )
    return {"test": examples[:held_out], "train": examples[held_out : held_out + train]}
