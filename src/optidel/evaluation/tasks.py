"""A labelled set: images with class masks, split into training and test."""

import hashlib
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int, Int64, Shaped, UInt8
from PIL import Image as PillowImage

from optidel.arrays import ClassMask, Image, Images
from optidel.corpus.groups import KINDS, compile_pattern, match
from optidel.corpus.manifest import load_manifest
from optidel.datasets import DATASETS, LabelledSet, Registry, labelled_set, recognise
from optidel.errors import InputError
from optidel.progress import say, track
from optidel.readers.decode import RASTER, fit, read_frame, to_image
from optidel.records import Rejected

Part = Literal["train", "test"]
TRAIN, TEST = 200, 300
MIN_TEST = 0.2
MASKS = (*RASTER, ".gif")
MAX_CLASSES = 64
PLAIN_VALUES = 8
GREY_MARGIN = 32
GREY_SHARE = 0.95
"""Masks with more than PLAIN_VALUES values are two classes in grey levels where this share of pixels is
within GREY_MARGIN of 0 or 255.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A labelled set at the model's size.

    ``ids`` str (n,); ``sources`` the images' paths relative to the folder; ``groups`` the patient, video, …
    of each, None where not known; ``images`` u8 (n, s, s, 3); ``masks`` u8 (n, s, s), class of every pixel, 0
    background; ``split`` str (n,), ``train`` or ``test``; ``classes`` counts the background; ``rejected`` are
    the files looked at and not used, relative to the folder.
    """

    name: str
    ids: Shaped[np.ndarray, "n"]
    sources: list[str]
    groups: list[str | None]
    images: Images
    masks: UInt8[np.ndarray, "n s s"]
    split: Shaped[np.ndarray, "n"]
    classes: int
    rejected: list[Rejected]

    def rows(self, part: Part) -> Int64[np.ndarray, "m"]:
        """Rows of one part."""
        return np.flatnonzero(self.split == part)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """``id`` of an image, its path relative to the labelled folder, what reads its mask, given the image's
    height and width, and its group where known."""

    id: str
    image: str
    read_mask: Callable[[tuple[int, int]], ClassMask]
    group: str | None = None

    @property
    def together(self) -> str:
        """What the pair must not be parted from: its group, or itself."""
        return f"\0{self.id}" if self.group is None else self.group


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """One pair as read: ``mask`` holds the stored values, ``counts`` the pixels of each at full size;
    ``sha256`` of the full-size image.
    """

    pair: _Pair
    image: Image
    mask: Int[np.ndarray, "s s"]
    counts: Counter[int]
    sha256: str


def load_task(
    folder: Path | str,
    size: int,
    *,
    train: int = TRAIN,
    test: int = TEST,
    seed: int = 0,
    group: str | None = None,
    registry: Registry = DATASETS,
) -> Task:
    """Read a labelled set.

    Three layouts: ``images/`` and ``masks/`` of the same stem, split by a permutation of the sorted ids that
    ``seed`` alone decides, the test part first, so that another number of training images leaves the test
    part as it is; ``train/`` and ``test/``, each with both folders, whose split is kept; or a set of the
    registry as it is published, read by its own annotation, with its official split where there is one, else
    with its split units as groups. Files are read in that order and only until both parts are full, one pair
    at a time at full size. A training image whose pixels equal a test image's is rejected.

    With ``group``, no patient, video, … stands on both sides: whole groups are tested on, in the order in
    which the permutation first meets them (the last one cut where the test part is full, its rest unused),
    and others trained on; where the split is given, training images of a group that is tested on are
    rejected.

    Masks: 0 and 255, or 0 and 1, are background and foreground. Other integer values are classes, the lowest
    the background, numbered in rising order. Grey-level masks (JPEG) are cut at half, 128. Whatever is not
    plain 0..k-1 or 0 and 255 is said aloud.

    Args:
        folder: the labelled set; its name becomes the task's.
        size: side s in px of the model's input; images are stretched with antialiasing, masks take the
            nearest pixel.
        train: at most this many training images.
        test: at most this many test images. With fewer pairs than both, test keeps at least 20 %.
        seed: of the permutation.
        group: what says which images belong together: a regular expression over the images' paths, relative
            to the folder, with named groups as in the recipe's ``corpus.pattern``; or a manifest, a path that
            ends in ``.csv`` or ``.parquet``. It wins over what is published of a known set.
        registry: known sets.

    Raises:
        InputError: no such layout, counts below 1, nothing usable left, masks that are no class masks, or
            groups that cannot be split.
        RecipeError: a pattern that cannot be used.
    """
    root = Path(folder)
    if min(train, test) < 1:
        raise InputError(
            f"train and test must be at least 1 image, got {train} and {test}; the defaults are {TRAIN} and {TEST}"
        )
    rng = np.random.default_rng(seed)
    rejected: list[Rejected] = []
    sides = {
        side: with_groups(pairs, root, group)
        for side, pairs in _sides(root, known_set(root, registry), rejected).items()
    }
    if "" in sides:
        shuffled = [sides[""][i] for i in rng.permutation(len(sides[""]))]
        if any(pair.group for pair in shuffled):
            parts = _grouped(root, shuffled, size, train, test, rejected)
        else:
            parts = _split(root, _read(root, shuffled, size, train + test, rejected), train, test)
    else:
        tested = {pair.together for pair in sides["test"]}
        sides["train"] = _apart(sides["train"], tested, rejected)
        parts = {}
        for side, count in (("test", test), ("train", train)):
            pairs = sides[side]
            chosen = pairs if len(pairs) <= count else [pairs[i] for i in rng.permutation(len(pairs))]
            parts[side] = _read(root, chosen, size, count, rejected)
    return _assemble(root, parts["train"], parts["test"], rejected)


