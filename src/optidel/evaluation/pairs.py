"""Which image belongs to which mask, by the layout of the folder or by what is published of a known set."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image as PillowImage

from optidel.arrays import ClassMask
from optidel.corpus.groups import KINDS, compile_pattern, match
from optidel.corpus.manifest import load_manifest
from optidel.corpus.walk import walk
from optidel.datasets import DATASETS, LabelledSet, Registry, labelled_set, recognise
from optidel.datasets.masks import ORIENTATION, ShownMask, header_size, read_mask
from optidel.datasets.readings import Reading
from optidel.errors import InputError
from optidel.progress import say
from optidel.readers import READERS
from optidel.readers.decoded import ending, turned
from optidel.records import Rejected

# What the published sets write behind an image's stem to name its mask (``_mask`` PolypGen and BUSI,
# ``_segmentation`` ISIC, ``_gt`` ACDC, ``_seg`` BraTS).
SUFFIX = re.compile(
    r"[-_. ](masks?|segmentation|seg|labels?|gt|ground[-_ ]?truth|annotations?)$", re.IGNORECASE
)

# EXIF orientations from here on swap height and width.
QUARTER_TURN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One labelled image.

    ``id``; ``image`` and ``masks``, paths relative to the labelled folder (no masks: all background);
    ``read_codes`` reads the masks' codes, given the image's height and width; ``group`` where known;
    ``root`` is the labelled folder and ``reading`` that of all its masks, once they were looked at.
    """

    id: str
    image: str
    masks: tuple[str, ...]
    read_codes: Callable[[tuple[int, int]], ClassMask]
    group: str | None = None
    root: Path = Path()
    reading: Reading | None = None

    @property
    def together(self) -> str:
        """What the pair must not be parted from: its group, or itself."""
        return f"\0{self.id}" if self.group is None else self.group


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
            "`optidel datasets check` knows it"
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


def with_groups(pairs: Sequence[Pair], root: Path, group: str | None) -> list[Pair]:
    """Pairs with their groups; as they are without a rule.

    Raises:
        InputError: the rule knows no pair.
    """
    if not group or not pairs:
        return list(pairs)
    names = _group_names(pairs, root, group)
    unknown, count = names.count(None), len(names)
    if unknown == count:
        raise InputError(
            f"evaluate.group, {group!r}, says nothing of the {len(pairs)} images of {root}, "
            f"such as {pairs[0].image}"
        )
    if unknown:
        say(
            f"{root.name}: {unknown} of {len(pairs)} labelled images have no known group; "
            "each is taken to be alone"
        )
    return [replace(pair, group=name) for pair, name in zip(pairs, names, strict=True)]


def _group_names(pairs: Sequence[Pair], root: Path, group: str) -> list[str | None]:
    """The group of each pair, by a manifest or by a pattern over its path."""
    if group.lower().endswith((".csv", ".parquet")):
        rows = load_manifest(Path(group), root.resolve()).rows
        facts = [rows.get(pair.image, {}) for pair in pairs]
    else:
        pattern = compile_pattern(group)
        assert pattern is not None
        facts = [match(pattern, pair.image) for pair in pairs]
    return [
        fact.get("group") or next((f"{kind}:{fact[kind]}" for kind in KINDS if kind in fact), None)
        for fact in facts
    ]


def _plain_pairs(root: Path, prefix: str, rejected: list[Rejected], stored: bool) -> list[Pair]:
    """Images with a mask of the same path and stem, sorted by id; whatever has no counterpart is rejected."""
    images = _stems(root, f"{prefix}images", rejected)
    masks = _with_suffix(images, _stems(root, f"{prefix}masks", rejected), rejected)
    for files, counterparts, kind in ((images, masks, "mask"), (masks, images, "image")):
        reason = f"has no {kind} of the same stem"
        lonely = sorted(files.keys() - counterparts.keys())
        rejected.extend(Rejected(source=files[stem], reason=reason) for stem in lonely)
    return [
        Pair(
            id=prefix + stem,
            image=images[stem],
            masks=(masks[stem],),
            read_codes=partial(_mask_codes, root / images[stem], root / masks[stem], stored),
        )
        for stem in sorted(images.keys() & masks.keys())
    ]


def _stems(root: Path, kind: str, rejected: list[Rejected]) -> dict[str, str]:
    """Path without its ending to path, of the files that a reader may know; the walk of the corpus refuses
    what is no regular file.
    """
    listing = walk(root / kind)
    rejected.extend(Rejected(source=f"{kind}/{item.source}", reason=item.reason) for item in listing.refused)
    stems: dict[str, str] = {}
    for file in listing.files:
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


def _with_suffix(images: dict[str, str], masks: dict[str, str], rejected: list[Rejected]) -> dict[str, str]:
    """Masks by the stem of their image, also where the mask's own stem says that it is one."""
    by_stem: dict[str, str] = {stem: masks[stem] for stem in masks if stem in images}
    for stem, source in masks.items():
        if stem in images:
            continue
        # An image of that very name comes first, so that ``cell_mask.png`` may itself be an image.
        bare = SUFFIX.sub("", stem)
        if bare in images and bare in by_stem:
            rejected.append(Rejected(source=source, reason=f"is a second mask beside {by_stem[bare]}"))
        else:
            by_stem[bare if bare in images else stem] = source
    return by_stem


def _mask_codes(image: Path, path: Path, stored: bool, shape: tuple[int, int]) -> ClassMask:
    """The codes of a mask as the image is seen, (h, w).

    Raises:
        InputError: no mask, or not of the image's size.
    """
    check_sizes(path, shape)
    mask: ShownMask = read_mask(path, stored=stored)
    codes = mask.codes
    if codes.shape == shape[::-1] and codes.shape != shape:
        # Drawn on the stored pixels of a picture that its EXIF tag turns by a quarter.
        codes = turned(codes, _quarter_turn(image))
    if codes.shape != shape:
        height, width = mask.codes.shape
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


def _quarter_turn(image: Path) -> int:
    """The EXIF orientation of a picture where it swaps height and width, else 1."""
    try:
        with PillowImage.open(image) as opened:
            orientation = int(opened.getexif().get(ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError):
        return 1
    return orientation if orientation >= QUARTER_TURN else 1
