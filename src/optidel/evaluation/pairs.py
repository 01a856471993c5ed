"""Which image belongs to which mask, by the layout of the folder or by what is published of a known set."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from optidel.arrays import ClassMask
from optidel.corpus.groups import KINDS, compile_pattern, match
from optidel.corpus.manifest import load_manifest
from optidel.corpus.walk import walk
from optidel.datasets import DATASETS, LabelledSet, Registry, labelled_set, recognise
from optidel.datasets.masks import LOSSY_ENDINGS, ShownMask, count_codes, header_size, read_mask
from optidel.datasets.orientations import Beside, stored_picture, turns_of_masks
from optidel.datasets.readings import Reading, find_reading, take_census
from optidel.errors import InputError
from optidel.evaluation.splits import Item, ItemT
from optidel.progress import say
from optidel.readers import READERS
from optidel.readers.decoded import ending
from optidel.records import Rejected

# What the published sets write behind an image's stem to name its mask (``_mask`` PolypGen and BUSI,
# ``_segmentation`` ISIC, ``_gt`` ACDC, ``_seg`` BraTS).
SUFFIX = re.compile(
    r"[-_. ](masks?|segmentation|seg|labels?|gt|ground[-_ ]?truth|annotations?)$", re.IGNORECASE
)

# BUSI and others number several masks of one image: ``_mask``, ``_mask_1``, ``_mask2``.
NUMBERED = re.compile(SUFFIX.pattern.removesuffix("$") + r"[-_. ]?\d+$", re.IGNORECASE)


class ReadCodes(Protocol):
    """Reads the codes of an image's masks."""

    def __call__(self, shape: tuple[int, int], *, turns: Sequence[int | None] = ()) -> ClassMask:
        """Codes at the image's height and width, int32 (h, w)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Item):
    """One image with its masks.

    ``masks``, paths relative to the labelled folder (none: all background; several: their union); ``turns``
    the EXIF orientation that each takes in place of its own (None: its own). ``read_codes`` reads the masks'
    codes, given the image's height and width; ``reading`` is that of all masks of the folder, once they were
    looked at.
    """

    masks: tuple[str, ...]
    turns: tuple[int | None, ...] = ()
    read_codes: ReadCodes
    reading: Reading | None = None


def known_set(folder: Path | str, registry: Registry = DATASETS) -> LabelledSet | None:
    """The set of the registry that a folder holds and that says how to read or split it; None where plain
    folders say as much.

    Raises:
        InputError: the folder has no plain layout, and holds no known set, or one without masks.
    """
    root = Path(folder)
    plain = layout_of(root) is not None
    if not root.is_dir():
        raise InputError(
            f"no folder at {root}; pass the folder of the labelled set, which holds images/ and masks/"
        )
    try:
        match_ = recognise(root, registry=registry)
    except InputError as error:
        if plain:
            return None
        hint = (
            "images/ and masks/, or train/ and test/ with both in each, or a published set as "
            '`optidel datasets check` knows it, or a folder for each class (evaluate.labels = "folders" '
            "where two have files of the same names)"
        )
        raise InputError(f"{root} is no labelled set; it must hold {hint}") from error
    if plain and match_.dataset.annotation in ("none", "concepts"):
        return None
    published = labelled_set(match_)
    has_rules = bool(published.dataset.unit) or any(image.side for image in published.images)
    return published if has_rules or not plain else None


def layout_of(root: Path) -> tuple[str, ...] | None:
    """Where the plain layouts have their ``images/`` and ``masks/``: in the folder, or in ``test/`` and
    ``train/``; None without one.
    """
    for layout in (("",), ("test", "train")):
        if all((root / side / kind).is_dir() for side in layout for kind in ("images", "masks")):
            return layout
    return None


def pairs_by_side(
    root: Path, published: LabelledSet | None, rejected: list[Rejected], *, stored: bool = False
) -> dict[str, list[Pair]]:
    """The pairs on each side of a given split, ``train`` and ``test``, or all of them under the empty name.

    Args:
        root: the labelled folder.
        published: the known set in it, if any.
        rejected: files that cannot be paired are added here.
        stored: read the indices of palettes.
    """
    if published is None:
        layout = layout_of(root)
        assert layout is not None
        return {side: _plain_pairs(root, f"{side}/" if side else "", rejected, stored) for side in layout}

    inner = published.root.relative_to(root)
    rejected.extend(replace(item, source=(inner / item.source).as_posix()) for item in published.rejected)
    sides: dict[str, list[Pair]] = {}
    for image in published.images:
        pair = Pair(
            id=image.id,
            image=(inner / image.image).as_posix(),
            masks=tuple((inner / mask).as_posix() for mask in image.masks),
            read_codes=partial(published.mask, image),
            group=None if image.unit == image.id else image.unit,
        )
        sides.setdefault(image.side, []).append(pair)

    has_split = {"train", "test"} <= sides.keys()
    rule = "as published" if has_split else published.dataset.split
    say(f"{root.name}: read as {published.dataset.title}, split {rule}")
    if has_split:
        return {side: sides[side] for side in ("test", "train")}
    return {"": [pair for pairs in sides.values() for pair in pairs]}


def with_groups(items: Sequence[ItemT], root: Path, group: str | None) -> list[ItemT]:
    """Items with their groups; as they are without a rule.

    Raises:
        InputError: the rule knows no item.
    """
    if not group or not items:
        return list(items)
    names = _group_names(items, root, group)
    unknown, count = names.count(None), len(names)
    if unknown == count:
        raise InputError(
            f"evaluate.group, {group!r}, says nothing of the {len(items)} images of {root}, "
            f"such as {items[0].image}"
        )
    if unknown:
        say(
            f"{root.name}: {unknown} of {len(items)} labelled images have no known group; "
            "each is taken to be alone"
        )
    return [replace(item, group=name) for item, name in zip(items, names, strict=True)]


def _group_names(items: Sequence[Item], root: Path, group: str) -> list[str | None]:
    """The group of each item, by a manifest or by a pattern over its path."""
    if group.lower().endswith((".csv", ".parquet")):
        rows = load_manifest(Path(group), root.resolve()).rows
        facts = [rows.get(item.image, {}) for item in items]
    else:
        pattern = compile_pattern(group)
        assert pattern is not None
        facts = [match(pattern, item.image) for item in items]
    return [
        fact.get("group") or next((f"{kind}:{fact[kind]}" for kind in KINDS if kind in fact), None)
        for fact in facts
    ]


def _plain_pairs(root: Path, prefix: str, rejected: list[Rejected], stored: bool) -> list[Pair]:
    """Images with the masks of the same path and stem, sorted by id; whatever has no counterpart is
    rejected.
    """
    images = _stems(root, f"{prefix}images", rejected)
    masks = _by_image(images, _stems(root, f"{prefix}masks", rejected), rejected)
    lonely_images = [images[stem] for stem in sorted(images.keys() - masks.keys())]
    lonely_masks = [mask for stem in sorted(masks.keys() - images.keys()) for mask in masks[stem]]
    for lonely, kind in ((lonely_images, "mask"), (lonely_masks, "image")):
        reason = f"has no {kind} of the same stem"
        rejected.extend(Rejected(source=source, reason=reason) for source in lonely)

    stems = sorted(images.keys() & masks.keys())
    united = sum(len(masks[stem]) > 1 for stem in stems)
    if united:
        say(f"{root.name}: {united} of {len(stems)} images have several masks; their union is the foreground")
    return [
        Pair(
            id=prefix + stem,
            image=images[stem],
            masks=tuple(masks[stem]),
            read_codes=partial(_mask_codes, [root / m for m in masks[stem]], stored, ""),
        )
        for stem in stems
    ]


def with_turns(sides: dict[str, list[Pair]], root: Path) -> tuple[dict[str, list[Pair]], str]:
    """The pairs with the orientation of their masks, and what to say about it.

    Args:
        sides: the pairs of a folder.
        root: the labelled folder.
    """
    beside: list[Beside] = []
    for pair in (pair for members in sides.values() for pair in members):
        image = stored_picture(root / pair.image) if pair.masks and not pair.locator else None
        for mask in pair.masks:
            header = stored_picture(root / mask) if image is not None else None
            beside.append(Beside(image=image, mask=header, source=mask))

    turns, text = turns_of_masks(beside)
    rest = iter(turns)
    turned_sides = {
        side: [_with_turns(pair, tuple(next(rest) for _ in pair.masks)) for pair in members]
        for side, members in sides.items()
    }
    return turned_sides, text


def _with_turns(pair: Pair, turns: tuple[int | None, ...]) -> Pair:
    if not any(turns):
        return pair
    return replace(pair, turns=turns, read_codes=partial(pair.read_codes, turns=turns))


def slice_of(pair: Pair, root: Path, locator: str, *, stored: bool) -> Pair:
    """One slice of a volume and of its masks, in the group of the volume if no other is known.

    Args:
        pair: a volume with mask volumes of the same grid.
        root: the labelled folder.
        locator: of the slice, such as ``axial:57``.
        stored: read the values as stored, as for the masks of pictures.
    """
    paths = [root / mask for mask in pair.masks]
    return replace(
        pair,
        id=f"{pair.id}#{locator}",
        locator=locator,
        group=f"volume:{pair.id}" if pair.group is None else pair.group,
        read_codes=partial(_mask_codes, paths, stored, locator),
    )


def _stems(root: Path, kind: str, rejected: list[Rejected]) -> dict[str, str]:
    """Path without its ending to path, of the files that a reader may know; the walk of the corpus refuses
    what is no regular file.
    """
    listing = walk(root / kind)
    rejected.extend(Rejected(source=f"{kind}/{item.source}", reason=item.reason) for item in listing.refused)
    stems: dict[str, str] = {}
    # Of twins the one whose values no compression changed.
    for file in sorted(listing.files, key=lambda file: ending(file.source) in LOSSY_ENDINGS):
        suffix = ending(file.source)
        length = len(file.source) - len(suffix)
        stem = file.source[:length]
        source = f"{kind}/{file.source}"
        if suffix and suffix not in READERS:
            reason = f"has the ending {Path(source).suffix!r}, which no reader knows"
            rejected.append(Rejected(source=source, reason=reason))
        elif stem in stems:
            rejected.append(Rejected(source=source, reason=f"has the same stem as {stems[stem]}"))
        else:
            stems[stem] = source
    return stems


def _by_image(
    images: dict[str, str], masks: dict[str, str], rejected: list[Rejected]
) -> dict[str, list[str]]:
    """Masks by the stem of their image: of the same stem, of a stem that says that it is a mask, also with a
    number, or in a folder of that stem.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for stem, source in masks.items():
        if stem in images:
            by_stem[stem].append(source)

    several: dict[str, list[str]] = defaultdict(list)
    for stem, source in sorted(masks.items()):
        # An image of that very name comes first, so that ``cell_mask.png`` may itself be an image.
        if stem in images:
            continue
        bare = SUFFIX.sub("", stem)
        numbered = NUMBERED.sub("", stem)
        folder = stem.rpartition("/")[0]
        if bare in images and bare in by_stem:
            rejected.append(Rejected(source=source, reason=f"is a second mask beside {by_stem[bare][0]}"))
        elif bare in images or numbered in images:
            several[bare if bare in images else numbered].append(source)
        else:
            several[folder if folder in images else stem].append(source)

    for stem, sources in several.items():
        if stem in by_stem:
            reason = f"is a second mask beside {by_stem[stem][0]}"
            rejected.extend(Rejected(source=source, reason=reason) for source in sources)
        else:
            by_stem[stem] = sources
    return by_stem


