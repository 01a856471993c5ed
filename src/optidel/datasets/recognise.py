"""Which set a folder holds, found from its files' names."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from optidel.datasets.dataset import Dataset, Layout, Part, Registry
from optidel.datasets.registry import DATASETS, dataset_named
from optidel.datasets.templates import RASTER_ENDINGS, VIDEO_ENDINGS, Match, Shelves, match_all, shelve
from optidel.errors import InputError

# An archive unpacked into a folder of its own name, and that once more, is looked through this deep for the
# set's root.
DEEPEST = 4

# A folder with more folders than this in it is the root itself, not a wrapping around one.
FEW_FOLDERS = 4

# Share of the images whose id must look as the layout says: published archives hold a few strays.
KNOWN_IDS = 0.9

# A layout that many sets share is taken for a set by its number of images only when at least this share is
# there.
SAME_COUNT = 0.99

# The folder's name and the files that a layout explains count twice as much as the number of images, which a
# subset or a new release changes.
NAME_WEIGHT = EXPLAINED_WEIGHT = 2

# Of a set whose numbers are not published: neither for nor against it.
UNKNOWN_COUNT = 0.5


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
    paths = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(folder).relative_to(root)
        visible = [name for name in names if not name.startswith(".")]
        paths += [(base / name).as_posix() for name in visible]
    return sorted(paths)


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

    paths = listing(top)
    fits: list[tuple[float, Found]] = []
    for root in _roots(top):
        prefix = "" if root == top else f"{root.relative_to(top).as_posix()}/"
        inner = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
        shelves, media = shelve(inner), sum(_is_media(path) for path in inner)
        for dataset in sets:
            fits.extend(_fits(root, top, shelves, media, dataset, forced=bool(name)))
    if not fits:
        raise InputError(_no_fit(top, name))
    return _best(top, fits)


def _is_media(path: str) -> bool:
    ending = _ending(path)
    return ending in RASTER_ENDINGS or ending in VIDEO_ENDINGS


def _ending(path: str) -> str:
    return path.rsplit(".", 1)[-1].lower()


def _no_fit(top: Path, name: str | None) -> str:
    if name:
        return f"{top} does not look like the set {name}: no layout fits its file names"
    return (
        f"{top} does not look like any known set: no layout fits its file names; pass its name with --name, "
        "or describe the set in a registry file (--registry)"
    )


def _best(top: Path, fits: list[tuple[float, Found]]) -> Found:
    """The best fit, with the names of the other sets that fit.

    Raises:
        InputError: two sets fit equally well.
    """

    def rank(fit: tuple[float, Found]) -> tuple[float, bool, int]:
        score, candidate = fit
        is_known = candidate.dataset.name in DATASETS
        depth = len(candidate.root.parts)
        return -score, is_known, depth

    ordered = sorted(fits, key=rank)
    best_score, best = ordered[0]
    is_published = best.dataset.name in DATASETS
    others = [
        (score, other.dataset.name) for score, other in ordered[1:] if other.dataset.name != best.dataset.name
    ]
    # A user's own description wins over a published one that fits as well.
    rivals = [
        name for score, name in others if score > best_score - 1e-9 and (name in DATASETS) == is_published
    ]
    if rivals:
        names = ", ".join(dict.fromkeys(rivals))
        raise InputError(f"{top} fits {best.dataset.name} and {names} equally well; say which with --name")
    return replace(best, others=tuple(dict.fromkeys(name for _, name in others)))


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
            has_stills = any(_ending(entry.name) in RASTER_ENDINGS for entry in entries if entry.suffix)
            if not has_stills and len(folders) <= FEW_FOLDERS:
                deeper += folders
        roots, level = [*roots, *deeper], deeper
    return roots


def _fits(
    root: Path, top: Path, shelves: Shelves, media: int, dataset: Dataset, *, forced: bool
) -> Iterator[tuple[float, Found]]:
    """Score and files of every layout of a set that fits the folder.

    ``forced``: the user says that it is this set.
    """
    hint = _hint(root, top, dataset)
    for layout in dataset.layouts:
        if layout.generic and not (layout.ids or hint or forced):
            continue
        parts = [read_part(part, shelves, dataset) for part in layout.parts]
        if not _may_be(parts, layout, forced=forced):
            continue
        near = _nearness(parts, dataset)
        if layout.generic and not forced and not hint and near < SAME_COUNT:
            continue
        score = NAME_WEIGHT * hint + EXPLAINED_WEIGHT * _explained(parts, media) + near
        yield score, Found(dataset=dataset, layout=layout, root=root, parts=parts)


def _may_be(parts: Sequence[PartFiles], layout: Layout, *, forced: bool) -> bool:
    """Whether files and ids are those of a layout."""
    images = [image for part in parts for image in part.images]
    if not images:
        return False
    needs_masks = all(part.part.masks for part in parts if part.images)
    if needs_masks and not forced and not any(part.masks for part in parts):
        return False  # a folder of images alone is no labelled set
    if not layout.ids:
        return True
    fitting = sum(_id_fits(layout, image) for image in images)
    return fitting >= KNOWN_IDS * len(images)


def read_part(part: Part, shelves: Shelves, dataset: Dataset) -> PartFiles:
    """The files that one part's templates match."""
    masks = match_all(part.masks, shelves, dataset.classes)
    mask_paths = {mask.path for mask in masks}
    endings = VIDEO_ENDINGS if part.kind == "videos" else RASTER_ENDINGS
    images = [
        _with_origin(image, dataset)
        for image in match_all([part.images], shelves, dataset.classes)
        if image.path not in mask_paths and _ending(image.path) in endings
    ]
    boxes = match_all(part.boxes, shelves, dataset.classes)
    return PartFiles(part=part, images=images, masks=masks, boxes=boxes)


