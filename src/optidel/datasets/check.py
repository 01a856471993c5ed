"""Whether a folder holds a set whole: numbers, pairs, sizes, the official split, and copies across it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from optidel.datasets.boxes import read_boxes
from optidel.datasets.dataset import Dataset, Registry
from optidel.datasets.masks import header_size
from optidel.datasets.recognise import Found, PartFiles, recognise, unit_of
from optidel.datasets.registry import DATASETS
from optidel.datasets.templates import Match
from optidel.errors import InputError
from optidel.progress import track
from optidel.words import counted

Item = TypeVar("Item")

# Names written out in one message; the others are counted. What fits a line.
SHOWN = 5

# Endings that a list of an official split may write behind an id.
LISTED_ENDINGS = (".jpg", ".png", ".tif", ".bmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something missing or wrong. ``kind``: missing, count, pair, size, unreadable, boxes, split, numbers or
    leak.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCount:
    """How many images one part has; ``published`` is empty where no number is published, ``pairs`` counts
    images with a mask.
    """

    name: str
    kind: str
    found: int
    published: tuple[int, ...]
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a folder was taken for, what it holds, and what is wrong with it. ``units``: number of split
    units, 0 where none is known.
    """

    dataset: Dataset
    root: Path
    layout: str
    parts: tuple[PartCount, ...]
    units: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Nothing is missing or wrong."""
        return not self.problems


def check(folder: Path | str, name: str | None = None, registry: Registry = DATASETS) -> Check:
    """Compare a folder with the set it holds.

    Args:
        folder: where the set was unpacked.
        name: the set, where it is not to be recognised.
        registry: known sets.

    Raises:
        InputError: nothing known fits the folder.
    """
    match = recognise(folder, name, registry)
    units = {unit_of(image, match.dataset) for image in match.images} - {""}
    return Check(
        dataset=match.dataset,
        root=match.root,
        layout=match.layout.title,
        parts=tuple(_part_count(part) for part in match.parts),
        units=len(units),
        problems=tuple(_problems(match)),
        notes=tuple(_notes(match, registry)),
    )


def _part_count(part: PartFiles) -> PartCount:
    masked = {image.key for image in part.images} & {mask.key for mask in part.masks}
    return PartCount(
        name=part.part.name,
        kind=part.part.kind,
        found=len(part.images),
        published=part.part.count,
        pairs=len(masked),
    )


def _problems(match: Found) -> Iterator[Problem]:
    for part in match.parts:
        yield from _counts(part)
        yield from _pairing(part)
        yield from _files(part, match)
    yield from _lists(match)
    yield from _numbers(match)
    yield from _copies(match)


def _counts(part: PartFiles) -> Iterator[Problem]:
    """A part that is not there, or not with its published number of images."""
    published, number = part.part.count, len(part.images)
    label = f"{part.part.name} ({part.part.images})"
    if not number and part.part.needed:
        hint = f", {published[0]:,} are published" if published else ""
        yield Problem(kind="missing", message=f"{label}: nothing there{hint}")
    elif number and published and number not in published:
        numbers = " or ".join(f"{count:,}" for count in published)
        yield Problem(kind="count", message=f"{label}: {number:,} {part.part.kind}, {numbers} are published")


def _pairing(part: PartFiles) -> Iterator[Problem]:
    """Images without their mask or boxes, masks without their image, and images that are there twice."""
    images = {image.key: image for image in part.images}
    masks = {mask.key for mask in part.masks}
    boxes = {box.key for box in part.boxes}

    if part.part.masks and not part.part.negative:
        bare = [image.path for key, image in images.items() if key not in masks]
        yield from _pair_problem(bare, "image", "without a mask")
    orphans = [mask.path for mask in part.masks if mask.key not in images]
    yield from _pair_problem(orphans, "mask", "without an image")
    if part.part.boxes:
        bare = [image.path for key, image in images.items() if key not in boxes]
        yield from _pair_problem(bare, "image", "without a box file")

    if len(images) < len(part.images):
        numbers = Counter(image.key for image in part.images)
        twice = {key for key, number in numbers.items() if number > 1}
        names = [image.path for image in part.images if image.key in twice]
        message = f"{counted(len(twice), 'image', ('is', 'are'))} there under several endings: {_some(names)}"
        yield Problem(kind="pair", message=message)


def _pair_problem(paths: Sequence[str], unit: str, what: str) -> Iterator[Problem]:
    if paths:
        message = f"{counted(len(paths), unit)} {what}: {_some(paths)}"
        yield Problem(kind="pair", message=message)


def _files(part: PartFiles, match: Found) -> Iterator[Problem]:
    """Masks of another size than their image, files that are none, and box files that make no sense."""
    unequal, broken = _sizes(part, match.root)
    if not part.masks:
        paths = [image.path for image in part.images]
        broken = [f"{path} has zero bytes" for path in paths if (match.root / path).stat().st_size == 0]
    if broken:
        message = f"{counted(len(broken), 'file')} cannot be read: {_some(broken)}"
        yield Problem(kind="unreadable", message=message)
    if unequal:
        message = f"{counted(len(unequal), 'mask')} of another size than the image: {_some(unequal)}"
        yield Problem(kind="size", message=message)

    faults = [_box_fault(match, box) for box in part.boxes]
    reasons = [reason for reason in faults if reason]
    if reasons:
        yield Problem(kind="boxes", message=f"{len(reasons)} box files cannot be read: {_some(reasons)}")


def _sizes(part: PartFiles, root: Path) -> tuple[list[str], list[str]]:
    """Masks that differ in size from their image, and files that are no images, in words."""
    images = {image.key: image for image in part.images}
    unequal: list[str] = []
    broken: list[str] = []
    for mask in track(part.masks, "pairs", len(part.masks)):
        image = images.get(mask.key)
        if image is None:
            continue
        try:
            expected, size = (_size(root / file.path) for file in (image, mask))
        except InputError as error:
            broken.append(str(error))
            continue
        if size != expected:
            difference = f"{size[0]} x {size[1]} px, its image {expected[0]} x {expected[1]} px"
            unequal.append(f"{mask.path} ({difference})")
    return unequal, broken


def _size(path: Path) -> tuple[int, int]:
    size = header_size(path)
    if size is None:
        raise InputError(f"{path.name} is no image")
    return size


def _box_fault(match: Found, box: Match) -> str:
    """Why a box file cannot be read; empty where it can."""
    try:
        read_boxes(match.root / box.path, match.dataset)
    except InputError as error:
        return str(error)
    return ""


def _lists(match: Found) -> Iterator[Problem]:
    """The official split: its files are there, name images that are there, and name none twice."""
    ids = {image.fields.get("id", "") for image in match.images}
    side_of: dict[str, str] = {}
    for side, name in match.layout.lists:
        path = match.root / name
        if not path.is_file():
            yield Problem(kind="split", message=f"{name}, the list of the official {side} side, is missing")
            continue

        listed = read_list(path)
        absent = [item for item in listed if item not in ids]
        if absent:
            missing = counted(len(absent), "image", ("that is", "that are"))
            message = f"{name} lists {missing} not there: {_some(absent)}"
            yield Problem(kind="split", message=message)
        both = [item for item in listed if side_of.get(item, side) != side]
        if both:
            standing = counted(len(both), "image", ("stands", "stand"))
            message = f"{standing} on both sides of the official split: {_some(both)}"
            yield Problem(kind="split", message=message)
        side_of |= dict.fromkeys(listed, side)


def read_list(path: Path) -> list[str]:
    """Ids of a split file: one a line, with or without an ending."""
    words = path.read_text(encoding="utf-8", errors="replace").split()
    return [Path(word).stem if Path(word).suffix.lower() in LISTED_ENDINGS else word for word in words]


def _numbers(match: Found) -> Iterator[Problem]:
    """Where images are numbered through, which sequences have gaps."""
    ranges = match.dataset.ranges
    if not ranges:
        return
    ids = [image.fields.get("id", "") for image in match.images]
    numbers = {int(name) for name in ids if name.isdigit()}
    incomplete = []
    for sequence, (first, last) in enumerate(ranges, 1):
        expected = range(first, last + 1)
        gap = sorted(set(expected) - numbers)
        if gap:
            incomplete.append(f"sequence {sequence} lacks {_some(map(str, gap))}")
    if incomplete:
        yield Problem(kind="numbers", message=f"{len(incomplete)} sequences have gaps: {_some(incomplete)}")

    first, last = ranges[0][0], ranges[-1][1]
    beyond = sorted(number for number in numbers if not first <= number <= last)
    if beyond:
        names = _some(map(str, beyond))
        images = counted(len(beyond), "image", ("is", "are"))
        yield Problem(
            kind="numbers",
            message=f"{images} numbered beyond {first} to {last}: {names}",
        )


def _copies(match: Found) -> Iterator[Problem]:
    """Files that are byte for byte the same on two sides of the official split."""
    sides = {image.path: part.part.split for part in match.parts if part.part.split for image in part.images}
    leaks: dict[str, list[str]] = defaultdict(list)
    for group in same_bytes(match.root, list(sides)):
        shared = sorted({sides[path] for path in group})
        if len(shared) > 1:
            leaks[" and ".join(shared)].append(" = ".join(group))
    for pair, names in leaks.items():
        message = (
            f"{counted(len(names), 'image', ('is', 'are'))} byte for byte in both {pair}: {_some(names)}"
        )
        yield Problem(kind="leak", message=message)


def same_bytes(root: Path, paths: Sequence[str]) -> list[list[str]]:
    """Groups of files with the same bytes; only files of equal size are read."""
    groups: list[list[str]] = []
    for alike in _by(paths, lambda path: (root / path).stat().st_size):
        if len(alike) > 1:
            groups += _by(alike, lambda path: hashlib.sha256((root / path).read_bytes()).digest())
    return sorted(group for group in groups if len(group) > 1)


def _by(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Items with equal keys together."""
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())


