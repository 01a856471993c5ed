"""Single-frame DICOM files of one series as a volume, so that planes across its slices can be cut.

The planes stand under the first file in slice order. Slices are put in order by their position along the
normal of their plane, never by name or number: PS3.3 C.7.6.2.1.1 defines no other order.
"""

import itertools
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float64, Shaped
from pydicom.dataset import Dataset

from optidel.readers.decoded import DOUBLED, MIN_SIDE, MISSING, check_bytes
from optidel.readers.itk import ITK_LPS
from optidel.readers.volume import AXES

MAX_FILES = 5_000
"""Files of a folder whose headers are read to find its series, one or two milliseconds each; larger
folders are not looked through.
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
class Series:
    """The slices of a volume in the order of their position.

    ``paths``: one file a slice; where a slice is missing, that of its nearest neighbour. ``affine``:
    voxel indices (column, row, slice) to millimetres, RAS+. ``axis``: the one that the slices themselves
    lie across. ``note``: what is missing or doubled, for the rule.
    """

    paths: tuple[Path, ...]
    affine: Float64[np.ndarray, "4 4"]
    axis: str
    note: str


def series_of(path: Path) -> Series | None:
    """The series that a file is a slice of; None where its folder holds no volume of it."""
    folder = path.parent
    return _series_in(folder, folder.stat().st_mtime_ns).get(path)


def scale_files(path: Path) -> tuple[Path, ...]:
    """The files whose values decide the scale of a slice: some of its series, always the same, or itself."""
    folder = path.parent
    return _scales_in(folder, folder.stat().st_mtime_ns).get(path, (path,))


def stacked(series: Series, read: Callable[[Path], Shaped[np.ndarray, "h w"]]) -> Shaped[np.ndarray, "x y z"]:
    """All slices as one array.

    Args:
        series: its files.
        read: decodes one; a file that stands for a missing neighbour is decoded once.

    Returns:
        Values by column, row and slice.
    """
    first = read(series.paths[0])
    height, width = first.shape
    check_bytes(height * width * len(series.paths) * first.itemsize)
    voxels = np.empty((width, height, len(series.paths)), first.dtype)
    plane = first
    for i, path in enumerate(series.paths):
        if i and path != series.paths[i - 1]:
            plane = read(path)
        voxels[:, :, i] = plane.T
    return voxels


@lru_cache(maxsize=8)
def _groups(folder: Path, modified: int) -> list[list[tuple[Path, Dataset]]]:
    """The slices of each series of a folder, with their headers; of a very large folder none."""
    del modified  # part of the key only: a folder that changed is looked through again
    entries = [Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
    if len(entries) > MAX_FILES or any(path.name == ALONE for path in entries):
        return []
    groups: dict[tuple[object, ...], list[tuple[Path, Dataset]]] = {}
    # Sorted, so that the same files give the same volume on every file system.
    for path in sorted(entries):
        header = _header(path)
        if header is not None and (key := _key(header)) is not None:
            groups.setdefault(key, []).append((path, header))
    return list(groups.values())


@lru_cache(maxsize=8)
def _scales_in(folder: Path, modified: int) -> dict[Path, tuple[Path, ...]]:
    """Slice to the files that decide its scale."""
    scales: dict[Path, tuple[Path, ...]] = {}
    for group in _groups(folder, modified):
        files = [path for path, _ in group]
        sample = tuple(files[:: max(1, len(files) // SAMPLED)])
        scales |= dict.fromkeys(files, sample)
    return scales


@lru_cache(maxsize=8)
def _series_in(folder: Path, modified: int) -> dict[Path, Series]:
    """File to series, for all files of a folder that are a slice of one."""
    members: dict[Path, Series] = {}
    for slices in _groups(folder, modified):
        if (series := _volume(slices)) is not None:
            members |= {path: series for path, _ in slices}
    return members


def _header(path: Path) -> Dataset | None:
    """The attributes that say where a slice lies; None for a file that is no DICOM."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # pydicom's messages quote attributes
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if stream.read(132)[128:] != b"DICM":
                return None
            stream.seek(0)
            return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS)
    except Exception:  # whatever is wrong with it is told when the file itself is read
        return None
    finally:
        logging.disable(before)


def _key(header: Dataset) -> tuple[object, ...] | None:
    """What the slices of one volume share; None for what is no slice."""
    try:
        return _shared(header)
    except (TypeError, ValueError):  # texts where numbers belong; the file itself is read all the same
        return None


def _shared(header: Dataset) -> tuple[object, ...] | None:
    orientation, position = header.get("ImageOrientationPatient"), header.get("ImagePositionPatient")
    if orientation is None or position is None or len(orientation) != 6 or len(position) != 3:
        return None
    if int(header.get("NumberOfFrames") or 1) != 1 or int(header.get("SamplesPerPixel") or 1) != 1:
        return None
    directions = tuple(round(float(value), 3) for value in orientation)
    spacing = header.get("PixelSpacing") or (1, 1)
    if not np.isfinite([*directions, *map(float, position), *map(float, spacing)]).all() or len(spacing) != 2:
        return None
    uid = str(header.get("SeriesInstanceUID", ""))
    return (uid, header.get("Rows"), header.get("Columns"), directions) if uid else None


def _volume(slices: Sequence[tuple[Path, Dataset]]) -> Series | None:
    """Slices in order, or None where they are too few, or do not lie behind each other."""
    header = slices[0][1]
    across, down = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(across, down)
    # Directions that are not perpendicular unit vectors orient nothing.
    if not np.isclose(np.linalg.norm(normal), 1, atol=0.01):
        return None
    ordered = sorted(slices, key=lambda item: (_depth(item[1], normal), _instance(item[1]), item[0].name))
    depths = np.array([_depth(item, normal) for _, item in ordered])
    steps = np.diff(depths)
    spaced = steps[steps > 0]
    if spaced.size == 0:
        return None
    distance = float(np.median(spaced))

    single = [0, *(np.flatnonzero(steps > SAME_PLACE * distance) + 1)]
    paths = [ordered[0][0]]
    for before, after in itertools.pairwise(single):
        step = (depths[after] - depths[before]) / distance
        absent = round(step) - 1 if step >= GAP else 0
        # Every place keeps its number, so a missing slice moves no other.
        paths += [ordered[before][0]] * (absent // 2) + [ordered[after][0]] * (absent - absent // 2)
        paths.append(ordered[after][0])
    if len(paths) < MIN_SIDE:
        return None

    # PixelSpacing is the distance between rows, then between columns (PS3.3 10.7.1.3).
    spacing = np.array(header.get("PixelSpacing") or (1, 1), dtype=float)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * spacing[1], down * spacing[0], normal * distance], axis=1)
    axis = list(AXES)[int(np.abs(normal).argmax())]
    note = _note(doubled=len(ordered) - len(single), missing=len(paths) - len(single))
    return Series(paths=tuple(paths), affine=ITK_LPS @ affine, axis=axis, note=note)


def _depth(header: Dataset, normal: Float64[np.ndarray, "3"]) -> float:
    return float(np.array(header.ImagePositionPatient, dtype=float) @ normal)


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