def _with_origin(image: Match, dataset: Dataset) -> Match:
    """The image with what its path or its number tells of its origin."""
    extra: dict[str, str] = {}
    hit = re.search(dataset.pattern, f"/{image.path}") if dataset.pattern else None
    if hit:
        groups = hit.groupdict()
        extra = {name: value for name, value in groups.items() if value}
    number = image.fields.get("id", "")
    if number.isdigit():
        for sequence, (first, last) in enumerate(dataset.ranges, 1):
            if first <= int(number) <= last:
                extra["sequence"] = str(sequence)
    return Match(path=image.path, fields=image.fields, extra=extra) if extra else image


def _id_fits(layout: Layout, image: Match) -> bool:
    return re.fullmatch(layout.ids, image.fields.get("id", ""), re.IGNORECASE) is not None


def _hint(root: Path, top: Path, dataset: Dataset) -> float:
    """1 where a folder from the top down to the root carries the set's name."""
    inner = root.relative_to(top).parts
    words = "/".join((top.resolve().name, *inner)).lower()
    return float(any(hint in words for hint in dataset.hints))


def _nearness(parts: Sequence[PartFiles], dataset: Dataset) -> float:
    """The smaller over the larger of the numbers of images that are there and published."""
    stills = [part for part in parts if part.part.kind == "images"]
    number = sum(len(part.images) for part in stills)
    # Several numbers may be published of a part; the i-th of each belong together.
    counts = [part.part.count for part in stills if part.images and part.part.count]
    releases = max(map(len, counts), default=0)
    published = [sum(count[min(i, len(count) - 1)] for count in counts) for i in range(releases)]
    ratios = [min(number, total) / max(number, total) for total in (*published, dataset.images) if total]
    return max(ratios, default=UNKNOWN_COUNT)


def _explained(parts: Sequence[PartFiles], media: int) -> float:
    """Share of the ``media`` images and videos of the folder that the layout knows."""
    matched = {match.path for part in parts for match in (*part.images, *part.masks)}
    return len(matched) / max(1, media)


def unit_of(image: Match, dataset: Dataset) -> str:
    """The split unit of an image, such as ``sequence:7``; empty where none is known."""
    facts = {**image.fields, **image.extra}
    return next((f"{name}:{facts[name]}" for name in dataset.unit if facts.get(name)), "")
