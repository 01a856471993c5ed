"""A run whose labelled set are volumes: cut along the corpus's axes, looked for in the corpus, scored."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
from nano import recipe

from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe

SIDES = (40, 36, 32)


def save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


def scan(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 900, SIDES) + 100 * np.arange(SIDES[2])).astype(np.int16)


def test_leaks_of_ct_are_looked_for_through_the_window_of_the_corpus(tmp_path: Path) -> None:
    corpus, labelled = tmp_path / "corpus", tmp_path / "labelled"
    for seed in range(4):
        voxels = np.random.default_rng(seed).integers(-900, 900, (24, 24, 3)).astype(np.int16)
        mask = np.zeros((24, 24, 3), np.uint8)
        mask[4:12, 4:12] = 1
        save(labelled / "images" / f"scan{seed}.nii.gz", voxels)
        save(labelled / "masks" / f"scan{seed}.nii.gz", mask)
        save(corpus / f"copy{seed}.nii.gz", voxels)
    window = [40.0, 400.0]
    values = recipe(corpus, labelled, tmp_path / "run", corpus={"window": window, "holdout": 0})
    leaks = Pipeline(make_recipe(values)).leaks
    assert leaks is not None
    exact = leaks.table("leaks.parquet").filter(pl.col("kind") == "exact")
    task = Pipeline(make_recipe(values)).task.table("items.parquet")
    assert set(exact["test"]) == set(task.filter(pl.col("split") == "test")["id"])


def test_labelled_volumes_are_cut_along_the_axes_of_the_corpus_and_their_leaks_found(tmp_path: Path) -> None:
    corpus, labelled = tmp_path / "corpus", tmp_path / "labelled"
    for seed in range(4):
        mask = np.zeros(SIDES, np.uint8)
        mask[8:28, 6:20, 4 + seed : 20] = 1
        save(labelled / "images" / f"scan{seed}.nii.gz", scan(seed))
        save(labelled / "masks" / f"scan{seed}.nii.gz", mask)
    for seed in range(10, 13):
        save(corpus / f"scan{seed}.nii.gz", scan(seed))
    values = recipe(corpus, labelled, tmp_path / "run", corpus={"axes": ["coronal"]})
    task = Pipeline(make_recipe(values)).task
    items = task.table("items.parquet")
    sources = items["source"].to_list()
    assert all("#coronal:" in source for source in sources)
    tested = {source.partition("#")[0] for source in items.filter(items["split"] == "test")["source"]}
    trained = {source.partition("#")[0] for source in items.filter(items["split"] == "train")["source"]}
    assert tested
    assert trained
    assert not tested & trained

    # The first volume that is tested on is in the corpus too.
    leaked = sorted(tested)[0]
    shutil.copy(labelled / leaked, corpus / "again.nii.gz")
    leaks = Pipeline(make_recipe(values)).leaks
    assert leaks is not None
    rows = leaks.table("leaks.parquet")
    found = set(rows.filter(rows["kind"] == "exact").select("test", "train").rows())
    scan_id = leaked.removeprefix("images/").removesuffix(".nii.gz")
    of_scan = [name for name in items.filter(items["split"] == "test")["id"] if name.startswith(scan_id)]
    assert of_scan
    assert {(name, f"again.nii.gz#{name.partition('#')[2]}") for name in of_scan} <= found
