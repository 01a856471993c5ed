"""Labelled volumes: an image volume and mask volumes of the same grid become pairs of slices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from optidel.corpus.groups import group_key
from optidel.corpus.masks import VOLUMES
from optidel.corpus.options import IndexOptions
from optidel.corpus.sandbox.workers import Scanned, scan_files
from optidel.evaluation.pairs import Pair, slice_of
from optidel.progress import track
from optidel.readers.decoded import ending
from optidel.readers.nifti import nibabel_heard
from optidel.records import Rejected

NIFTI = (".nii", ".nii.gz")
"""Volumes whose place in the patient is compared too."""

APART = 1.0
"""Voxels by which the corners of a mask may lie beside those of its image: headers are rounded, and where one
is turned or mirrored, the corners are whole sides apart.
"""


def cut(
    root: Path, pairs: Sequence[Pair], cutting: IndexOptions, rejected: list[Rejected], *, stored: bool
) -> list[Pair]:
    """Pairs in which volumes with mask volumes are replaced by their slices.

    Every file is decoded in a process of its own, with the limits of the index.

    Args:
        root: the labelled folder.
        pairs: of images and masks as they lie in it.
        cutting: the axes, and the window of CT.
        rejected: volumes that cannot be used with their masks are added here.
        stored: read the values of masks as stored.
    """
    volumes = [pair for pair in pairs if _is_volume(pair)]
    if not volumes:
        return list(pairs)
    files = [file for pair in volumes for file in (pair.image, *pair.masks)]
    scans = scan_files(root, files, cutting.scan(group_key(None)))
    scanned = {file.source: file for file in track(scans, "volumes", len(files))}

    slices: list[Pair] = []
    for pair in pairs:
        if not _is_volume(pair):
            slices.append(pair)
            continue
        refusal = _refusal(root, pair, scanned)
        if refusal:
            rejected.append(Rejected(source=pair.image, reason=refusal))
        else:
            locators = [frame.locator for frame in scanned[pair.image].frames]
            slices += [slice_of(pair, root, locator, stored=stored) for locator in locators]
    return slices


def _is_volume(pair: Pair) -> bool:
    return all(ending(file) in VOLUMES for file in (pair.image, *pair.masks))


def _refusal(root: Path, pair: Pair, scanned: dict[str, Scanned]) -> str:
    """Why a volume and its masks cannot be used together; empty where they can."""
    image = scanned[pair.image]
    if image.rejected:
        return image.rejected[0].reason
    grid = _grid(image)
    for file in pair.masks:
        mask = scanned[file]
        if mask.rejected:
            return f"its mask {mask.rejected[0].reason}"
        planes = _grid(mask)
        if planes != grid:
            return (
                f"its mask {file} has {_in_words(planes)}, the image {_in_words(grid)}; resample one to the "
                "grid of the other"
            )
        if not _is_in_place(root / pair.image, root / file):
            return (
                f"its mask {file} lies elsewhere in the patient, by its affine; save it with the affine of "
                "the image, or resample it to the image's grid"
            )
    return ""


def _grid(volume: Scanned) -> list[tuple[str, int, int]]:
    """Locator, height and width of every slice."""
    return [(frame.locator, frame.height, frame.width) for frame in volume.frames]


def _in_words(planes: Sequence[tuple[str, int, int]]) -> str:
    _, height, width = planes[0]
    return f"{len(planes)} slices of {width} x {height} px"


def _is_in_place(image: Path, mask: Path) -> bool:
    """Whether two NIfTI files lie at one place once both are in RAS+ order, as they are cut; True for other
    formats, whose readers know no place.
    """
    if ending(image.name) not in NIFTI or ending(mask.name) not in NIFTI:
        return True
    corners = [_corners(path) for path in (image, mask)]
    if any(points is None for points in corners):
        return True  # an affine without an inverse places nothing
    first, second = (points for points in corners if points is not None)
    voxel = np.linalg.norm(_placed(image).affine[:3, :3], axis=0).max()
    return bool(np.linalg.norm(first - second, axis=1).max() <= APART * voxel)


def _placed(path: Path) -> Any:
    """A NIfTI file whose header was read; what nibabel says of it, the reader has said."""
    with nibabel_heard():
        return nib.load(path)


def _corners(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    """Where the first and the last voxel in RAS+ order lie, (2, 3) in mm; None where that is not known."""
    header = _placed(path)
    affine = header.affine
    directions = affine[:3, :3]
    if not np.isfinite(affine).all() or abs(np.linalg.det(directions)) == 0:
        return None
    shape = (*header.shape, 1, 1)[:3]
    orientation = nib.orientations.io_orientation(affine)
    turned = affine @ nib.orientations.inv_ornt_aff(orientation, shape)
    sides = np.array(shape)[np.argsort(orientation[:, 0])]
    ends = np.array([[0, 0, 0, 1], [*(sides - 1), 1]], dtype=float)
    return np.asarray((ends @ turned.T)[:, :3])
