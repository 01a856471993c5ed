"""A labelled set: images with class masks, split into training and test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int64, Shaped, UInt8

from optidel.arrays import VOID, Images
from optidel.corpus.options import IndexOptions
from optidel.datasets import DATASETS, LabelledSet, Registry
from optidel.datasets.masks import ShownMask, count_codes, header_size, single_image
from optidel.datasets.orientations import stored_picture
from optidel.datasets.readings import (
    EVIDENCE_FILES,
    Census,
    MaskRule,
    Reading,
    add_census,
    find_reading,
    take_census,
)
from optidel.errors import InputError
from optidel.evaluation.pairs import (
    Pair,
    check_sizes,
    known_set,
    pairs_by_side,
    read_masks,
    with_groups,
    with_turns,
)
from optidel.evaluation.splits import MIN_TEST, TEST, TRAIN, Part, Shown, check_counts, draw, reason_of, scan
from optidel.evaluation.volumes import cut
from optidel.progress import say, track
from optidel.readers.decode import fit, pixel_hash
from optidel.readers.decoded import window_of
from optidel.records import Rejected
from optidel.remote import here, place
from optidel.words import counted

# The masks of a known set that has one class, as its annotation reads them.
ONE_CLASS = Reading(rule="table", codes=(0, 1), numbers=(0, 1), classes=2, text="", plain=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A labelled set at the model's size.

    ``ids`` str (n,); ``sources`` the images' paths relative to the folder; ``groups`` the patient, video, …
    of each, None where not known; ``images`` u8 (n, s, s, 3); ``masks`` u8 (n, s, s), class of every pixel, 0
    background, 255 void; ``split`` str (n,), ``train`` or ``test``; ``classes`` counts the background;
    ``sizes`` int64 (n, 2), height and width of each image in px; ``reading`` of all masks; ``rejected`` are
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
    sizes: Int64[np.ndarray, "n 2"]
    reading: Reading
    pairs: list[Pair]
    rejected: list[Rejected]

    def rows(self, part: Part) -> Int64[np.ndarray, "m"]:
        """Rows of one part."""
        return np.flatnonzero(self.split == part)

    def native_mask(self, row: int) -> UInt8[np.ndarray, "h w"]:
        """The class of every pixel at the image's own size, read again from its file.

        Raises:
            InputError: the file is gone or is no longer what was read.
        """
        height, width = self.sizes[row].tolist()
        pair = self.pairs[row]
        try:
            codes = pair.read_codes((height, width))
        except OSError as error:
            raise InputError(f"the mask of {self.sources[row]} is gone: {error.strerror}") from error
        return (pair.reading or self.reading).apply(codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example(Shown[Pair]):
    """One pair as read: ``codes`` of the mask at the model's size, ``present`` those at full size."""

    codes: Int[np.ndarray, "s s"]
    present: Int[np.ndarray, "k"]

    def classes(self, codes: Int[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Codes of this image's mask as classes."""
        assert self.item.reading is not None  # every mask of the folder was looked at
        return self.item.reading.apply(codes)


def load_task(
    folder: Path | str,
    size: int,
    *,
    train: int = TRAIN,
    test: int = TEST,
    seed: int = 0,
    group: str | None = None,
    registry: Registry = DATASETS,
    masks: MaskRule = "auto",
    ignore: Sequence[str | int] = (),
    test_on: Path | str | None = None,
    axes: Sequence[str] = ("axial",),
    window: str | Sequence[float] | None = None,
) -> Task:
    """Read a labelled set.

    Three layouts: ``images/`` and ``masks/`` of the same stem (a mask's may end in ``_mask``,
    ``_segmentation`` and the like), split by a permutation of the sorted ids that ``seed`` alone decides, the
    test part first, so that another number of training images leaves the test part as it is; ``train/`` and
    ``test/``, each with both folders, whose split is kept; or a set of the registry as it is published, read
    by its own annotation, with its official split where there is one, else with its split units as groups. A
    training image whose pixels equal a test image's is rejected.

    An image may have several masks: numbered ones (``_mask``, ``_mask_1``), or a folder of masks that has the
    image's stem; their union is the foreground. An image and its masks may be volumes of the same grid: each
    slice is an image, and the slices of a volume are never both trained and tested on.

    With ``group``, no patient, video, … stands on both sides: whole groups are tested on, in the order in
    which the permutation first meets them (the last one cut where the test part is full, its rest unused),
    and others trained on; where the split is given, training images of a group that is tested on are
    rejected.

    All masks of the folder have one reading, see :mod:`optidel.datasets.readings`: a mask means what a viewer
    shows, and the number of a class does not depend on which images are drawn. Whatever is not plain 0..k-1
    or 0 and 255 is said. Every file is decoded first in a process of its own, with the limits of the index.

    >>> task = load_task("DIR", 64, train=4, test=2)
    >>> task.images.shape, task.classes
    ((6, 64, 64, 3), 2)

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
        masks: how to read the masks of a plain folder, where the user says so.
        ignore: values or colours of a mask that are void, such as ``255`` or ``"#e0e0c0"``.
        test_on: another labelled set, whose images are tested on: those of its test side, or all. Then all
            images of ``folder``, or those of its training side, may be trained on.
        axes: along which volumes are cut, as in the index.
        window: of CT, as in the index: a name such as ``lung``, or level and width in HU.

    Raises:
        InputError: no such layout, counts below 1, nothing usable left, masks that are no class masks,
            groups that cannot be split, or two sets of unequal numbers of classes.
        RecipeError: a pattern or a window that cannot be used.
    """
    root = here(place(folder))
    cutting = IndexOptions(axes=tuple(axes), window=window)
    check_counts(train, test)
    rejected: list[Rejected] = []
    sides, reading = _sides(root, group, registry, masks, ignore, cutting, rejected)
    if test_on is not None:
        other = here(place(test_on))
        test_sides, test_reading = _sides(other, None, registry, masks, ignore, cutting, rejected)
        _check_classes(root, reading, other, test_reading)
        tested = [_of_other_set(pair, other.name) for pair in _part(test_sides, "test")]
        sides = {"train": _part(sides, "train"), "test": tested}

    rng = np.random.default_rng(seed)
    parts = draw(root, sides, partial(_example, size=size), (train, test), rng, rejected)
    return _assemble(root, parts["train"], parts["test"], reading, size, rejected)


def _sides(
    root: Path,
    group: str | None,
    registry: Registry,
    masks: MaskRule,
    ignore: Sequence[str | int],
    cutting: IndexOptions,
    rejected: list[Rejected],
) -> tuple[dict[str, list[Pair]], Reading]:
    """The pairs of a folder whose masks can be read, by side of a given split, and the reading of all."""
    published = known_set(root, registry)
    stored = masks == "values"
    pairs = pairs_by_side(root, published, rejected, stored=stored)
    sides = {side: with_groups(members, root, group) for side, members in pairs.items()}
    if published is None:
        for side, members in sides.items():
            sides[side] = cut(root, members, cutting, rejected, stored=stored)
    sides, orientations = with_turns(sides, root)
    sound, reading = _read_masks(root, published, sides, masks, ignore, rejected)
    if orientations:
        text = f"{reading.text}; {orientations}" if reading.text else orientations
        reading = replace(reading, text=text, plain=False)
    for side, members in sound.items():
        sound[side] = [
            replace(pair, root=root, reading=reading, window=window_of(cutting.window)) for pair in members
        ]
    return sound, reading


def _of_other_set(pair: Pair, name: str) -> Pair:
    """A pair under its set's name: equal ids and groups of two sets are not the same image or patient."""
    group = None if pair.group is None else f"{name}/{pair.group}"
    return replace(pair, id=f"{name}/{pair.id}", group=group)


def _part(sides: dict[str, list[Pair]], part: Part) -> list[Pair]:
    """One side of a given split, or all pairs of a set without one."""
    return sides[part] if part in sides else sides[""]


def _check_classes(root: Path, reading: Reading, other: Path, test_reading: Reading) -> None:
    if reading.classes != test_reading.classes:
        raise InputError(
            f"{root.name} has {reading.classes} classes with the background, {other.name} has "
            f"{test_reading.classes}, so one cannot be tested on the other; evaluate.masks = "
            '"foreground" makes two of both'
        )


def _read_masks(
    root: Path,
    published: LabelledSet | None,
    sides: dict[str, list[Pair]],
    rule: MaskRule,
    ignore: Sequence[str | int],
    rejected: list[Rejected],
) -> tuple[dict[str, list[Pair]], Reading]:
    """Look at every mask once: the pairs whose masks can be read, and the one reading of all."""
    pairs = [pair for members in sides.values() for pair in members]
    # What is cheap to refuse is refused before a process decodes it.
    reasons = _unequal(root, published, pairs)
    # Volumes were decoded when they were cut.
    masks = [mask for pair in pairs if pair.id not in reasons and not pair.locator for mask in pair.masks]
    refused = {
        scanned.source: scanned.rejected[0].reason
        for scanned in track(scan(root, masks), "masks", len(masks))
        if scanned.rejected
    }
    for pair in pairs:
        for mask in pair.masks:
            if mask in refused:
                reasons.setdefault(pair.id, f"its mask {refused[mask]}")

    files: list[Census] = []
    one_class = published is not None and len(published.dataset.classes) == 1
    for pair in [] if one_class else pairs:
        if pair.id in reasons:
            continue
        look = published is None and len(files) < EVIDENCE_FILES
        try:
            whole = _whole_mask(root, pair, published, stored=rule == "values")
            add_census(files, take_census(whole, look=look))
        except Exception as error:  # as in _read
            reasons[pair.id] = reason_of(error, root)

    for pair in pairs:
        if pair.id in reasons:
            rejected.append(Rejected(source=pair.source, reason=reasons[pair.id]))
    sound = {side: [pair for pair in members if pair.id not in reasons] for side, members in sides.items()}
    if one_class or not files:
        return sound, ONE_CLASS
    if published is not None:
        rule = "colours"  # the annotation has numbered the classes; what remains is which of them occur
    return sound, find_reading(files, str(root), rule, ignore)


def _whole_mask(root: Path, pair: Pair, published: LabelledSet | None, *, stored: bool) -> ShownMask:
    """The mask of a pair at its own size, without its image."""
    if published is None:
        paths = [root / mask for mask in pair.masks]
        return read_masks(paths, stored=stored, locator=pair.locator, turns=pair.turns)
    image = stored_picture(root / pair.image)
    if image is None:
        raise InputError("is no picture")
    return ShownMask(codes=pair.read_codes(image.shown[::-1]).astype(np.int32))


def _unequal(root: Path, published: LabelledSet | None, pairs: Sequence[Pair]) -> dict[str, str]:
    """Id to reason of pairs whose mask declares another size than the image; nothing is decoded for it."""
    reasons: dict[str, str] = {}
    for pair in pairs:
        size = None if pair.locator else header_size(root / pair.image)
        if size is None:
            continue  # its reader will tell
        try:
            for mask in pair.masks:
                label = (
                    "the mask"
                    if published is None
                    else f"the mask {(root / mask).relative_to(published.root).as_posix()}"
                )
                check_sizes(root / mask, size[::-1], label)
        except InputError as error:
            reasons[pair.id] = str(error)
    return reasons


def _example(pair: Pair, size: int) -> _Example:
    image = single_image(pair.root / pair.image, pair.locator, pair.window)
    height, width = image.shape[:2]
    codes = pair.read_codes((height, width))
    # Nearest pixel: the one under the centre of each pixel of the model's input.
    centres = np.arange(size) + 0.5
    rows = (centres * height / size).astype(int)
    columns = (centres * width / size).astype(int)
    return _Example(
        item=pair,
        image=fit(image, size),
        codes=codes[np.ix_(rows, columns)],
        present=np.array(sorted(count_codes(codes))),
        shape=(height, width),
        sha256=pixel_hash(image),
    )


def _assemble(
    root: Path,
    train: list[_Example],
    test: list[_Example],
    reading: Reading,
    size: int,
    rejected: list[Rejected],
) -> Task:
    """The task of two parts."""
    _tell_rejected(root, train, test, rejected)
    if not reading.plain:
        say(f"{root.name}: {reading.text}")

    examples = [*train, *test]
    masks = np.stack([example.classes(example.codes) for example in examples])
    _tell_vanished(root, examples, masks, size)
    return Task(
        name=root.resolve().name,
        ids=np.array([example.item.id for example in examples]),
        sources=[example.item.source for example in examples],
        groups=[example.item.group for example in examples],
        images=np.stack([example.image for example in examples]),
        masks=masks,
        split=np.array(["train"] * len(train) + ["test"] * len(test)),
        classes=reading.classes,
        sizes=np.array([example.shape for example in examples]),
        reading=reading,
        pairs=[example.item for example in examples],
        rejected=rejected,
    )


def _tell_rejected(
    root: Path, train: Sequence[_Example], test: Sequence[_Example], rejected: Sequence[Rejected]
) -> None:
    """Say what is not used.

    Raises:
        InputError: one part is empty.
    """
    first = f"{rejected[0].source}: {rejected[0].reason}" if rejected else ""
    if rejected:
        say(f"{root.name}: {counted(len(rejected), 'file')} not used; the first, {first}")
    if not train or not test:
        raise InputError(
            f"{root} has {len(train)} usable training and {len(test)} test pairs, at least 1 of each is "
            "needed; put every image in images/ and its mask, of the same stem and size, in masks/"
            + (f"; {first}" if first else "")
        )


def _tell_vanished(
    root: Path, examples: Sequence[_Example], masks: UInt8[np.ndarray, "n s s"], size: int
) -> None:
    """Say in how many masks nothing is left at the model's size."""
    vanished = 0
    for example, mask in zip(examples, masks, strict=True):
        whole = example.classes(example.present[None])
        is_gone = not _has_foreground(mask)
        vanished += is_gone and _has_foreground(whole)
    if vanished:
        say(
            f"{root.name}: small regions vanish at {size} px: {vanished} of {len(examples)} masks are empty "
            "there; scores are taken at each image's own size, but training does not see those regions"
        )


def _has_foreground(classes: UInt8[np.ndarray, "h w"]) -> bool:
    foreground = (classes > 0) & (classes != VOID)
    return bool(foreground.any())


__all__ = ["MIN_TEST", "TEST", "TRAIN", "VOID", "Task", "known_set", "load_task"]
