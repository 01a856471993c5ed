"""Single-frame DICOM files of one series, in a folder or an archive, as a volume, so that planes across its
slices can be cut.

The planes stand under the first file in slice order. Slices are put in order by their position along the
normal of their plane, never by name or number: PS3.3 C.7.6.2.1.1 defines no other order.
"""

import itertools
import logging
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float64, Shaped
from pydicom.dataset import Dataset

from optidel.errors import InputError
from optidel.readers.decoded import DOUBLED, MIN_SIDE, MISSING, check_bytes
from optidel.readers.itk import ITK_LPS
from optidel.readers.source import SIGN_OF_LIFE, Shelf, Source
from optidel.readers.volume import AXES

MAX_FILES = 50_000
"""Files of a folder or archive whose headers are read to find its series, a minute of one process in all and
a kilobyte each; of larger ones none is assembled, and the rules of their frames say so.
"""

ALONE = ".optidel-alone"
"""A file of this name in a folder of fetched files says that theirs is larger than that."""

SAME_PLACE = 0.1
"""Fraction of the distance between slices under which two of them lie at one place."""

GAP = 1.5
"""Times the usual distance from which a slice is missing."""

SAMPLED = 16
"""Slices at least whose values decide the scale of a longer series, evenly spread: every process that meets
the series decodes them once.
"""

TAGS = [
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "InstanceNumber",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The plain files of a folder on disk; ``modified`` in nanoseconds."""

    path: Path
    modified: int

    def files(self) -> Iterator[Source]:
        """Every file, by name, so that the same files give the same volume on every file system; none of a
        folder of more than can be looked through.
        """
        with os.scandir(self.path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        if ALONE not in names:
            yield from self.again(names)

    def again(self, names: Collection[str]) -> Iterator[Source]:
        """Some of the files."""
        return (Source(name=name, path=self.path / name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What the header of a file says of its place: ``position`` and ``directions`` (of a row, of a column) in
    millimetres, LPS+; ``spacing`` between rows and between columns; ``shared``: equal for one volume.
    """

    name: str
    shared: tuple[object, ...]
    position: tuple[float, ...]
    directions: tuple[float, ...]
    spacing: tuple[float, ...]
    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The slices of a volume in the order of their position.

    ``names``: one file of the ``shelf`` a slice; where a slice is missing, that of its nearest neighbour.
    ``affine``: voxel indices (column, row, slice) to millimetres, RAS+. ``axis``: the one that the slices
    themselves lie across. ``note``: what is missing or doubled, for the rule.
    """

    shelf: Shelf
    names: tuple[str, ...]
    affine: Float64[np.ndarray, "4 4"]
    axis: str
    note: str

    def sources(self) -> Iterator[Source]:
        """Every file once, in any order."""
        return self.shelf.again(dict.fromkeys(self.names))


def name_on_shelf(source: Source) -> str:
    """The name of a file among those beside it."""
    return source.name if source.path is None else source.path.name


def shelf_of(source: Source) -> Shelf | None:
    """Where the other slices of a file are looked for; None for bytes without a place."""
    if source.path is None:
        return source.shelf
    return Folder(path=source.path.parent, modified=source.path.parent.stat().st_mtime_ns)


def series_of(source: Source) -> Series | None:
    """The series that a file is a slice of; None where there is no volume of it beside it."""
    shelf = shelf_of(source)
    return None if shelf is None else _series_on(shelf).get(name_on_shelf(source))


def scale_files(source: Source) -> tuple[str, ...]:
    """The files whose values decide the scale of a slice: some of its series, always the same, or itself."""
    shelf, name = shelf_of(source), name_on_shelf(source)
    return (name,) if shelf is None else _scales_on(shelf).get(name, (name,))


def is_among_too_many(source: Source) -> bool:
    """Whether so many files lie beside a file that its series is not looked for."""
    shelf = shelf_of(source)
    return shelf is not None and _groups(shelf) is None


def stacked(
    series: Series,
    sources: Iterable[Source],
    read: Callable[[Source], Shaped[np.ndarray, "h w"]],
    like: Shaped[np.ndarray, "h w"],
) -> Shaped[np.ndarray, "x y z"]:
    """All slices as one array.

    Args:
        series: its files.
        sources: each of them once; one that stands for a missing neighbour is decoded once.
        read: decodes one.
        like: an array of the shape and dtype of a slice.

    Returns:
        Values by column, row and slice.

    Raises:
        InputError: a file is not there any more, or all together are too large.
    """
    places: dict[str, list[int]] = {}
    for i, name in enumerate(series.names):
        places.setdefault(name, []).append(i)
    height, width = like.shape
    check_bytes(height * width * len(series.names) * like.itemsize)
    voxels = np.empty((width, height, len(series.names)), like.dtype)
    for source in sources:
        SIGN_OF_LIFE.get()()
        plane = read(source)
        for i in places.pop(name_on_shelf(source)):
            voxels[:, :, i] = plane.T
    if places:
        raise InputError(f"is a slice of a series that has lost {next(iter(places))} meanwhile")
    return voxels


@lru_cache(maxsize=8)
def _groups(shelf: Shelf) -> list[list[Slice]] | None:
    """The slices of each series of a folder or archive, by name; None where there are too many files."""
    groups: dict[tuple[object, ...], list[Slice]] = {}
    is_looked_through = False
    for number, source in enumerate(shelf.files()):
        is_looked_through = True
        if number >= MAX_FILES:
            return None
        SIGN_OF_LIFE.get()()
        header = _header(source)
        if header is not None and (place := _slice(source, header)) is not None:
            groups.setdefault(place.shared, []).append(place)
    if not is_looked_through:
        return None
    return [sorted(group, key=lambda place: place.name) for group in groups.values()]


@lru_cache(maxsize=8)
def _scales_on(shelf: Shelf) -> dict[str, tuple[str, ...]]:
    """Slice to the files that decide its scale."""
    scales: dict[str, tuple[str, ...]] = {}
    for group in _groups(shelf) or []:
        names = [place.name for place in group]
        sample = tuple(names[:: max(1, len(names) // SAMPLED)])
        scales |= dict.fromkeys(names, sample)
    return scales


@lru_cache(maxsize=8)
def _series_on(shelf: Shelf) -> dict[str, Series]:
    """File to series, for all files that are a slice of one."""
    members: dict[str, Series] = {}
    for group in _groups(shelf) or []:
        if (series := _volume(shelf, group)) is not None:
            members |= {place.name: series for place in group}
    return members


def _header(source: Source) -> Dataset | None:
    """The attributes that say where a slice lies; None for a file that is no DICOM."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # pydicom's messages quote attributes
    try:
        with source.open() as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if stream.read(132)[128:] != b"DICM":
                return None
            stream.seek(0)
            return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS)
    except Exception:  # whatever is wrong with it is told when the file itself is read
        return None
    finally:
        logging.disable(before)


