"""Which set a folder holds, found from its files' names."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from optidel.datasets.dataset import Dataset, Layout, Part, Registry
from optidel.datasets.registry import DATASETS, dataset_named
from optidel.datasets.templates import RASTER_ENDINGS, VIDEO_ENDINGS, Match, Shelves, match_all, shelve
from optidel.errors import InputError

DEEPEST = 4
"""An archive unpacked into a folder of its own name, and that once more, is looked through this deep for the
set's root.
"""

KNOWN_IDS = 0.9
"""Share of the images whose id must look as the layout says."""

SAME_COUNT = 0.99
"""A layout that many sets share is taken for a set by its number of images only when at least this share is
there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFiles:
    """The files of one part: images, masks and boxes, each with the fields of its path."""

    part: Part
    images: list[Match]
    masks: list[Match]
    boxes: list[Match]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A folder taken for a set. ``root`` is where the layout begins; ``others`` are further sets that the
    folder could be.
    """

    dataset: Dataset
    layout: Layout
    root: Path
    parts: list[PartFiles]
    others: tuple[str, ...] = ()

    @cached_property
    def images(self) -> list[Match]:
        """Every still image of the set."""
        return [image for part in self.parts if part.part.kind == "images" for image in part.images]


def listing(root: Path) -> list[str]:
    """POSIX paths of all files under ``root``, relative to it, sorted; hidden ones left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(folder).relative_to(root)
        found += [(base / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def recognise(folder: Path | str, name: str | None = None, registry: Registry = DATASETS) -> Found:
    """Which set lies in a folder.

    Every layout of every set is laid over the file names; ids that look otherwise rule it out. Of the rest,
    the one wins whose name the folder carries, which explains most files and whose published number of images
    is nearest; a user's own set wins over one of DataDEL that fits equally well.

    Args:
        folder: where the set was unpacked, or one folder above.
        name: take it for this set; the best layout of that set is used even where files are missing.
        registry: sets to choose from.

    Raises:
        InputError: no such folder, an unknown name, or nothing that fits, or several sets that fit equally
            well.
    """
    top = Path(folder)
    if not top.is_dir():
        raise InputError(f"no folder at {top}; pass the folder that the set was unpacked into")
    sets = [dataset_named(name, registry)] if name else list(registry.values())
    everything = listing(top)
    scored: list[tuple[float, Found]] = []
    for root in _roots(top):
        inner = "" if root == top else f"{root.relative_to(top).as_posix()}/"
        files = [path.removeprefix(inner) for path in everything if path.startswith(inner)]
        shelves = shelve(files)
        media = sum(path.rsplit(".", 1)[-1].lower() in (*RASTER_ENDINGS, *VIDEO_ENDINGS) for path in files)
        scored += [
            fit for dataset in sets for fit in _fits(root, top, shelves, media, dataset, named=bool(name))
        ]
    if not scored:
        named = f"the set {name}" if name else "any known set"
        hint = (
            "" if name else "; pass its name with --name, or describe the set in a registry file (--registry)"
        )
        raise InputError(f"{top} does not look like {named}: no layout fits its file names{hint}")
    scored.sort(key=lambda pair: (-pair[0], pair[1].dataset.name in DATASETS, len(pair[1].root.parts)))
    best, found = scored[0]
    equal = [
        other.dataset.name
        for score, other in scored[1:]
        if other.dataset.name != found.dataset.name and score > best - 1e-9
    ]
    others = [
        other for other in equal if (other in DATASETS) == (found.dataset.name in DATASETS)
    ]  # a user's own description wins
    if others:
        raise InputError(
            f"{top} fits {found.dataset.name} and {', '.join(dict.fromkeys(others))} equally well; say which with --name"
        )
    rest = dict.fromkeys(
        other.dataset.name for _, other in scored[1:] if other.dataset.name != found.dataset.name
    )
    return Found(
        dataset=found.dataset, layout=found.layout, root=found.root, parts=found.parts, others=tuple(rest)
    )


def _roots(top: Path) -> list[Path]:
    """The folder, and folders in it down to DEEPEST while there are few to choose from and no images beside
    them.
    """
    roots, level = [top], [top]
    for _ in range(DEEPEST):
        deeper = []
        for folder in level:
            entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
            folders = [entry for entry in entries if entry.is_dir()]
            stills = any(entry.suffix.lower().lstrip(".") in RASTER_ENDINGS for entry in entries)
            if not stills and len(folders) <= 4:
                deeper += folders
        roots, level = [*roots, *deeper], deeper
    return roots


def _fits(
    root: Path, top: Path, shelves: Shelves, media: int, dataset: Dataset, *, named: bool
) -> list[tuple[float, Found]]:
    """Score and files of every layout of a set that fits the folder."""
    fits = []
    hint = _hint(root, top, dataset)
    for layout in dataset.layouts:
        if layout.generic and not (layout.ids or hint or named):
            continue
        parts = [read_part(part, shelves, dataset) for part in layout.parts]
        images = [image for part in parts for image in part.images]
        masked = [bool(part.part.masks) for part in parts if part.images]
        if not images or (all(masked) and not named and not any(part.masks for part in parts)):
            continue  # a folder of images alone is no labelled set
        if layout.ids and sum(_id_fits(layout, image) for image in images) < KNOWN_IDS * len(images):
            continue
        near = _nearness(parts, dataset)
        if layout.generic and not named and not hint and near < SAME_COUNT:
            continue
        explained = _explained(parts, media)
        fits.append(
            (2 * hint + 2 * explained + near, Found(dataset=dataset, layout=layout, root=root, parts=parts))
        )
    return fits


def read_part(part: Part, shelves: Shelves, dataset: Dataset) -> PartFiles:
    """The files that one part's templates match."""
    masks = match_all(part.masks, shelves, dataset.classes)
    taken = {mask.path for mask in masks}
    endings = VIDEO_ENDINGS if part.kind == "videos" else RASTER_ENDINGS
    images = [
        image
        for image in match_all([part.images], shelves, dataset.classes)
        if image.path not in taken and image.path.rsplit(".", 1)[-1].lower() in endings
    ]
    boxes = match_all(part.boxes, shelves, dataset.classes)
    return PartFiles(
        part=part, images=[_with_extra(image, dataset) for image in images], masks=masks, boxes=boxes
    )


def _with_extra(image: Match, dataset: Dataset) -> Match:
    """The image with what its path or its number tells of its origin."""
    extra: dict[str, str] = {}
    if dataset.pattern and (hit := re.search(dataset.pattern, f"/{image.path}")):
        extra = {name: value for name, value in hit.groupdict().items() if value}
    number = image.fields.get("id", "")
    if dataset.ranges and number.isdigit():
        place = next(
            (i for i, (first, last) in enumerate(dataset.ranges, 1) if first <= int(number) <= last), None
        )
        extra |= {"sequence": str(place)} if place else {}
    return Match(path=image.path, fields=image.fields, extra=extra) if extra else image


def _id_fits(layout: Layout, image: Match) -> bool:
    return re.fullmatch(layout.ids, image.fields.get("id", ""), re.IGNORECASE) is not None


def _hint(root: Path, top: Path, dataset: Dataset) -> float:
    """1 where a folder from the one given down to the root carries the set's name."""
    inner = root.relative_to(top).parts
    words = "/".join((top.resolve().name, *inner)).lower()
    return float(any(hint in words for hint in dataset.hints))


def _nearness(parts: Sequence[PartFiles], dataset: Dataset) -> float:
    """The smaller over the larger of found and published numbers of images."""
    found = sum(len(part.images) for part in parts if part.part.kind == "images")
    counts = [part.part.count for part in parts if part.part.kind == "images" and part.images]
    published = [
        sum(count[min(i, len(count) - 1)] for count in counts if count)
        for i in range(max(map(len, counts), default=0))
    ]
    published = [number for number in (*published, dataset.images) if number]
    return max((min(found, number) / max(found, number) for number in published), default=0.5)


def _explained(parts: Sequence[PartFiles], media: int) -> float:
    """Share of the ``media`` images and videos of the folder that the layout knows."""
    known = {match.path for part in parts for match in (*part.images, *part.masks)}
    return len(known) / max(1, media)


def unit_of(image: Match, dataset: Dataset) -> str:
    """The split unit of an image, such as ``sequence:7``; empty where none is known."""
    known = {**image.fields, **image.extra}
    return next((f"{name}:{known[name]}" for name in dataset.unit if known.get(name)), "")
