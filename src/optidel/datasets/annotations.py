"""Labelled images of a set, read by the set's own annotation: class masks, layers, and the unit that a split
must keep whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import polars as pl
from jaxtyping import Bool

from optidel.arrays import BoolImage, ClassMask
from optidel.datasets.check import read_list
from optidel.datasets.dataset import Dataset, Registry
from optidel.datasets.masks import brightness, foreground, header_size, read_mask
from optidel.datasets.orientations import stored_picture, turn_of_mask
from optidel.datasets.recognise import Found, PartFiles, recognise, unit_of
from optidel.datasets.registry import DATASETS
from optidel.datasets.templates import Match, compile_template
from optidel.errors import InputError
from optidel.records import Rejected

Side = Literal["", "train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")

# A TIF whose last axis is longer holds columns there: the sets known have at most five layers.
MAX_CHANNELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """One image with its annotation.

    ``id`` is the path without its ending; ``image`` and ``masks`` are paths relative to the set's root, no
    masks meaning background alone; ``unit`` is what a split keeps together (``sequence:7``), the id itself
    where no unit is known; ``side`` of the official split.
    """

    id: str
    image: str
    masks: tuple[str, ...]
    unit: str
    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """The labelled images of a recognised set; ``rejected`` are those that have no annotation."""

    dataset: Dataset
    root: Path
    images: list[LabelledImage]
    rejected: list[Rejected]

    def layers(
        self, image: LabelledImage, shape: tuple[int, int], turns: Sequence[int | None] = ()
    ) -> Bool[np.ndarray, "k h w"]:
        """Where each class is, bool (k, h, w) in the order of ``dataset.classes``; classes may overlap.

        Args:
            image: one of ``images``.
            shape: height and width of the image in px, as it is shown.
            turns: the EXIF orientation that each mask takes in place of its own; by default as the sizes of
                image and mask tell.

        Raises:
            InputError: a mask is no mask of this set, or is not of this shape.
        """
        classes = self.dataset.classes
        layers = np.zeros((len(classes), *shape), dtype=np.bool_)
        own = stored_picture(self.root / image.image)
        for i, mask in enumerate(image.masks):
            path = self.root / mask
            turn = turns[i] if turns else turn_of_mask(own, stored_picture(path))
            _check_size(path, mask, shape)
            for name, region in _regions(path, mask, self.dataset, turn).items():
                if region.shape != tuple(shape):
                    _refuse_size(mask, region.shape[::-1], shape)
                layers[classes.index(name)] |= region
        return layers

    def mask(
        self, image: LabelledImage, shape: tuple[int, int], turns: Sequence[int | None] = ()
    ) -> ClassMask:
        """The class of every pixel, int32 (h, w): 0 background, i the i-th class; where classes overlap, the
        later one is on top.
        """
        classes = np.zeros(shape, dtype=np.int32)
        for number, region in enumerate(self.layers(image, shape, turns), 1):
            classes[region] = number
        return classes

    def manifest(self) -> pl.DataFrame:
        """One row an image, ``path``, ``group`` and ``split``: what a run takes as ``evaluate.group``, and an
        index as its manifest.
        """
        columns = {
            "path": [image.image for image in self.images],
            "group": [image.unit for image in self.images],
            "split": [image.side or None for image in self.images],
        }
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def open_labelled(folder: Path | str, name: str | None = None, registry: Registry = DATASETS) -> LabelledSet:
    """The labelled images of a set in its official layout.

    Args:
        folder: where the set was unpacked.
        name: the set, where it is not to be recognised.
        registry: known sets.

    Raises:
        InputError: nothing known fits the folder, or the set has nothing to segment.
    """
    return labelled_set(recognise(folder, name, registry))


def labelled_set(match: Found) -> LabelledSet:
    """The labelled images of a recognised set.

    Raises:
        InputError: the set has nothing to segment.
    """
    dataset = match.dataset
    if dataset.annotation in ("none", "concepts") or not dataset.classes:
        raise InputError(
            f"{dataset.title} has no masks, so it is no segmentation task: {dataset.task}; "
            "use it as images to pre-train on"
        )
    sides = _listed_sides(match)
    images: list[LabelledImage] = []
    rejected: list[Rejected] = []
    for part in match.parts:
        if part.part.kind == "images" and (part.part.masks or part.part.negative):
            _collect(part, dataset, sides, images, rejected)
    images.sort(key=lambda image: image.id)
    return LabelledSet(dataset=dataset, root=match.root, images=images, rejected=rejected)


def _listed_sides(match: Found) -> dict[str, str]:
    """Id of an image to its side, by the lists of the official split."""
    sides: dict[str, str] = {}
    for side, name in match.layout.lists:
        path = match.root / name
        if path.is_file():
            sides |= dict.fromkeys(read_list(path), side)
    return sides


def _collect(
    part: PartFiles,
    dataset: Dataset,
    sides: Mapping[str, str],
    images: list[LabelledImage],
    rejected: list[Rejected],
) -> None:
    """Add the labelled images of one part, and those without an annotation."""
    masks: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for mask in part.masks:
        masks.setdefault(mask.key, []).append(mask.path)
    for image in part.images:
        is_bare = image.key not in masks
        if is_bare and not part.part.negative:
            rejected.append(Rejected(source=image.path, reason="has no mask"))
            continue
        listed = sides.get(image.fields.get("id", ""), "")
        # A part that is one side of the split says so itself; lists serve sets without such parts.
        side = part.part.split or listed
        image_masks = tuple(masks.get(image.key, ()))
        images.append(_labelled(image, image_masks, side, dataset))


def _labelled(image: Match, masks: tuple[str, ...], side: str, dataset: Dataset) -> LabelledImage:
    name = image.path.rsplit(".", 1)[0]
    official: Side = next((choice for choice in SIDES if choice == side), "")
    unit = unit_of(image, dataset) or name
    return LabelledImage(id=name, image=image.path, masks=masks, unit=unit, side=official)


def _check_size(path: Path, relative: str, shape: tuple[int, int]) -> None:
    """Refuse, before anything is decoded, a mask that cannot be of the image's height and width, however it
    is turned.
    """
    size = header_size(path)
    if size is None:
        raise InputError(f"the mask {relative} is no picture")
    if sorted(size) != sorted(shape):
        _refuse_size(relative, size, shape)


def _refuse_size(relative: str, size: tuple[int, ...], shape: tuple[int, int]) -> NoReturn:
    expected = f"{shape[1]} x {shape[0]} px"
    raise InputError(f"the mask {relative} is {size[0]} x {size[1]} px, the image {expected}")


def _regions(path: Path, relative: str, dataset: Dataset, turn: int | None) -> Mapping[str, BoolImage]:
    """Class name to region, of one mask file."""
    if dataset.annotation == "layers":
        pages, channels = _pages(path), dataset.channels
        if len(pages) != len(channels):
            raise InputError(
                f"the mask {relative} has {len(pages)} pages, {dataset.title} has {len(channels)} classes"
            )
        return {name: page > 0 for name, page in zip(channels, pages, strict=True)}
    if dataset.annotation == "classes":
        return {_class_of(relative, dataset): foreground(read_grey(path, turn))}
    values = read_grey(path, turn)
    region = values > 0 if dataset.annotation == "instances" else foreground(values)
    return {dataset.classes[0]: region}


def _class_of(relative: str, dataset: Dataset) -> str:
    """The class in a mask's name, in the spelling of the set."""
    templates = [template for layout in dataset.layouts for part in layout.parts for template in part.masks]
    hits = (compile_template(template, dataset.classes).fullmatch(relative) for template in templates)
    written = next(hit["f_class"] for hit in hits if hit).lower()
    return next(name for name in dataset.classes if name.lower() == written)


def read_grey(path: Path, turn: int | None = None) -> ClassMask:
    """The grey levels of a mask as it is shown (h, w); a colour counts by its brightest channel.

    Args:
        path: of the file.
        turn: the EXIF orientation that it takes in place of its own.
    """
    return brightness(read_mask(path, turn=turn).codes)


def _pages(path: Path) -> list[ClassMask]:
    """The pages, or the channels, of a TIF, each (h, w)."""
    import tifffile  # here, for only EAD2019 needs it

    values = tifffile.imread(path)
    if values.ndim != 3:
        return [values.astype(np.int32)]
    # Channels stand last where they are few; pages stand first.
    if values.shape[2] < values.shape[0] and values.shape[2] <= MAX_CHANNELS:
        values = np.moveaxis(values, 2, 0)
    return [page.astype(np.int32) for page in values]


__all__ = ["LabelledImage", "LabelledSet", "foreground", "labelled_set", "open_labelled", "read_grey"]
