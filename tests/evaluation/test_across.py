"""Trained on one labelled set, tested on another."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from optidel.errors import InputError
from optidel.evaluation.tasks import load_task


def write(root: Path, stem: str, seed: int, values: tuple[int, ...] = (0, 255)) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    region = np.full((20, 30), values[0], np.uint8)
    for number, value in enumerate(values[1:]):
        region[5:15, 8 * number + 2 : 8 * number + 9] = value
    for kind, array in (("images", picture), ("masks", region)):
        path = root / kind / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(array).save(path)


def test_one_set_is_trained_on_and_the_other_tested(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for number in range(6):
        write(here, f"case{number}", number)
    for number in range(5):
        write(there, f"case{number}", 100 + number, (0, 1))  # written otherwise, and the same class
    write(there, "copy", 2)  # the pixels of case2 of the other set
    task = load_task(here, 16, train=10, test=10, test_on=there)
    assert task.classes == 2
    tested = task.rows("test")
    assert sorted(task.ids[tested]) == ["there/case0", *(f"there/case{i}" for i in range(1, 5)), "there/copy"]
    assert sorted(task.ids[task.rows("train")]) == [f"case{i}" for i in (0, 1, 3, 4, 5)]
    assert [item.reason for item in task.rejected] == ["has the pixels of the test image images/copy.png"]
    for row in range(len(task.ids)):
        assert task.native_mask(row).sum() == 70
        assert task.masks[row].any()
    again = load_task(here, 16, train=2, test=3, test_on=there)
    assert (len(again.rows("train")), len(again.rows("test"))) == (2, 3)


def test_sides_of_given_splits_are_kept(tmp_path: Path) -> None:
    for name, start in (("here", 0), ("there", 50)):
        for side, count in (("train", 3), ("test", 2)):
            for number in range(count):
                write(tmp_path / name / side, f"{side}{number}", start + number + 10 * (side == "test"))
    task = load_task(tmp_path / "here", 16, test_on=tmp_path / "there")
    assert [name.split("/")[0] for name in task.ids] == ["train"] * 3 + ["there"] * 2
    assert all(name.startswith("there/test/") for name in task.ids[task.rows("test")])


def test_unequal_classes_are_refused(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "here", f"a{number}", number)
        write(tmp_path / "there", f"a{number}", 10 + number, (0, 1, 2))
    with pytest.raises(InputError, match="here has 2 classes with the background, there has 3"):
        load_task(tmp_path / "here", 16, test_on=tmp_path / "there")
    assert load_task(tmp_path / "here", 16, test_on=tmp_path / "there", masks="foreground").classes == 2
