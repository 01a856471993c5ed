"""Labelled sets of classes: layouts, labels that are not known, splits, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from optidel.errors import InputError
from optidel.evaluation import class_sets, splits
from optidel.evaluation.class_sets import UNKNOWN, ClassTask, holds_classes, load_class_task


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said to the person."""
    lines: list[str] = []
    for module in (class_sets, splits):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


def write(root: Path, source: str, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(20, 30, 3)).astype(np.uint8)
    path = root / source
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def in_folders(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    for folder, count in counts.items():
        for number in range(count):
            write(root, f"{folder}/{number:03d}.png", seed)
            seed += 1
    return root


def in_table(root: Path, text: str, images: int = 8) -> Path:
    for number in range(images):
        write(root, f"pictures/p{number}.png", number)
    (root / "labels.csv").write_text(text)
    return root


def label_of(task: ClassTask, name: str) -> dict[str, int]:
    column = task.classes.index(name)
    return dict(zip(task.ids.tolist(), task.labels[:, column].tolist(), strict=True))


def test_a_folder_a_class(tmp_path: Path, spoken: list[str]) -> None:
    root = in_folders(tmp_path / "skin", {"benign": 12, "malignant": 4})
    (root / "benign" / "notes.docx").write_text("none")
    assert holds_classes(root)
    task = load_class_task(root, 16, train=8, test=8)
    assert task.classes == ("benign", "malignant")
    assert task.exclusive
    assert task.images.shape == (16, 16, 16, 3)
    for source, label in zip(task.sources, task.labels, strict=True):
        assert label.tolist() == [source.startswith("benign"), source.startswith("malignant")]
    assert "16 images, classes from a folder each: benign 12, malignant 4" in spoken[0]
    assert [item.source for item in task.rejected] == ["benign/notes.docx"]


@pytest.mark.parametrize("seed", range(4))
def test_both_parts_have_the_classes_in_their_proportions(tmp_path: Path, seed: int) -> None:
    root = in_folders(tmp_path, {"a": 30, "b": 10})
    task = load_class_task(root, 16, train=20, test=12, seed=seed)
    of_a = task.labels[:, 0]
    assert of_a[task.rows("test")].sum() in (8, 9, 10)
    assert of_a[task.rows("train")].sum() in (14, 15, 16)
    again = load_class_task(root, 16, train=5, test=12, seed=seed)
    assert again.ids[again.rows("test")].tolist() == task.ids[task.rows("test")].tolist()


def test_a_given_split_is_kept_and_a_part_to_tune_on_is_tested_on_where_there_is_no_other(
    tmp_path: Path, spoken: list[str]
) -> None:
    counts = {"Train/a": 3, "Train/b": 3, "val/a": 2, "val/b": 2}
    task = load_class_task(in_folders(tmp_path, counts), 16)
    assert {source.split("/")[0] for source in task.ids[task.rows("test")].tolist()} == {"val"}
    in_folders(tmp_path, {"test/a": 1, "test/b": 1}, seed=100)
    task = load_class_task(tmp_path, 16)
    assert len(task.rows("test")) == 2
    assert any("not used, by its split: val" in line for line in spoken)


def test_a_training_image_with_the_pixels_of_a_test_image_is_left_out(tmp_path: Path) -> None:
    root = in_folders(tmp_path, {"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 2})
    (root / "train/b/copy.png").write_bytes((root / "test/b/000.png").read_bytes())
    task = load_class_task(root, 16)
    assert [item.source for item in task.rejected] == ["train/b/copy.png"]
    assert "has the pixels of the test image test/b/000.png" in task.rejected[0].reason


def test_a_table_of_one_class_an_image(tmp_path: Path) -> None:
    rows = [f"p{number},{'mel' if number % 2 else 'nevus'}" for number in range(8)]
    root = in_table(tmp_path, "image_id;dx\n" + "\n".join(rows).replace(",", ";") + "\n;\n")
    task = load_class_task(root, 16, train=4, test=4)
    assert task.exclusive
    assert label_of(task, "mel") == {f"pictures/p{number}.png": number % 2 for number in range(8)}


def test_a_table_of_several_labels_in_a_cell(tmp_path: Path) -> None:
    texts = ["Mass|Edema", "Edema", "No Finding", "Mass", "Edema|Mass", "No Finding", "No Finding", ""]
    rows = [f"p{number}.png,{text}" for number, text in enumerate(texts)]
    task = load_class_task(
        in_table(tmp_path, "Image Index,Finding Labels\n" + "\n".join(rows)), 16, train=4, test=3
    )
    assert not task.exclusive
    assert label_of(task, "Mass") == {
        f"pictures/p{number}.png": int("Mass" in text) for number, text in enumerate(texts) if text
    }
    assert task.rejected[0].reason == "has no label in the table"


def test_columns_of_yes_no_and_not_known(tmp_path: Path, spoken: list[str]) -> None:
    text = "Path,Sex,Age,Edema,Mass,Patient ID,Fracture\n"
    edema, mass = "1010-1010", ["1.0", "0.0", "", "-1.0", "1.0", "0.0", "1.0", "0.0"]
    edema_of = [1, 0, 1, 0, UNKNOWN, 0, 1, 0]
    for number in range(8):
        cell = {UNKNOWN: "-1"}.get(edema_of[number], str(edema_of[number]))
        text += f"somewhere/pictures/p{number}.png,F,{40 + number},{cell},{mass[number]},q{number // 2},0\n"
    assert edema
    task = load_class_task(in_table(tmp_path, text), 16, train=4, test=4)
    assert task.classes == ("Edema", "Mass")
    assert not task.exclusive
    expected = {f"pictures/p{number}.png": edema_of[number] for number in range(8)}
    assert label_of(task, "Edema") == expected
    assert sorted(label_of(task, "Mass").values()) == [0, 0, 0, 1, 1, 1, UNKNOWN, UNKNOWN]
    assert "3 labels not known" in spoken[0]
    # Both images of a patient are on one side.
    sides = {group: set() for group in task.groups}
    for group, part in zip(task.groups, task.split.tolist(), strict=True):
        sides[group].add(part)
    assert sorted(map(str, sides)) == [f"patient:q{number}" for number in range(4)]
    assert all(len(parts) == 1 for parts in sides.values())


def test_columns_of_which_one_is_true_are_one_choice_and_a_split_is_kept(tmp_path: Path) -> None:
    rows = [f"pictures/p{n},{int(n % 2 == 0)}.0,{n % 2}.0,{'Train' if n < 5 else 'test'}" for n in range(8)]
    task = load_class_task(in_table(tmp_path, "image,MEL,NV,split\n" + "\n".join(rows)), 16)
    assert task.exclusive
    assert task.ids[task.rows("test")].tolist() == [f"pictures/p{number}.png" for number in (5, 6, 7)]


def test_the_names_of_kinds_of_file_are_no_classes(tmp_path: Path) -> None:
    assert not holds_classes(in_folders(tmp_path / "a", {"images": 2, "masks": 2}))
    assert not holds_classes(in_folders(tmp_path / "b", {"images": 2, "labels": 2}))
    assert not holds_classes(in_folders(tmp_path / "c", {"imagesTr": 2, "labelsTr": 2}))
    assert not holds_classes(in_folders(tmp_path / "d", {"only": 2}))
    assert not holds_classes(tmp_path / "nothing")
    # Images and their masks under names of one's own.
    assert not holds_classes(in_folders(tmp_path / "e", {"stills": 3, "outlines": 3}))
    assert holds_classes(tmp_path / "e", "folders")
    assert holds_classes(tmp_path / "a", "folders")


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    rows = ["p0,a", "p1,b", "p2,a", "p3,b", "p4,a", "p5,b", "gone,a", "p0,b", "p6,"]
    rows += [f"p{number},{'ab'[number % 2]}" for number in range(7, 13)]
    root = in_table(tmp_path, "path,label\n" + "\n".join(rows), images=13)
    write(root, "other/p1.jpg", 99)
    (root / "pictures/p2.png").write_bytes(b"no picture")
    task = load_class_task(root, 16, train=5, test=6)
    reasons = {item.source: item.reason for item in task.rejected}
    assert reasons["gone"] == "is listed in the table of labels but missing"
    assert reasons["p0"] == "is listed twice in the table of labels"
    assert reasons["p1"] == "may be any of 2 files of that name; give its path"
    assert reasons["p6"] == "has no label in the table"
    assert "pictures/p2.png" in reasons


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    one_class = in_folders(tmp_path / "one", {"benign": 3, "malignant": 0})
    with pytest.raises(InputError, match="a folder for each class, or a table labels"):
        load_class_task(one_class, 16)
    root = in_folders(tmp_path / "split", {"train/a": 2, "train/b": 2, "test/a": 2})
    with pytest.raises(InputError, match="has test images with and without it, of 2"):
        load_class_task(root, 16)
    with pytest.raises(InputError, match="must be at least 1 image"):
        load_class_task(root, 16, train=0)
    for text, words in (
        ("name,label\np0,a\n", "has no column of images; call it path; it has name, label"),
        ("path,age\np0,41\np1,43\n", "has no column of labels; .* beside the images it has age"),
        ("path,label\np0,a\np1,b\n", "holds 2 different texts for 2 images"),
        ("path,label\n" + "x,a\nx,a\nx,b\nx,b\n", "lists no image of"),
    ):
        (tmp_path / "bad").mkdir(exist_ok=True)
        bad = in_table(tmp_path / "bad", text)
        with pytest.raises(InputError, match=words):
            load_class_task(bad, 16)
