"""Whether a folder holds a set whole: numbers, pairs, sizes, the official split, and copies across it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from optidel.datasets.boxes import read_boxes
from optidel.datasets.dataset import Dataset, Registry
from optidel.datasets.recognise import Found, PartFiles, recognise, unit_of
from optidel.datasets.registry import DATASETS
from optidel.datasets.templates import Match
from optidel.errors import InputError
from optidel.progress import track

Item = TypeVar("Item")
SHOWN = 5
"""Names written out in one message; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something missing or wrong. ``kind``: missing, count, pair, size, unreadable, boxes, split, numbers or
    leak.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCount:
    """What was found of one part; ``published`` is empty where no number is published."""

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
    found = recognise(folder, name, registry)
    problems = list(_problems(found))
    units = {unit for image in found.images if (unit := unit_of(image, found.dataset))}
    return Check(
        dataset=found.dataset,
        root=found.root,
        layout=found.layout.title,
        parts=tuple(
            PartCount(
                name=part.part.name,
                kind=part.part.kind,
                found=len(part.images),
                published=part.part.count,
                pairs=len({image.key for image in part.images} & {mask.key for mask in part.masks}),
            )
            for part in found.parts
        ),
        units=len(units),
        problems=tuple(problems),
        notes=tuple(_notes(found, registry)),
    )


def _problems(found: Found) -> Iterator[Problem]:
    for part in found.parts:
        yield from _counts(part, found.dataset)
        yield from _pairing(part)
        yield from _files(part, found)
    yield from _lists(found)
    yield from _numbers(found)
    yield from _copies(found)


def _counts(part: PartFiles, dataset: Dataset) -> Iterator[Problem]:
    count, found = part.part.count, len(part.images)
    where = f"{part.part.name} ({part.part.images})"
    if not found and part.part.needed:
        yield Problem(
            kind="missing",
            message=f"{where}: nothing there{f', {count[0]:,} are published' if count else ''}",
        )
    elif found and count and found not in count:
        published = " or ".join(f"{number:,}" for number in count)
        yield Problem(kind="count", message=f"{where}: {found:,} {part.part.kind}, {published} are published")


def _pairing(part: PartFiles) -> Iterator[Problem]:
    images, masks = {image.key: image for image in part.images}, {mask.key for mask in part.masks}
    if (
        part.part.masks
        and not part.part.negative
        and (bare := [image.path for key, image in images.items() if key not in masks])
    ):
        yield Problem(kind="pair", message=f"{len(bare)} images without a mask: {_some(bare)}")
    if orphans := [mask.path for mask in part.masks if mask.key not in images]:
        yield Problem(kind="pair", message=f"{len(orphans)} masks without an image: {_some(orphans)}")
    boxed = {box.key for box in part.boxes}
    if part.part.boxes and (bare := [image.path for key, image in images.items() if key not in boxed]):
        yield Problem(kind="pair", message=f"{len(bare)} images without a box file: {_some(bare)}")
    if len(images) < len(part.images):
        twice = [key for key, number in Counter(image.key for image in part.images).items() if number > 1]
        names = [image.path for image in part.images if image.key in set(twice)]
        yield Problem(
            kind="pair", message=f"{len(twice)} images are there under several endings: {_some(names)}"
        )


def _files(part: PartFiles, found: Found) -> Iterator[Problem]:
    """Masks of another size than their image, files that are none, and box files that say nothing sensible."""
    sizes = {image.key: image for image in part.images}
    wrong: list[str] = []
    broken: list[str] = []
    for mask in track(part.masks, "pairs", len(part.masks)):
        image = sizes.get(mask.key)
        if image is None:
            continue
        try:
            seen = [_size(found.root / file.path) for file in (image, mask)]
        except InputError as error:
            broken.append(str(error))
            continue
        if seen[0] != seen[1]:
            wrong.append(
                f"{mask.path} ({seen[1][0]} x {seen[1][1]} px, its image {seen[0][0]} x {seen[0][1]} px)"
            )
    if not part.masks:
        broken = [
            f"{image.path} has zero bytes"
            for image in part.images
            if (found.root / image.path).stat().st_size == 0
        ]
    if broken:
        yield Problem(kind="unreadable", message=f"{len(broken)} files cannot be read: {_some(broken)}")
    if wrong:
        yield Problem(
            kind="size", message=f"{len(wrong)} masks differ in size from their image: {_some(wrong)}"
        )
    bad = [reason for box in part.boxes if (reason := _box_fault(found, box))]
    if bad:
        yield Problem(kind="boxes", message=f"{len(bad)} box files cannot be read: {_some(bad)}")


def _size(path: Path) -> tuple[int, int]:
    try:
        with PillowImage.open(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError, ValueError, PillowImage.DecompressionBombError):
        raise InputError(f"{path.name} is no image") from None