def known_set(folder: Path | str, registry: Registry = DATASETS) -> LabelledSet | None:
    """The set of the registry that a folder holds and that says how to read or split it; None where plain
    folders say as much.

    Raises:
        InputError: the folder has no plain layout, and holds no known set, or one without masks.
    """
    root = Path(folder)
    plain = _layout(root) is not None
    if not root.is_dir():
        raise InputError(
            f"no folder at {root}; pass the folder of the labelled set, which holds images/ and masks/"
        )
    try:
        found = recognise(root, registry=registry)
    except InputError as error:
        if plain:
            return None
        hint = "images/ and masks/, or train/ and test/ with both in each, or a published set as `optidel datasets check` knows it"
        raise InputError(f"{root} is no labelled set; it must hold {hint}") from error
    if plain and found.dataset.annotation in ("none", "concepts"):
        return None
    known = labelled_set(found)
    rules = bool(known.dataset.unit) or any(image.side for image in known.images)
    return known if rules or not plain else None


def _layout(root: Path) -> tuple[str, ...] | None:
    """Where the plain layouts have their ``images/`` and ``masks/``: in the folder, or in ``test/`` and
    ``train/``; None without one.
    """
    for layout in (("",), ("test", "train")):
        if all((root / side / kind).is_dir() for side in layout for kind in ("images", "masks")):
            return layout
    return None


def _sides(root: Path, known: LabelledSet | None, rejected: list[Rejected]) -> dict[str, list[_Pair]]:
    """The pairs on each side of a given split, ``train`` and ``test``, or all of them under the empty name."""
    if known is None:
        layout = _layout(root)
        assert layout is not None
        return {side: _pairs(root, f"{side}/" if side else "", rejected) for side in layout}
    inner = known.root.relative_to(root)
    rejected.extend(replace(item, source=(inner / item.source).as_posix()) for item in known.rejected)
    pairs: dict[str, list[_Pair]] = {}
    for image in known.images:
        path, unit = (inner / image.image).as_posix(), None if image.unit == image.id else image.unit
        pairs.setdefault(image.side, []).append(
            _Pair(id=image.id, image=path, read_mask=partial(known.mask, image), group=unit)
        )
    given = {"train", "test"} <= pairs.keys()
    say(
        f"{root.name}: read as {known.dataset.title}, split {'as published' if given else known.dataset.split}"
    )
    return (
        {side: pairs[side] for side in ("test", "train")}
        if given
        else {"": [pair for side in pairs.values() for pair in side]}
    )


def with_groups(pairs: Sequence[_Pair], root: Path, group: str | None) -> list[_Pair]:
    """Pairs with their groups; as they are without a rule.

    Raises:
        InputError: the rule knows no pair.
    """
    if not group or not pairs:
        return list(pairs)
    if group.lower().endswith((".csv", ".parquet")):
        rows = load_manifest(Path(group), root.resolve()).rows
        said = [rows.get(pair.image, {}) for pair in pairs]
    else:
        pattern = compile_pattern(group)
        assert pattern is not None
        said = [match(pattern, pair.image) for pair in pairs]
    found = [
        row.get("group") or next((f"{kind}:{row[kind]}" for kind in KINDS if kind in row), None)
        for row in said
    ]
    unknown = found.count(None)
    if unknown == len(found):
        raise InputError(
            f"evaluate.group, {group!r}, says nothing of the {len(pairs)} images of {root}, such as {pairs[0].image}"
        )
    if unknown:
        say(
            f"{root.name}: {unknown} of {len(pairs)} labelled images have no known group; each is taken to be alone"
        )
    return [replace(pair, group=name) for pair, name in zip(pairs, found, strict=True)]


