"""The embedded default: the MNI152 brain template, a real MR volume that comes with nilearn, as a corpus and
a labelled set.

The posterior part, cut into coronal and sagittal slices, is the unlabelled corpus: neighbouring slices are
true near-duplicates. Coronal slices of the anterior part, at least 10 mm away, with grey matter 1 and white
matter 2, are the labelled set; training and test slices are 9 mm apart.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image as PillowImage

from optidel.errors import InputError
from optidel.recipe import Recipe, make_recipe
from optidel.store import Store

# Coronal planes 0 to 139 of 233, at 1 mm, are the corpus.
POSTERIOR = 140

# Training slices on both sides of the test slices: with all of them on one side, scores hung on the seed more
# than on the encoder.
LABELLED = {"train": (*range(150, 162), *range(200, 212)), "test": range(170, 192)}


def demo_recipe(out: Path, *, quick: bool = False) -> Recipe:
    """Write the demo's data into the run folder and return its recipe; ``quick`` trains a tenth of the steps.

    Raises:
        InputError: nilearn is not installed.
        StoreError: the folder holds something else.
    """
    root = Store(out).root
    data = root / "data"
    # Renamed when whole: a killed demo writes its data again.
    if not data.is_dir():
        scratch = root / ".tmp-data"
        _write_data(scratch)
        scratch.rename(data)

    steps = 20 if quick else 200
    return make_recipe(
        {
            "images": str(data / "corpus"),
            "labelled": str(data / "labelled"),
            "out": str(out),
            "budget": 0.1,
            "corpus": {"axes": ["coronal", "sagittal"]},
            "encoder": {"steps": steps},
            "patches": {"candidates": 0.2, "points": 6},
            "pretrain": {"steps": steps, "batch": 32},
            "evaluate": {"steps": 20 if quick else 80},
        }
    )


def _write_data(data: Path) -> None:
    brain = _template("t1")
    grey = _template("gm")
    white = _template("wm")
    folder = data / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    posterior = brain[:, :POSTERIOR]
    corpus = nib.Nifti1Image(posterior, np.eye(4))
    nib.save(corpus, folder / "mni152-posterior.nii")

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
