"""Several masks of one image are one mask, their union; and labelled volumes are cut into slices."""

import gzip
import logging
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as PillowImage

from optidel.errors import InputError
from optidel.evaluation import pairs, splits, tasks
from optidel.evaluation.tasks import Task, load_task

SIDES = (24, 20, 6)


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said to the person."""
    lines: list[str] = []
    for module in (tasks, pairs, splits):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(array).save(path)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def box(top: int, left: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((20, 30), np.uint8)
    mask[top : top + 6, left : left + 6] = value
    return mask


def reasons(task: Task) -> dict[str, str]:
    return {item.source: item.reason for item in task.rejected}


def native(task: Task) -> dict[str, np.ndarray]:
    return {str(task.ids[row]): task.native_mask(row) for row in range(len(task.ids))}


@pytest.mark.parametrize(
    "names",
    [
        ("case{}_mask1", "case{}_mask2", "case{}_mask3"),
        ("case{}_mask", "case{}_mask_1", "case{}_mask_2"),
        ("case{0}/a", "case{0}/b", "case{0}/c"),
    ],
)
def test_several_masks_of_an_image_are_united(
    tmp_path: Path, spoken: list[str], names: tuple[str, ...]
) -> None:
    corners = [(0, 0), (4, 3), (13, 20)]  # the first two overlap
    for number in range(4):
        save(tmp_path / "images" / f"case{number}.png", picture(number))
        for name, corner in zip(names, corners, strict=True):
            save(tmp_path / "masks" / f"{name.format(number)}.png", box(*corner, 255 if number else 1))
    task = load_task(tmp_path, 16, train=2, test=2)
    expected = np.zeros((20, 30), np.uint8)
    for top, left in corners:
        for row in range(top, top + 6):
            expected[row, left : left + 6] = 1
    assert (task.classes, task.rejected) == (2, [])
    for mask in native(task).values():
        np.testing.assert_array_equal(mask, expected)
    assert any("4 of 4 images have several masks; their union is the foreground" in line for line in spoken)


def test_one_of_several_masks_may_be_empty(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "images" / f"case{number}.png", picture(number))
        save(tmp_path / "masks" / f"case{number}_mask1.png", box(3, 4))
        save(tmp_path / "masks" / f"case{number}_mask2.png", np.zeros((20, 30), np.uint8))
    task = load_task(tmp_path, 16, train=2, test=2)
    for mask in native(task).values():
        np.testing.assert_array_equal(mask, box(3, 4, 1))


def test_several_masks_of_several_classes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "images" / f"case{number}.png", picture(number))
        save(tmp_path / "masks" / f"case{number}_mask.png", box(3, 4))
    save(tmp_path / "masks" / "case0_mask_1.png", box(3, 4, 2) + box(12, 20, 5))
    task = load_task(tmp_path, 16, train=2, test=1)
    assert "holds 3 classes and is one of several of its image" in reasons(task)["images/case0.png"]
    assert len(task.ids) == 3


def test_several_masks_of_unequal_size_are_refused(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "images" / f"case{number}.png", picture(number))
        save(tmp_path / "masks" / f"case{number}" / "a.png", box(3, 4))
    save(tmp_path / "masks" / "case0" / "b.png", box(3, 4)[:10])
    task = load_task(tmp_path, 16, train=2, test=1)
    assert "30 x 10 px, the image 30 x 20 px" in reasons(task)["images/case0.png"]


def ramp(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 900, SIDES).astype(np.int16)


def lesion(seed: int, value: int = 1) -> np.ndarray:
    mask = np.zeros(SIDES, np.uint8)
    mask[3 + seed : 12 + seed, 5:14, 1:5] = value
    return mask


def volume(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)


def volumes(root: Path, count: int = 4) -> Path:
    for number in range(count):
        volume(root / "images" / f"scan{number}.nii.gz", ramp(number))
        volume(root / "masks" / f"scan{number}.nii.gz", lesion(number))
    return root


def test_labelled_volumes_are_cut_into_slices_with_the_masks_of_their_slices(tmp_path: Path) -> None:
    task = load_task(volumes(tmp_path), 16, train=12, test=12)
    assert (len(task.ids), task.classes, task.rejected) == (24, 2, [])
    for name, mask in native(task).items():
        number, position = int(name[4]), int(name.rpartition(":")[2])
        # As nibabel has it: RAS+, x to the right of the picture, y upwards.
        np.testing.assert_array_equal(mask, lesion(number)[:, ::-1, position].T)


def test_slices_show_what_the_index_shows_of_the_volume(tmp_path: Path) -> None:
    import optidel

    volumes(tmp_path)
    task = load_task(tmp_path, 20, train=12, test=12)
    corpus = optidel.index(tmp_path / "images")
    shown = {frame.id: corpus.image(row) for row, frame in enumerate(corpus.frames)}
    assert sorted(shown) == sorted(source.removeprefix("images/") for source in task.sources)
    for source, image in zip(task.sources, task.images, strict=True):
        stretched = PillowImage.fromarray(shown[source.removeprefix("images/")]).resize(
            (20, 20), PillowImage.Resampling.BILINEAR
        )
        np.testing.assert_array_equal(image, np.asarray(stretched))


def test_a_volume_is_never_trained_and_tested_on(tmp_path: Path) -> None:
    task = load_task(volumes(tmp_path), 16, train=100, test=7)
    parts = {
        part: {str(name).partition("#")[0] for name in task.ids[task.rows(part)]}
        for part in ("train", "test")
    }
    assert parts["train"]
    assert parts["test"]
    assert not parts["train"] & parts["test"]
    assert all(group and group.startswith("volume:scan") for group in task.groups)


def test_volumes_are_cut_along_the_axes_of_the_corpus(tmp_path: Path) -> None:
    volumes(tmp_path)
    for folder in ("images", "masks"):
        for path in (tmp_path / folder).iterdir():
            voxels = np.repeat(np.asarray(nibabel.load(path).dataobj), 2, axis=2)
            volume(path, voxels)
    task = load_task(tmp_path, 16, train=200, test=20, axes=("coronal",))
    assert {str(name).partition("#")[2].partition(":")[0] for name in task.ids} == {"coronal"}
    assert len(task.ids) <= 4 * SIDES[1]
    row = list(task.ids).index("scan2#coronal:7")
    np.testing.assert_array_equal(task.native_mask(row), np.repeat(lesion(2), 2, axis=2)[:, 7, ::-1].T)


def test_volumes_of_another_grid_or_place_are_refused_with_the_remedy(tmp_path: Path) -> None:
    volumes(tmp_path, 6)
    volume(tmp_path / "masks" / "scan0.nii.gz", lesion(0)[..., :4])
    # The same array, but a header that says that it is mirrored: it would be cut the other way round.
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    volume(tmp_path / "masks" / "scan1.nii.gz", lesion(1), mirrored)
    task = load_task(tmp_path, 16, train=12, test=12)
    told = reasons(task)
    assert "has 4 slices of 24 x 20 px, the image 6 slices of 24 x 20 px" in told["images/scan0.nii.gz"]
    assert "lies elsewhere in the patient" in told["images/scan1.nii.gz"]
    assert len(told) == 2


def test_a_mask_stored_in_another_order_at_the_same_place_is_turned(tmp_path: Path) -> None:
    volumes(tmp_path, 3)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[0, 3] = SIDES[0] - 1
    volume(tmp_path / "masks" / "scan0.nii.gz", lesion(0)[::-1], affine)
    task = load_task(tmp_path, 16, train=12, test=6)
    assert task.rejected == []
    row = list(task.ids).index("scan0#axial:3")
    np.testing.assert_array_equal(task.native_mask(row), lesion(0)[:, ::-1, 3].T)


def test_one_volume_alone_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are of one group, volume:scan0; at least two are needed"):
        load_task(volumes(tmp_path, 1), 16)


def test_what_nibabel_says_of_odd_headers_stays_off_the_terminal(tmp_path: Path) -> None:
    volumes(tmp_path)
    for path in tmp_path.rglob("*.nii.gz"):
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[80:84] = struct.pack("<f", -1)
        path.write_bytes(gzip.compress(data))
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    nibabel.imageglobals.logger.addHandler(handler)
    try:
        task = load_task(tmp_path, 16, train=12, test=12)
    finally:
        nibabel.imageglobals.logger.removeHandler(handler)
    assert (len(task.ids), task.rejected, texts) == (24, [], [])