def _apart(pairs: Sequence[_Pair], tested: set[str], rejected: list[Rejected]) -> list[_Pair]:
    """Training pairs of groups that are not tested on."""
    both = [pair for pair in pairs if pair.together in tested]
    rejected.extend(
        Rejected(source=pair.image, reason=f"is of the group {pair.group}, which is tested on")
        for pair in both
    )
    return [pair for pair in pairs if pair.together not in tested]


def _grouped(
    root: Path, shuffled: Sequence[_Pair], size: int, train: int, test: int, rejected: list[Rejected]
) -> dict[str, list[_Example]]:
    """Test and training part, read as far as needed, of whole groups."""
    first: dict[str, int] = {}
    for pair in shuffled:
        first.setdefault(pair.together, len(first))
    ordered = sorted(shuffled, key=lambda pair: first[pair.together])
    held = _read(root, ordered, size, test, rejected)
    tested = {example.pair.together for example in held}
    seen = {item.source for item in rejected}
    others = [pair for pair in ordered if pair.together not in tested and pair.image not in seen]
    learnt = _read(root, others, size, train, rejected)
    if len(learnt) < train:
        examples = [*held, *learnt]
        count = len(examples)
        cut = _boundary(
            [example.pair.together for example in examples],
            min(test, max(math.ceil(MIN_TEST * count), count - train)),
        )
        held, learnt = examples[:cut], examples[cut : cut + train]
        if examples and not (held and learnt):
            raise InputError(
                f"all usable pairs of {root} are of one group, {examples[0].pair.group}; at least two are needed"
            )
    sides = [len({example.pair.together for example in part}) for part in (learnt, held)]
    say(
        f"{root.name}: {sides[0]} groups ({len(learnt)} images) for training, {sides[1]} ({len(held)}) for testing, none in both"
    )
    return {"test": held, "train": learnt}


def _boundary(together: Sequence[str], wanted: int) -> int:
    """The first boundary between groups at or behind ``wanted``, or the last one there is; 0 where there is
    only one group.
    """
    edges = [place for place in range(1, len(together)) if together[place] != together[place - 1]]
    return next((edge for edge in edges if edge >= wanted), edges[-1] if edges else 0)


def _pairs(root: Path, prefix: str, rejected: list[Rejected]) -> list[_Pair]:
    """Images with a mask of the same path and stem, sorted by id; whatever has no counterpart is rejected."""
    images = _stems(root, f"{prefix}images", RASTER, rejected)
    masks = _stems(root, f"{prefix}masks", MASKS, rejected)
    rejected.extend(
        Rejected(source=images[stem], reason="has no mask of the same stem")
        for stem in sorted(images.keys() - masks.keys())
    )
    rejected.extend(
        Rejected(source=masks[stem], reason="has no image of the same stem")
        for stem in sorted(masks.keys() - images.keys())
    )
    return [
        _Pair(id=prefix + stem, image=images[stem], read_mask=partial(_stored_mask, root / masks[stem]))
        for stem in sorted(images.keys() & masks.keys())
    ]