def _slice(source: Source, header: Dataset) -> Slice | None:
    """Where a file lies; None for what is no slice."""
    try:
        return _placed(source, header)
    except (TypeError, ValueError):  # texts where numbers belong; the file itself is read all the same
        return None


def _placed(source: Source, header: Dataset) -> Slice | None:
    orientation, position = header.get("ImageOrientationPatient"), header.get("ImagePositionPatient")
    if orientation is None or position is None or len(orientation) != 6 or len(position) != 3:
        return None
    if int(header.get("NumberOfFrames") or 1) != 1 or int(header.get("SamplesPerPixel") or 1) != 1:
        return None
    directions = tuple(map(float, orientation))
    places = tuple(map(float, position))
    spacing = tuple(map(float, header.get("PixelSpacing") or (1, 1)))
    if not np.isfinite([*directions, *places, *spacing]).all() or len(spacing) != 2:
        return None
    uid = str(header.get("SeriesInstanceUID", ""))
    if not uid:
        return None
    name = name_on_shelf(source)
    # On disk a series ends with its folder, and so it does in an archive.
    folder = name.rpartition("/")[0]
    rounded = tuple(round(value, 3) for value in directions)
    return Slice(
        name=name,
        shared=(folder, uid, header.get("Rows"), header.get("Columns"), rounded),
        position=places,
        directions=directions,
        spacing=spacing,
        instance=_instance(header),
    )


def _volume(shelf: Shelf, slices: Sequence[Slice]) -> Series | None:
    """Slices in order, or None where they are too few, or do not lie behind each other."""
    across, down = np.array(slices[0].directions).reshape(2, 3)
    normal = np.cross(across, down)
    # Directions that are not perpendicular unit vectors orient nothing.
    if not np.isclose(np.linalg.norm(normal), 1, atol=0.01):
        return None
    ordered = sorted(slices, key=lambda item: (_depth(item, normal), item.instance, item.name))
    depths = np.array([_depth(item, normal) for item in ordered])
    steps = np.diff(depths)
    spaced = steps[steps > 0]
    if spaced.size == 0:
        return None
    distance = float(np.median(spaced))

    single = [0, *(np.flatnonzero(steps > SAME_PLACE * distance) + 1)]
    names = [ordered[0].name]
    for before, after in itertools.pairwise(single):
        step = (depths[after] - depths[before]) / distance
        absent = round(step) - 1 if step >= GAP else 0
        # Every place keeps its number, so a missing slice moves no other.
        names += [ordered[before].name] * (absent // 2) + [ordered[after].name] * (absent - absent // 2)
        names.append(ordered[after].name)
    if len(names) < MIN_SIDE:
        return None

    # PixelSpacing is the distance between rows, then between columns (PS3.3 10.7.1.3).
    spacing = np.array(slices[0].spacing)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * spacing[1], down * spacing[0], normal * distance], axis=1)
    axis = list(AXES)[int(np.abs(normal).argmax())]
    note = _note(doubled=len(ordered) - len(single), missing=len(names) - len(single))
    return Series(shelf=shelf, names=tuple(names), affine=ITK_LPS @ affine, axis=axis, note=note)


def _depth(place: Slice, normal: Float64[np.ndarray, "3"]) -> float:
    return float(np.array(place.position) @ normal)


def _instance(header: Dataset) -> int:
    try:
        return int(header.get("InstanceNumber") or 0)
    except (TypeError, ValueError):
        return 0


def _note(doubled: int, missing: int) -> str:
    """What is said of a series that is not one slice after the other."""
    parts = []
    if missing:
        parts.append(f", {missing} slice{'s' * (missing > 1)} {MISSING}")
    if doubled:
        parts.append(f", {doubled} slice{'s' * (doubled > 1)} {DOUBLED}")
    return "".join(parts)
