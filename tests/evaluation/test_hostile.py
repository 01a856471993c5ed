"""Labelled sets go through the corpus's walk and its decoding processes, and are read in any of its
formats.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from optidel.arrays import Image
from optidel.corpus.sandbox.scan import ScanOptions
from optidel.corpus.sandbox.workers import Scanned
from optidel.evaluation import splits, tasks
from optidel.evaluation.tasks import Task, load_task


def write(root: Path, stem: str, seed: int, *, image: str = ".png", mask: str = ".png") -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    region = np.zeros((20, 30), np.uint8)
    region[5:15, 10:20] = 255
    for kind, name, array in (("images", stem + image, picture), ("masks", stem + mask, region)):
        path = root / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(array).save(path)


def labelled(root: Path, count: int = 4) -> Path:
    for number in range(count):
        write(root, f"case{number}", number)
    return root


def reasons(task: Task) -> dict[str, str]:
    return {item.source: item.reason for item in task.rejected}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_pipes_and_devices_are_refused_unopened(kind: str, tmp_path: Path) -> None:
    labelled(tmp_path)
    for stem in ("pipe", "device", "gone"):
        write(tmp_path, stem, 9)
        (tmp_path / kind / f"{stem}.png").unlink()
    os.mkfifo(tmp_path / kind / "pipe.png")
    (tmp_path / kind / "device.png").symlink_to("/dev/zero")
    (tmp_path / kind / "gone.png").symlink_to(tmp_path / "nowhere.png")
    task = load_task(tmp_path, 16, train=2, test=2)
    assert len(task.ids) == 4
    told = reasons(task)
    assert told[f"{kind}/pipe.png"] == "is a FIFO, no regular file"
    assert told[f"{kind}/device.png"] == "is a device, no regular file"
    assert "is a link that leads nowhere" in told[f"{kind}/gone.png"]


def test_what_a_decoding_process_may_not_cost_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair of small files that unpack to 90 megapixels each, with a limit that they pass."""
    labelled(tmp_path)
    flat = PillowImage.new("L", (9_000, 9_000))
    write(tmp_path, "bomb", 8)
    for folder in ("images", "masks"):
        flat.save(tmp_path / folder / "bomb.png")
    scan, read = splits.scan_files, tasks.single_image
    decoded: list[str] = []

    def limited(root: Path, sources: list[str], options: ScanOptions) -> Iterator[Scanned]:
        return scan(root, sources, replace(options, memory=300 << 20))

    def recorded(path: Path, *where: str) -> Image:
        decoded.append(path.name)
        return read(path, *where)

    monkeypatch.setattr(splits, "scan_files", limited)
    monkeypatch.setattr(tasks, "single_image", recorded)
    task = load_task(tmp_path, 16, train=2, test=2)
    assert "needs more than" in reasons(task)["images/bomb.png"]
    assert decoded
    assert "bomb.png" not in decoded


@pytest.mark.parametrize("suffix", ["_mask", "_segmentation", "-mask", "_Seg", " gt", "_labels"])
def test_masks_may_be_named_for_what_they_are(suffix: str, tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path, f"site/case_{number}", number)
        mask = tmp_path / "masks" / "site" / f"case_{number}.png"
        mask.rename(mask.with_stem(mask.stem + suffix))
    task = load_task(tmp_path, 16, train=2, test=2)
    assert sorted(task.ids) == [f"site/case_{number}" for number in range(4)]
    assert task.rejected == []


def test_a_second_mask_of_an_image_is_said(tmp_path: Path) -> None:
    labelled(tmp_path)
    PillowImage.new("L", (30, 20)).save(tmp_path / "masks" / "case0_mask.png")
    assert reasons(load_task(tmp_path, 16, train=2, test=2)) == {
        "masks/case0_mask.png": "is a second mask beside masks/case0.png"
    }


def test_labelled_images_may_be_of_any_format_that_holds_one_frame(tmp_path: Path) -> None:
    labelled(tmp_path, 3)
    deep = np.random.default_rng(5).integers(0, 60_000, (20, 30)).astype(np.uint16)
    for number in range(3):
        write(tmp_path, f"deep{number}", 20 + number)
        (tmp_path / "images" / f"deep{number}.png").unlink()
        tifffile.imwrite(tmp_path / "images" / f"deep{number}.tif", deep + number)
    write(tmp_path, "stack", 30)
    (tmp_path / "images" / "stack.png").unlink()
    tifffile.imwrite(tmp_path / "images" / "stack.tif", np.stack([deep, deep]), photometric="minisblack")
    write(tmp_path, "slice", 31)
    (tmp_path / "images" / "slice.png").unlink()
    volume = nibabel.Nifti1Image(deep.T[..., None].astype(np.float32), np.eye(4))
    nibabel.save(volume, tmp_path / "images" / "slice.nii.gz")
    task = load_task(tmp_path, 16, train=5, test=3)
    told = reasons(task)
    assert told.keys() <= {"images/stack.tif", "images/slice.nii.gz"}
    assert "holds several frames; a labelled image is one frame" in told["images/stack.tif"]
    assert {"deep0", "deep1", "deep2"} <= set(task.ids)


def test_the_package_offers_load_task_without_torch(tmp_path: Path) -> None:
    labelled(tmp_path / "SET")
    code = (
        "import sys, optidel; task = optidel.load_task('SET', 16, train=2, test=2); "
        "print(task.images.shape, task.masks.shape, len(task.ids), task.classes, "
        "sorted(set(task.split.tolist()))); "
        "assert 'torch' not in sys.modules"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "(4, 16, 16, 3) (4, 16, 16) 4 2 ['test', 'train']"


def test_of_twin_masks_the_one_without_loss_is_read(tmp_path: Path) -> None:
    root = labelled(tmp_path)
    for path in (root / "masks").glob("*.png"):
        blank = np.zeros((20, 30), np.uint8)
        PillowImage.fromarray(blank).save(path.with_suffix(".jpg"))
    task = load_task(root, 32)
    assert (task.masks > 0).any()
    assert set(reasons(task).values()) == {f"has the same stem as masks/{stem}.png" for stem in task.ids}
