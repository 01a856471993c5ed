"""The data of the demo: a brain and a folder of DICOM files, both real, which come with two packages.

The MNI152 template, an MR volume that comes with nilearn, is the corpus to choose from and the labelled set.
Its posterior part is cut into slabs, coronal and sagittal, one file each, as if they were scans of their own:
whole slabs are held out. Coronal slices of the anterior part, at least 10 mm away, with grey matter 1 and
white matter 2, are the labelled set; training and test slices are 9 mm apart. The test files of pydicom are
the folder of a hospital: scans, clips, one image in many encodings, a file cut off.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from optidel.errors import InputError
from optidel.recipe import Recipe, make_recipe
from optidel.store import Store

# Coronal planes 0 to 139 of 233, at 1 mm, are the corpus.
POSTERIOR = 140

# Training slices on both sides of the test slices: with all of them on one side, scores hung on the seed more
# than on the encoder.
LABELLED = {"train": (*range(150, 162), *range(200, 212)), "test": range(170, 192)}

# Planes of a slab, and planes left out between two, so that no slice has its neighbour in another slab.
SLAB, GAP = 5, 2

# Share of the corpus that is held out: five slabs.
HELD_OUT = 0.1

# As many as an interval needs.
SEEDS = (0, 1, 2)

# Of every pre-training, 16 images each: some twenty seconds on two cores. With a third of them the encoders
# know less of held-out slices than the mean grey value does.
STEPS = 400


def demo_recipe(out: Path, *, quick: bool = False) -> Recipe:
    """Write the demo's data into the run folder and return the recipe of the brain; ``quick`` trains a tenth
    of the steps with one seed. The DICOM files lie in ``data/hospital``.

    Raises:
        InputError: nilearn or pydicom-data is not installed.
        StoreError: the folder holds something else.
    """
    root = Store(out).root
    data = root / "data"
    # Renamed when whole: a killed demo writes its data again.
    if not data.is_dir():
        scratch = root / ".tmp-data"
        _write_data(scratch)
        scratch.rename(data)

    steps = STEPS // 10 if quick else STEPS
    return make_recipe(
        {
            "images": str(data / "corpus"),
            "labelled": str(data / "labelled"),
            "out": str(out),
            "methods": ["full", "random", "optidel"],
            "budget": 0.1,
            "seeds": [0] if quick else list(SEEDS),
            "corpus": {"pattern": "(?P<series>slab-[a-z]+-[0-9]+)", "holdout": HELD_OUT},
            "encoder": {"steps": steps // 2},
            "pretrain": {"steps": steps, "batch": 16, "views": "flip-only"},
            "evaluate": {"protocols": ["ridge"]},
        }
    )


def hospital_recipe(out: Path) -> Recipe:
    """The recipe of the DICOM files, in a run folder of their own; call :func:`demo_recipe` first."""
    return make_recipe({"images": str(out / "data" / "hospital"), "out": str(out / "hospital")})


def _write_data(data: Path) -> None:
    _write_brain(data)
    _write_dicom(data / "hospital")


def _write_brain(data: Path) -> None:
    """The brain: its posterior part as a volume of the corpus, its anterior part as the labelled set."""
    brain = _template("t1")
    grey = _template("gm")
    white = _template("wm")
    _write_slabs(brain[:, :POSTERIOR], data / "corpus")

    # Probabilities are stored as 0 to 255: a voxel whose tissues both stay under one half is background.
    background = np.full_like(grey, 127)
    tissues = np.stack([background, grey, white])
    tissue = tissues.argmax(axis=0).astype(np.uint8)
    for part, planes in LABELLED.items():
        for kind, volume in (("images", brain), ("masks", tissue)):
            folder = data / "labelled" / part / kind
            folder.mkdir(parents=True, exist_ok=True)
            for plane in planes:
                # The last axis of the volume runs upwards; turned, it runs up the picture.
                turned = np.rot90(volume[:, plane])
                upright = np.ascontiguousarray(turned)
                PillowImage.fromarray(upright).save(folder / f"coronal-{plane}.png")


def _write_slabs(posterior: UInt8[np.ndarray, "x y z"], folder: Path) -> None:
    """Slabs of some planes as NIfTI, turned so that the default axis cuts them into those planes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, axis in (("coronal", 1), ("sagittal", 0)):
        planes = np.moveaxis(posterior, axis, 2)
        starts = range(0, planes.shape[2] - SLAB + 1, SLAB + GAP)
        for number, start in enumerate(starts):
            slab = nib.Nifti1Image(np.ascontiguousarray(planes[:, :, start : start + SLAB]), np.eye(4))
            nib.save(slab, folder / f"slab-{name}-{number:02d}.nii")


def _write_dicom(folder: Path) -> None:
    """The DICOM files as they come: whole, cut off, without a picture, and in many encodings of one image."""
    try:
        files = resources.files("data_store") / "data"
    except ModuleNotFoundError as error:
        raise InputError(
            "the demo's DICOM files come with pydicom-data, which is not installed; "
            "pip install 'optidel[demo]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for file in files.iterdir():
        if file.name.endswith(".dcm"):
            (folder / file.name).write_bytes(file.read_bytes())


def _template(name: str) -> np.ndarray[Any, Any]:
    try:
        folder = resources.files("nilearn") / "datasets" / "data"
    except ModuleNotFoundError as error:
        raise InputError(
            "the demo's brain volume comes with nilearn, which is not installed; pip install 'optidel[demo]'"
        ) from error
    file = folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    with resources.as_file(file) as path:
        volume = nib.load(path)
        return np.asarray(volume.dataobj)
