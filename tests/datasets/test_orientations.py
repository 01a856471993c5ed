"""Image and mask lie alike whatever EXIF orientation each of them states, or it is said."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage
from PIL import ImageOps

from optidel.datasets.orientations import stored_picture
from optidel.evaluation.tasks import Task, load_task

COUNT = 6
QUARTERS = (5, 6, 7, 8)


def tags(orientation: int) -> PillowImage.Exif:
    exif = PillowImage.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    return exif


def region(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A corner of a picture: no half turn and no mirror maps it to itself."""
    mask = np.zeros((height, width), np.bool_)
    mask[: 30 + seed, : 20 + 2 * seed] = True
    return mask


def shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """As a viewer shows stored pixels, by Pillow."""
    picture = PillowImage.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(picture))


def labelled(
    root: Path,
    images: Sequence[int],
    masks: Sequence[int],
    *,
    on_shown: bool = False,
    size: tuple[int, int] = (96, 128),
) -> Path:
    """A bright object in each image and its mask, with the orientations given, drawn on the stored pixels or
    on what a viewer shows.
    """
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for i in range(COUNT):
        turn, mask = images[i % len(images)], region(i, *size)
        grey = np.where(mask, 230, 20).astype(np.uint8)
        PillowImage.fromarray(grey).save(root / "images" / f"{i}.jpg", quality=100, exif=tags(turn))
        drawn = shown(mask.astype(np.uint8) * 255, turn if on_shown else 1)
        path = root / "masks" / f"{i}.png"
        PillowImage.fromarray(drawn).save(path, exif=tags(masks[i % len(masks)]))
    return root


def worst(task: Task) -> float:
    """The smallest overlap of a bright object with its mask."""
    assert len(task.ids) == COUNT
    bright, marked = task.images[..., 0] > 128, task.masks > 0
    return float(((bright & marked).sum((1, 2)) / (bright | marked).sum((1, 2))).min())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_of_both_turns_both_and_nothing_is_said(
    orientation: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = load_task(labelled(tmp_path, [orientation], [orientation]), 96, train=4, test=2)
    assert worst(task) > 0.9
    assert "EXIF" not in capfd.readouterr().err


@pytest.mark.parametrize("orientation", QUARTERS)
@pytest.mark.parametrize("whose", ["image", "mask"])
def test_a_mask_on_stored_pixels_is_turned_as_its_image_is(
    whose: str, orientation: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images, masks = ([orientation], [1]) if whose == "image" else ([1], [orientation])
    task = load_task(labelled(tmp_path, images, masks), 96, train=4, test=2)
    assert worst(task) > 0.9
    assert "6 of 6 masks state another EXIF orientation than their image and lie on" in capfd.readouterr().err
    assert "turned as it is" in task.reading.text


@pytest.mark.parametrize("orientation", [2, 3, 4])
@pytest.mark.parametrize("whose", ["image", "mask"])
def test_a_half_turn_or_mirror_of_one_alone_is_obeyed_and_said(
    whose: str, orientation: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images, masks = ([orientation], [1]) if whose == "image" else ([1], [orientation])
    task = load_task(labelled(tmp_path, images, masks), 96, train=4, test=2)
    row = int(np.flatnonzero(task.ids == "3")[0])
    expected = shown(region(3).astype(np.uint8), 1 if whose == "image" else orientation)
    np.testing.assert_array_equal(task.native_mask(row), expected)
    assert "6 of 6 masks state another EXIF orientation" in capfd.readouterr().err
    assert "each file is shown by its own" in task.reading.text


def test_half_turns_follow_the_quarter_turns_of_the_same_set(tmp_path: Path) -> None:
    for name, on_shown in {"stored": False, "shown": True}.items():
        (tmp_path / name).mkdir()
        root = labelled(tmp_path / name, [1, 2, 3, 6, 8], [1], on_shown=on_shown)
        assert worst(load_task(root, 96, train=4, test=2)) > 0.9


def test_of_square_pictures_nobody_can_tell_and_it_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_task(labelled(tmp_path, [6], [1], size=(96, 96)), 96, train=4, test=2)
    assert "6 of 6 masks state another EXIF orientation" in capfd.readouterr().err


def test_a_palette_in_tiff_is_turned_once(tmp_path: Path) -> None:
    root = labelled(tmp_path, [6], [6])
    palette = np.zeros((3, 256), np.uint16)
    palette[0, 1] = 65535
    for i in range(COUNT):
        (root / "masks" / f"{i}.png").unlink()
        tifffile.imwrite(
            root / "masks" / f"{i}.tif",
            region(i).astype(np.uint8),
            photometric="palette",
            colormap=palette,
            extratags=[(274, "H", 1, 6, False)],
        )
    assert worst(load_task(root, 96, train=4, test=2)) > 0.9


@pytest.mark.parametrize("mask_orientation", [1, 6])
def test_a_published_set_is_turned_like_any_other(mask_orientation: int, tmp_path: Path) -> None:
    root = tmp_path / "CVC-ClinicDB"
    for kind in ("Original", "Ground Truth"):
        (root / kind).mkdir(parents=True)
    for number in range(1, 127, 6):
        mask = region(number % 7, 12, 16)
        for kind, turn in {"Original": 6, "Ground Truth": mask_orientation}.items():
            values = np.where(mask, 255, 0).astype(np.uint8)
            values = np.bitwise_xor(values, np.uint8(number)) if kind == "Original" else values
            PillowImage.fromarray(values).save(root / kind / f"{number}.tif", exif=tags(turn))
    task = load_task(root, 16, train=8, test=4)
    assert [item.reason for item in task.rejected] == []
    for row in task.rows("test").tolist():
        number = int(task.ids[row].rpartition("/")[2])
        expected = shown(region(number % 7, 12, 16).astype(np.uint8), 6)
        np.testing.assert_array_equal(task.native_mask(row), expected)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_headers_tell_the_stored_size(orientation: int, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{ending}"
    PillowImage.fromarray(np.zeros((8, 12, 3), np.uint8)).save(path, exif=tags(orientation))
    header = stored_picture(path)
    assert header is not None
    assert (header.size, header.orientation) == ((12, 8), orientation)
    assert header.shown == ((8, 12) if orientation in QUARTERS else (12, 8))