def _notes(match: Found, registry: Registry) -> Iterator[str]:
    """What is worth knowing of the set and no fault of the folder."""
    dataset = match.dataset
    yield from _number_notes(match)
    if "layouts" in dataset.unverified:
        yield (
            "the folder layout of this set could not be verified at its source; what is called missing "
            "may only lie elsewhere"
        )
    for other in dataset.contained_in:
        title = registry[other].title if other in registry else other
        yield f"these images are also in {title}: leave them out when pre-training there"
    inside = [other.title for other in registry.values() if dataset.name in other.contained_in]
    if inside:
        yield f"holds {', '.join(inside)}: never pre-train on those images and test on them"
    if match.others:
        yield f"the folder could also be {', '.join(match.others)}; say --name if it is"


def _number_notes(match: Found) -> Iterator[str]:
    """Numbers of images that differ where no part has a number of its own, or none is certain."""
    dataset = match.dataset
    total = len(match.images)
    if not dataset.images or total == dataset.images:
        return
    if "images" in dataset.unverified:
        yield (
            f"{counted(total, 'image')}; the benchmark's table says {dataset.images:,}, "
            "a number that no source confirmed"
        )
    elif not any(part.part.count for part in match.parts):
        yield f"{counted(total, 'image')}, {dataset.images:,} are published"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"{', '.join(listed[:SHOWN])}{more}"