def _box_fault(found: Found, box: Match) -> str:
    try:
        read_boxes(found.root / box.path, found.dataset)
    except InputError as error:
        return str(error)
    return ""


def _lists(found: Found) -> Iterator[Problem]:
    """The official split: its files are there, name images that are there, and name none twice."""
    ids = {image.fields.get("id", "") for image in found.images}
    side_of: dict[str, str] = {}
    for side, name in found.layout.lists:
        path = found.root / name
        if not path.is_file():
            yield Problem(kind="split", message=f"{name}, the list of the official {side} side, is missing")
            continue
        listed = read_list(path)
        if gone := [item for item in listed if item not in ids]:
            yield Problem(
                kind="split", message=f"{name} lists {len(gone)} images that are not there: {_some(gone)}"
            )
        if both := [item for item in listed if side_of.get(item, side) != side]:
            yield Problem(
                kind="split",
                message=f"{len(both)} images stand on both sides of the official split: {_some(both)}",
            )
        side_of |= dict.fromkeys(listed, side)


def read_list(path: Path) -> list[str]:
    """Ids of a split file: one a line, with or without an ending."""
    lines = path.read_text(encoding="utf-8", errors="replace").split()
    return [
        Path(line).stem if Path(line).suffix.lower() in (".jpg", ".png", ".tif", ".bmp") else line
        for line in lines
    ]


def _numbers(found: Found) -> Iterator[Problem]:
    """Where images are numbered through, which sequences have gaps."""
    if not found.dataset.ranges:
        return
    there = {int(number) for image in found.images if (number := image.fields.get("id", "")).isdigit()}
    gaps = {i: set(range(first, last + 1)) - there for i, (first, last) in enumerate(found.dataset.ranges, 1)}
    incomplete = [f"sequence {i} lacks {_some(map(str, sorted(gap)))}" for i, gap in gaps.items() if gap]
    if incomplete:
        yield Problem(kind="numbers", message=f"{len(incomplete)} sequences have gaps: {_some(incomplete)}")
    first, last = found.dataset.ranges[0][0], found.dataset.ranges[-1][1]
    if beyond := sorted(number for number in there if not first <= number <= last):
        yield Problem(
            kind="numbers",
            message=f"{len(beyond)} images are numbered beyond {first} to {last}: {_some(map(str, beyond))}",
        )


def _copies(found: Found) -> Iterator[Problem]:
    """Files that are byte for byte the same on two sides of the official split."""
    sides = {image.path: part.part.split for part in found.parts if part.part.split for image in part.images}
    copies = [
        group for group in same_bytes(found.root, list(sides)) if len({sides[path] for path in group}) > 1
    ]
    for pair, groups in _by(
        copies, lambda group: " and ".join(sorted({sides[path] for path in group}))
    ).items():
        names = [" = ".join(group) for group in groups]
        yield Problem(
            kind="leak", message=f"{len(groups)} images are byte for byte in both {pair}: {_some(names)}"
        )


def same_bytes(root: Path, paths: Sequence[str]) -> list[list[str]]:
    """Groups of files with the same bytes; only files of equal size are read."""
    groups: list[list[str]] = []
    for alike in _by(paths, lambda path: (root / path).stat().st_size).values():
        if len(alike) > 1:
            groups += _by(alike, lambda path: hashlib.sha256((root / path).read_bytes()).digest()).values()
    return sorted(group for group in groups if len(group) > 1)


def _by(items: Iterable[Item], key: Callable[[Item], Hashable]) -> dict[Hashable, list[Item]]:
    grouped: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        grouped[key(item)].append(item)
    return grouped


def _notes(found: Found, registry: Registry) -> Iterator[str]:
    dataset = found.dataset
    total = sum(len(part.images) for part in found.parts if part.part.kind == "images")
    if dataset.images and "images" in dataset.unverified and total != dataset.images:
        yield f"{total:,} images; the benchmark's table says {dataset.images:,}, a number that no source confirmed"
    elif dataset.images and total != dataset.images and not any(part.part.count for part in found.parts):
        yield f"{total:,} images, {dataset.images:,} are published"
    if "layouts" in dataset.unverified:
        yield "the folder layout of this set could not be verified at its source; what is called missing may only lie elsewhere"
    for other in dataset.contained_in:
        title = registry[other].title if other in registry else other
        yield f"these images are also in {title}: leave them out when pre-training there"
    inside = [other.title for other in registry.values() if dataset.name in other.contained_in]
    if inside:
        yield f"holds {', '.join(inside)}: never pre-train on those images and test on them"
    if found.others:
        yield f"the folder could also be {', '.join(found.others)}; say --name if it is"


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return f"{', '.join(shown[:SHOWN])}{more}"
