"""Sets that hold each other's images: known relations, and what their files show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optidel.copies.hashes import hashes, neighbours
from optidel.corpus.quality import DEFAULTS, examine
from optidel.datasets.dataset import Registry
from optidel.datasets.recognise import listing, recognise
from optidel.datasets.registry import DATASETS, dataset_named
from optidel.datasets.templates import RASTER_ENDINGS
from optidel.errors import InputError
from optidel.progress import track
from optidel.readers.decode import pixel_hash, read_frame, to_image

# Folders that labelled sets commonly put their masks in, in small letters.
MASK_FOLDERS = ("mask", "masks", "ground truth", "groundtruth", "gt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two sets that may not be pre-trained on and tested on together. ``certain``: published, not only
    suspected from the source.
    """

    pretraining: str
    downstream: str
    certain: bool
    reason: str
    remedy: str


def contains(outer: str, inner: str, registry: Registry = DATASETS) -> bool:
    """Whether all images of ``inner`` are published to be in ``outer``, directly or through other sets; a set
    contains itself.
    """
    reached = {inner}
    open_ends = [inner]
    while open_ends:
        name = open_ends.pop()
        dataset = dataset_named(name, registry)
        for outer_name in dataset.contained_in:
            if outer_name not in reached:
                reached.add(outer_name)
                open_ends.append(outer_name)
    return outer in reached


def conflicts(
    pretraining: Iterable[str], downstream: Iterable[str], registry: Registry = DATASETS
) -> list[Conflict]:
    """Every pair of a set that is pre-trained on and one that is tested on, where one holds the other's
    images, or may.

    Args:
        pretraining: names of the sets that images to pre-train on come from.
        downstream: names of the sets that are tasks.
        registry: known sets.

    Raises:
        InputError: a name that the registry does not have.
    """
    # Gone through once for each set that is pre-trained on, so an iterator must become a list.
    tested = list(downstream)
    clashes = []
    for first in pretraining:
        for second in tested:
            conflict = _conflict(first, second, registry)
            if conflict:
                clashes.append(conflict)
    return clashes


def _conflict(first: str, second: str, registry: Registry) -> Conflict | None:
    trained = dataset_named(first, registry)
    tested = dataset_named(second, registry)
    certain = True
    if first == second:
        reason = f"{tested.title} is pre-trained on and tested on"
        remedy = "pre-train on other images, or on its training part alone"
    elif contains(first, second, registry):
        reason = f"every image of {tested.title} is in {trained.title}"
        remedy = f"leave them out of {trained.title}"
    elif contains(second, first, registry):
        reason = f"{trained.title} is a part of {tested.title}"
        remedy = f"leave its images out of the test part of {tested.title}"
    elif second in trained.may_share or first in tested.may_share:
        certain = False
        source = f"{trained.title} and {tested.title} come from the same source"
        reason = f"{source}, and whether they share images is not published"
        check = "compare the two folders with `optidel datasets check --against`"
        remedy = f"{check}, and leave out what they share"
    else:
        return None
    return Conflict(pretraining=first, downstream=second, certain=certain, reason=reason, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImage:
    """An image of the first folder that the second holds too.

    ``how``: ``pixels``, they decode to the same pixels; ``similar``, their perceptual hashes differ in
    ``distance`` bits, as re-encoded, resized or very alike pictures do; ``name``, only their names are equal,
    and not mere numbers.
    """

    first: str
    second: str
    how: Literal["pixels", "similar", "name"]
    distance: int = 0


def images_of(folder: Path, name: str | None = None, registry: Registry = DATASETS) -> tuple[Path, list[str]]:
    """The images of a folder, masks left out: those of the set it holds, or, where it holds none that is
    known, all but mask folders.
    """
    try:
        layout = recognise(folder, name, registry)
    except InputError:
        if name or not folder.is_dir():
            raise
    else:
        return layout.root, [image.path for image in layout.images]

    images = []
    for path in listing(folder):
        ending = path.rsplit(".", 1)[-1].lower()
        if ending in RASTER_ENDINGS and not _in_mask_folder(path):
            images.append(path)
    return folder, images


def _in_mask_folder(path: str) -> bool:
    folders = Path(path).parts[:-1]
    return any(folder.lower() in MASK_FOLDERS for folder in folders)


def shared_images(
    first: Path, names: Sequence[str], second: Path, others: Sequence[str]
) -> list[SharedImage]:
    """Images that two folders share, by content and by name; each image of the first folder once, its surest
    counterpart.

    Args:
        first: a folder.
        names: paths of its images, relative to it.
        second: another folder.
        others: paths of its images, relative to it.
    """
    first_prints = _prints(first, names)
    second_prints = _prints(second, others)
    similar = _most_similar(first_prints, second_prints)
    # Reversed, so that of several images with the same pixels or name the first one stays.
    by_pixels = {pixels: other for other, (pixels, _) in reversed(second_prints.items())}
    by_name = {}
    for other in reversed(others):
        stem = Path(other).stem.lower()
        # Mere numbers are the names of unrelated images in many sets.
        if not stem.isdigit():
            by_name[stem] = other

    shared = []
    for name in names:
        # An image that cannot be decoded has no pixels, and is compared by name alone.
        pixels, _ = first_prints.get(name, ("", ""))
        stem = Path(name).stem.lower()
        if pixels and pixels in by_pixels:
            image = SharedImage(first=name, second=by_pixels[pixels], how="pixels")
        elif name in similar:
            counterpart, distance = similar[name]
            image = SharedImage(first=name, second=counterpart, how="similar", distance=distance)
        elif stem in by_name:
            image = SharedImage(first=name, second=by_name[stem], how="name")
        else:
            continue
        shared.append(image)
    return shared


def _prints(root: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Hash of the pixels and perceptual hash of every image that can be decoded."""
    prints = {}
    for name in track(names, "content", len(names)):
        try:
            frame = read_frame(root / name, "")
            image = to_image(frame)
        except Exception:  # decoders raise anything on a broken file; it is then compared by name alone
            continue
        pixels = pixel_hash(image)
        quality = examine(image)
        prints[name] = (pixels, quality.phash)
    return prints


def _most_similar(
    first: dict[str, tuple[str, str]], second: dict[str, tuple[str, str]]
) -> dict[str, tuple[str, int]]:
    """For each image that has a near one: the image with the nearest perceptual hash, and how many bits."""
    if not first or not second:
        return {}
    names = list(first)
    others = list(second)
    first_hashes = hashes([text for _, text in first.values()])
    second_hashes = hashes([text for _, text in second.values()])

    nearest = {}
    for number, rows, distances in neighbours(first_hashes, second_hashes, DEFAULTS.near):
        best = int(distances.argmin())
        row = rows[best]
        counterpart = others[row]
        name = names[number]
        nearest[name] = (counterpart, int(distances[best]))
    return nearest
