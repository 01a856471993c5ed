"""Sets that hold each other's images: known relations, and what their files show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optidel.copies.hashes import hashes, neighbours, pixel_hash
from optidel.corpus.quality import DEFAULTS, examine
from optidel.datasets.dataset import Registry
from optidel.datasets.recognise import listing, recognise
from optidel.datasets.registry import DATASETS, dataset_named
from optidel.datasets.templates import RASTER_ENDINGS
from optidel.errors import InputError
from optidel.progress import track
from optidel.readers.decode import read_frame, to_image


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
    reached, open_ends = {inner}, [inner]
    while open_ends:
        for other in dataset_named(open_ends.pop(), registry).contained_in:
            if other not in reached:
                reached.add(other)
                open_ends.append(other)
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
    tested = list(downstream)
    pairs = [(first, second) for first in pretraining for second in tested]
    return [conflict for first, second in pairs if (conflict := _conflict(first, second, registry))]


def _conflict(first: str, second: str, registry: Registry) -> Conflict | None:
    trained, tested = dataset_named(first, registry), dataset_named(second, registry)
    if contains(first, second, registry):
        same = first == second
        reason = (
            f"{tested.title} is pre-trained on and tested on"
            if same
            else f"every image of {tested.title} is in {trained.title}"
        )
        remedy = (
            "pre-train on other images, or on its training part alone"
            if same
            else f"leave them out of {trained.title}"
        )
        return Conflict(pretraining=first, downstream=second, certain=True, reason=reason, remedy=remedy)
    if contains(second, first, registry):
        reason, remedy = (
            f"{trained.title} is a part of {tested.title}",
            f"leave its images out of the test part of {tested.title}",
        )
        return Conflict(pretraining=first, downstream=second, certain=True, reason=reason, remedy=remedy)
    if second in trained.may_share or first in tested.may_share:
        reason = (
            f"{trained.title} and {tested.title} come from the same source, and whether they share images is "
            "not published"
        )
        remedy = (
            "compare the two folders with `optidel datasets check --against`, and leave out what they share"
        )
        return Conflict(pretraining=first, downstream=second, certain=False, reason=reason, remedy=remedy)
    return None


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
        return layout.root, [image.path for image in layout.images]
    except InputError:
        if name or not folder.is_dir():
            raise
    stills = [path for path in listing(folder) if path.rsplit(".", 1)[-1].lower() in RASTER_ENDINGS]
    masks = ("mask", "masks", "ground truth", "groundtruth", "gt")
    return folder, [
        path for path in stills if not any(part.lower() in masks for part in Path(path).parts[:-1])
    ]


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
    first_prints, second_prints = _prints(first, names), _prints(second, others)
    by_pixels = {pixels: name for name, (pixels, _) in reversed(second_prints.items())}
    by_name = {Path(name).stem.lower(): name for name in reversed(others) if not Path(name).stem.isdigit()}
    similar = _most_similar(first_prints, second_prints)

    shared = []
    for name in names:
        pixels, _ = first_prints.get(name, ("", ""))
        stem = Path(name).stem.lower()
        if pixels and pixels in by_pixels:
            shared.append(SharedImage(first=name, second=by_pixels[pixels], how="pixels"))
        elif name in similar:
            counterpart, distance = similar[name]
            shared.append(SharedImage(first=name, second=counterpart, how="similar", distance=distance))
        elif stem in by_name:
            shared.append(SharedImage(first=name, second=by_name[stem], how="name"))
    return shared


def _prints(root: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Hash of the pixels and perceptual hash of every image that can be decoded."""
    prints = {}
    for name in track(names, "content", len(names)):
        try:
            image = to_image(read_frame(root / name, ""))
        except Exception:  # decoders raise anything on a broken file; it is then compared by name alone
            continue
        prints[name] = (pixel_hash(image), examine(image).phash)
    return prints


def _most_similar(
    first: dict[str, tuple[str, str]], second: dict[str, tuple[str, str]]
) -> dict[str, tuple[str, int]]:
    """For each image that has one, the image with the nearest perceptual hash, and by how many bits it differs."""
    if not first or not second:
        return {}
    names, others = list(first), list(second)
    first_hashes, second_hashes = (
        hashes([text for _, text in prints.values()]) for prints in (first, second)
    )
    nearest = {}
    for number, rows, distances in neighbours(first_hashes, second_hashes, DEFAULTS.near):
        best = int(distances.argmin())
        nearest[names[number]] = (others[rows[best]], int(distances[best]))
    return nearest