def _stems(root: Path, kind: str, endings: Sequence[str], rejected: list[Rejected]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((root / kind).rglob("*")):
        relative = path.relative_to(root / kind)
        if path.is_dir() or any(part.startswith(".") for part in relative.parts):
            continue
        stem, source = relative.with_suffix("").as_posix(), path.relative_to(root).as_posix()
        if path.suffix.lower() not in endings:
            rejected.append(
                Rejected(source=source, reason=f"has the ending {path.suffix!r}, which no reader knows")
            )
        elif stem in found:
            rejected.append(Rejected(source=source, reason=f"has the same stem as {found[stem]}"))
        else:
            found[stem] = source
    return found


def _read(
    root: Path, pairs: Sequence[_Pair], size: int, count: int, rejected: list[Rejected]
) -> list[_Example]:
    """The first ``count`` pairs that can be read."""
    examples: list[_Example] = []
    for pair in track(pairs, "labelled set", len(pairs)):
        try:
            examples.append(_example(root, pair, size))
        except InputError as error:
            rejected.append(Rejected(source=pair.image, reason=str(error)))
        except (
            Exception
        ) as error:  # decoders raise anything on a broken file, and one bad file never stops a run
            reason = f"image or mask cannot be decoded ({type(error).__name__}: {error})".replace(
                str(root) + os.sep, ""
            )
            rejected.append(Rejected(source=pair.image, reason=reason[:300]))
        if len(examples) == count:
            break
    return examples


def _example(root: Path, pair: _Pair, size: int) -> _Example:
    image = to_image(read_frame(root / pair.image, ""))
    stored = pair.read_mask((image.shape[0], image.shape[1]))
    rows, columns = (
        ((np.arange(size) + 0.5) * side / size).astype(int) for side in stored.shape
    )  # pixel under each centre
    values, counts = np.unique(stored, return_counts=True)
    return _Example(
        pair=pair,
        image=fit(image, size),
        mask=stored[np.ix_(rows, columns)],
        counts=Counter(dict(zip(values.tolist(), counts.tolist(), strict=True))),
        sha256=hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
    )


def _stored_mask(path: Path, shape: tuple[int, ...]) -> ClassMask:
    """The values as stored (h, w): grey levels, palette indices or integers; refused, before decoding, where
    not of ``shape``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)  # the image's size is the limit
        opened = PillowImage.open(path)
    with opened:
        if opened.size != shape[::-1]:
            raise InputError(
                f"the mask is {opened.width} x {opened.height} px, the image {shape[1]} x {shape[0]} px"
            )
        values = np.asarray(opened if opened.mode != "LA" else opened.getchannel("L"))
    if values.ndim == 3:  # a grey mask saved in colour; JPEG moves its channels apart a little
        colours = values[..., :3].astype(np.int16)
        if int(np.ptp(colours, axis=2).max()) > GREY_MARGIN:
            raise InputError(
                "the mask is a coloured picture; masks have one channel that holds the class of every pixel"
            )
        values = values[..., 0]
    if not np.issubdtype(values.dtype, np.integer) and values.dtype != np.bool_:
        raise InputError(f"the mask holds {values.dtype} values; masks hold whole numbers")
    return values.astype(np.int32)


def _split(root: Path, examples: list[_Example], train: int, test: int) -> dict[str, list[_Example]]:
    count = len(examples)
    held_out = min(test, max(math.ceil(MIN_TEST * count), count - train))
    if count < train + test:
        say(
            f"{root.name}: {count} usable pairs, not {train} + {test}; {count - held_out} for training and {held_out} for testing"
        )
    return {"test": examples[:held_out], "train": examples[held_out : held_out + train]}


def _assemble(root: Path, train: list[_Example], test: list[_Example], rejected: list[Rejected]) -> Task:
    tested = {example.sha256: example.pair.image for example in test}
    leaks = [example for example in train if example.sha256 in tested]
    rejected.extend(
        Rejected(source=leak.pair.image, reason=f"has the pixels of the test image {tested[leak.sha256]}")
        for leak in leaks
    )
    train = [example for example in train if example.sha256 not in tested]
    if rejected:
        say(
            f"{root.name}: {len(rejected)} files not used; the first, {rejected[0].source}: {rejected[0].reason}"
        )
    if not train or not test:
        first = f"; {rejected[0].source}: {rejected[0].reason}" if rejected else ""
        raise InputError(
            f"{root} has {len(train)} usable training and {len(test)} test pairs, at least 1 of each is needed; put every image in images/ "
            f"and its mask, of the same stem and size, in masks/{first}"
        )
    examples = [*train, *test]
    cuts = _cuts(sum((example.counts for example in examples), Counter()), root)
    return Task(
        name=root.resolve().name,
        ids=np.array([example.pair.id for example in examples]),
        sources=[example.pair.image for example in examples],
        groups=[example.pair.group for example in examples],
        images=np.stack([example.image for example in examples]),
        masks=np.stack([np.searchsorted(cuts, example.mask, side="right") for example in examples]).astype(
            np.uint8
        ),
        split=np.array(["train"] * len(train) + ["test"] * len(test)),
        classes=len(cuts) + 1,
        rejected=rejected,
    )


def _cuts(counts: Counter[int], root: Path) -> list[int]:
    """Rising values; the class of a stored value is how many of them it reaches."""
    values = sorted(counts)
    extreme = sum(
        number
        for value, number in counts.items()
        if value <= GREY_MARGIN or 255 - GREY_MARGIN <= value <= 255
    )
    if len(values) > PLAIN_VALUES and 128 <= values[-1] <= 255 and extreme >= GREY_SHARE * counts.total():
        say(f"{root.name}: the masks hold {len(values)} grey levels; 128 and above is foreground")
        return [128]
    if len(values) > MAX_CLASSES:
        raise InputError(
            f"the masks of {root} hold {len(values)} values from {values[0]} to {values[-1]}, at most {MAX_CLASSES} classes are read; "
            "save masks as PNG with 0 and 255, or with the classes 0..k-1"
        )
    if len(values) == 1:
        raise InputError(
            f"the masks of {root} hold the value {values[0]} only, so there is nothing to segment; check masks/"
        )
    if values not in ([0, 255], list(range(len(values)))):
        say(
            f"{root.name}: the mask values {', '.join(map(str, values))} are read as classes 0 to {len(values) - 1}, in this order"
        )
    return values[1:]