def read_masks(
    paths: Sequence[Path], *, stored: bool = False, locator: str = "", turns: Sequence[int | None] = ()
) -> ShownMask:
    """The mask of an image, or the union of its masks: 255 where one of them shows something.

    Args:
        paths: one or more files of equal size.
        stored: take the indices of a palette for values, whatever their colours.
        locator: of the slice, where they are volumes.
        turns: the EXIF orientation that each takes in place of its own (None: its own).

    Raises:
        InputError: one cannot be read as a mask, or, of several, has another size or more than one class.
    """
    turns = turns or [None] * len(paths)
    if len(paths) == 1:
        return read_mask(paths[0], stored=stored, locator=locator, turn=turns[0])
    union: np.ndarray[tuple[int, int], np.dtype[np.bool_]] | None = None
    for path, turn in zip(paths, turns, strict=True):
        shown = _shown(read_mask(path, stored=stored, locator=locator, turn=turn), path)
        if union is not None and union.shape != shown.shape:
            raise InputError(f"the masks {paths[0].name} and {path.name} are not of one size")
        union = shown if union is None else union | shown
    assert union is not None
    return ShownMask(codes=np.where(union, 255, 0).astype(np.int32))


def _shown(mask: ShownMask, path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """The foreground of one of several masks, read by the same rules as a set of masks."""
    codes = sorted(count_codes(mask.codes))
    if len(codes) == 1:
        return np.asarray(mask.codes > 0)  # nothing, or everything
    reading = find_reading([take_census(mask)], path.name)
    if reading.classes != 2:
        raise InputError(
            f"the mask {path.name} holds {reading.classes} classes and is one of several of its image; each "
            "of several masks shows one thing, 0 and one other value; keep one mask of all classes an image"
        )
    return np.asarray(reading.apply(mask.codes) == 1)


def _mask_codes(
    paths: Sequence[Path],
    stored: bool,
    locator: str,
    shape: tuple[int, int],
    turns: Sequence[int | None] = (),
) -> ClassMask:
    """The codes of a mask as the image is seen, (h, w).

    Raises:
        InputError: no mask, or not of the image's size.
    """
    if not locator:
        for path in paths:
            check_sizes(path, shape)
    codes = read_masks(paths, stored=stored, locator=locator, turns=turns).codes
    if codes.shape != shape:
        height, width = codes.shape
        raise InputError(_sizes(width, height, shape))
    return codes


def check_sizes(path: Path, shape: tuple[int, int], label: str = "the mask") -> None:
    """Refuse, before it is decoded, a mask that cannot be of the image's size (h, w), however it is turned.

    Raises:
        InputError: another size.
    """
    size = header_size(path)
    if size is None:
        return  # its reader will tell
    if sorted(size) != sorted(shape):
        raise InputError(_sizes(*size, shape, label))


def _sizes(width: int, height: int, shape: tuple[int, int], label: str = "the mask") -> str:
    return f"{label} is {width} x {height} px, the image {shape[1]} x {shape[0]} px"
