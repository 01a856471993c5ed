"""Masks of a labelled set that lie in the corpus: they are no images to train on, and stay out aloud.

A file is taken for a mask where its folder and its name say so together: ``masks/7.png`` beside
``images/7.jpg``, ``labelsTr/a.nii.gz`` beside ``imagesTr/a_0000.nii.gz``, ``7_mask.png`` beside ``7.png``.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from optidel.archives import archive
from optidel.readers import READERS
from optidel.readers.decoded import ending

MASK = "is taken for a mask"
"""How the reason begins for which a mask is no frame."""

IMAGE_FOLDERS = frozenset(
    ["images", "image", "img", "imgs", "imagestr", "imagests", "imagesval", "input", "inputs", "frames"]
)

MASK_FOLDERS = frozenset(
    [
        "masks",
        "mask",
        "segmentations",
        "segmentation",
        "segs",
        "seg",
        "groundtruth",
        "gt",
        "labelstr",
        "labelsts",
        "labelsval",
    ]
)
"""Names that mean nothing but masks beside a folder of images, whatever the files are called."""

PERHAPS_MASKS = frozenset(["labels", "label", "annotations", "annotation", "targets", "target"])
"""Names that also mean other things: masks where half of the files are called as the images are."""

MASK_SUFFIX = re.compile(
    r"[_\-. ]+(mask|masks|seg|segmentation|label|labels|gt|ground_?truth|annotation)([_\-. ]?\d+)?$"
)
"""What a mask's name has behind that of its image; BUSI numbers several masks of one image."""

CHANNEL = re.compile(r"_\d{4}$")
"""nnU-Net numbers the channels of an image, and not its labels."""

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")

ENOUGH = 0.5
"""Share of the files of a folder that must be called as images are; a round number."""


def masks_among(paths: Iterable[str]) -> dict[str, str]:
    """Which files are masks of others.

    Args:
        paths: POSIX paths of all files of a corpus.

    Returns:
        For each mask, why it is taken for one.
    """
    pictures = [path for path in paths if ending(path) in READERS]
    masks = _by_folder(pictures)
    masks |= _by_suffix(path for path in pictures if path not in masks)
    masks |= _volumes_by_suffix([path for path in pictures if path not in masks])
    return masks


def member_masks(frames: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Which members of archives are masks of others.

    Args:
        frames: source and locator of each frame.

    Returns:
        For each mask, as ``archive.zip#member``, why it is taken for one.
    """
    members = {}
    for source, locator in frames:
        member, _, _ = locator.partition("#")
        if member and archive.ending(source):
            members[f"{source}/{member}"] = f"{source}#{member}"
    return {members[path]: reason for path, reason in masks_among(members).items()}


def _by_folder(paths: Sequence[str]) -> dict[str, str]:
    """Files in a folder of masks beside a folder of images."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        # Every folder above it: masks/ and images/ may hold train/ and test/ alike.
        for parent in PurePosixPath(path).parents:
            folders[parent.as_posix()].append(path)
    beside: dict[str, list[str]] = defaultdict(list)
    for folder in folders:
        beside[PurePosixPath(folder).parent.as_posix()].append(folder)

    masks: dict[str, str] = {}
    for folder, files in folders.items():
        name = PurePosixPath(folder).name
        is_certain = _plain(name) in MASK_FOLDERS
        above = PurePosixPath(folder).parent.as_posix()
        around = _directly_in(above, folders[above]) if is_certain and above in folders else []
        if around and _share(folder, files, above, around) >= ENOUGH:
            masks |= dict.fromkeys(files, f"{MASK}: {name}/ lies in a folder of images of the same names")
            continue
        for sibling in _images_beside(name, beside[PurePosixPath(folder).parent.as_posix()]):
            if is_certain or _share(folder, files, sibling, folders[sibling]) >= ENOUGH:
                reason = f"{MASK}: {name}/ lies beside {PurePosixPath(sibling).name}/"
                masks |= dict.fromkeys(files, reason)
                break
    return masks


def _directly_in(folder: str, paths: Sequence[str]) -> list[str]:
    """The files of a folder that are in none of the folders inside it."""
    return [path for path in paths if PurePosixPath(path).parent.as_posix() == folder]


def _images_beside(name: str, siblings: Sequence[str]) -> list[str]:
    """Those of the folders beside one that may hold its images; none where its name speaks of no masks."""
    stem = MASK_SUFFIX.sub("", name.lower())  # train_masks/ beside train/
    is_named_so = _plain(name) in MASK_FOLDERS | PERHAPS_MASKS
    if not is_named_so and stem == name.lower():
        return []
    images = []
    for sibling in siblings:
        other = PurePosixPath(sibling).name
        if (is_named_so and _plain(other) in IMAGE_FOLDERS) or (other.lower() == stem != name.lower()):
            images.append(sibling)
    return images


def _share(folder: str, files: Sequence[str], sibling: str, images: Sequence[str]) -> float:
    """The share of files that are called as an image of the folder beside them."""
    stems = set()
    for image in images:
        stem = _stem(image.removeprefix(sibling))
        stems |= {stem, CHANNEL.sub("", stem)}
    matches = sum(MASK_SUFFIX.sub("", _stem(file.removeprefix(folder))) in stems for file in files)
    return matches / len(files)


def _by_suffix(paths: Iterable[str]) -> dict[str, str]:
    """Files called as another in the same folder, or in one beside it, with ``_mask`` or the like behind."""
    by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in paths:
        by_stem[_stem(PurePosixPath(path).name)].append(PurePosixPath(path))

    masks = {}
    for stem, files in by_stem.items():
        image_stem = MASK_SUFFIX.sub("", stem)
        if image_stem == stem:
            continue
        for file in files:
            # Beside it, or in a folder beside its own, as ISIC has them.
            for image in by_stem.get(image_stem, []):
                if image.parent == file.parent or image.parent.parent == file.parent.parent:
                    masks[file.as_posix()] = f"{MASK}: it is called as {image.name} is"
                    break
    return masks


def _volumes_by_suffix(paths: Sequence[str]) -> dict[str, str]:
    """Volumes called ``_seg`` or the like beside others of the same case, as BraTS has them."""
    cases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        if ending(path) in VOLUMES:
            parent, _, name = path.rpartition("/")
            case, _, _ = _stem(name).rpartition("_")
            cases[parent, case].append(path)

    masks: dict[str, str] = {}
    for (_, case), files in cases.items():
        labels = [file for file in files if case and MASK_SUFFIX.search(_stem(file))]
        if len(labels) < len(files):
            masks |= dict.fromkeys(labels, f"{MASK}: other volumes of {case} lie beside it")
    return masks


def _plain(name: str) -> str:
    """A folder's name in lower case without what separates words."""
    return re.sub(r"[_\-. ]", "", name.lower())


def _stem(path: str) -> str:
    """A path without its ending, in lower case."""
    return path[: len(path) - len(ending(path))].lower()
