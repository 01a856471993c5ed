"""Published sets as they lie on disk: read by their own annotation, split by their own unit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from optidel.datasets import load_registry, open_labelled
from optidel.errors import InputError
from optidel.evaluation.tasks import Task, known_set, load_task

HEIGHT, WIDTH = 12, 16


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(array).save(path)


def pair(root: Path, image: str, *masks: str, seed: int = 0) -> None:
    """A picture of noise, and masks whose foreground starts one row further down each."""
    save(root / image, np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    for number, mask in enumerate(masks):
        values = np.zeros((HEIGHT, WIDTH), np.uint8)
        values[2 + 2 * number : 8, 4:12] = 255
        save(root / mask, values)


def sides(task: Task) -> tuple[set[str | None], set[str | None]]:
    train, test = ({task.groups[row] for row in task.rows(part)} for part in ("train", "test"))
    return train, test


def clinicdb(root: Path, numbers: range, images: str = "Original", masks: str = "Ground Truth") -> Path:
    for number in numbers:
        pair(root, f"{images}/{number}.tif", f"{masks}/{number}.tif", seed=number)
    return root


@pytest.mark.parametrize("folders", [("Original", "Ground Truth"), ("images", "masks")])
def test_sequences_of_clinicdb_stay_whole(
    folders: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = clinicdb(tmp_path / "CVC-ClinicDB", range(1, 127, 3), *folders)
    for seed in range(5):
        task = load_task(root, 16, train=20, test=10, seed=seed)
        train, test = sides(task)
        assert train
        assert test
        assert not train & test
        assert train | test <= {f"sequence:{number}" for number in range(1, 7)}
    assert "read as CVC-ClinicDB (CVC-612), split by sequence" in capfd.readouterr().err
    assert task.sources[0].startswith(f"{folders[0]}/")
    assert task.classes == 2


def test_a_set_found_deeper_down_has_paths_from_the_folder_given(tmp_path: Path) -> None:
    clinicdb(tmp_path / "download" / "CVC-ClinicDB", range(1, 127, 5))
    task = load_task(tmp_path / "download", 16, train=12, test=6)
    assert all((tmp_path / "download" / source).is_file() for source in task.sources)


def test_centres_of_polypgen_stay_whole_and_frames_without_polyp_count(tmp_path: Path) -> None:
    root = tmp_path / "PolypGen"
    for centre in (3, 4, 6):
        for number in range(4):
            name = f"C{centre}_EndoCV2021_{number:05d}"
            data = f"data_C{centre}"
            pair(
                root,
                f"{data}/images_C{centre}/{name}.jpg",
                f"{data}/masks_C{centre}/{name}_mask.jpg",
                seed=10 * centre + number,
            )
    for number in range(4):
        pair(root, f"sequenceData/negativeOnly/seq1_neg/1_endocv2021_C5_{number}.jpg", seed=90 + number)
    task = load_task(root, 16, train=8, test=4)
    train, test = sides(task)
    assert not train & test
    assert train | test <= {"centre:C3", "centre:C4", "centre:C5", "centre:C6"}
    empty = [row for row, source in enumerate(task.sources) if "negativeOnly" in source]
    assert not task.masks[empty].any()


def test_the_official_split_is_kept(tmp_path: Path) -> None:
    root, ids = (
        tmp_path / "kvasir-instrument",
        [f"cju0qkwl35piu0993l0dewe{number:02d}" for number in range(12)],
    )
    for number, name in enumerate(ids):
        pair(root, f"images/{name}.jpg", f"masks/{name}.png", seed=number)
    (root / "train.txt").write_text("\n".join(ids[:8]))
    (root / "test.txt").write_text("\n".join(ids[8:]))
    task = load_task(root, 16, train=5, test=20)
    found = {part: {Path(task.sources[row]).stem for row in task.rows(part)} for part in ("train", "test")}
    assert found["test"] == set(ids[8:])
    assert found["train"] < set(ids[:8])
    assert len(found["train"]) == 5


def test_classes_of_edd_are_read_from_one_file_each(tmp_path: Path) -> None:
    root = tmp_path / "EDD2020"
    for number, series in enumerate(("ACB", "INR", "ZZZ", "QQQ")):
        stem = f"EDD2020_{series}0001"
        masks = [f"masks/{stem}_{name}.tif" for name in ("BE", "polyp")]
        pair(root, f"originalImages/{stem}.jpg", *masks, seed=number)
    known = open_labelled(root)
    task = load_task(root, 16, train=2, test=2)
    assert task.classes == 3  # background and the two classes that occur
    want = known.mask(known.images[0], (HEIGHT, WIDTH))
    rows = (np.arange(16) + 0.5) * HEIGHT / 16
    stretched = want[rows.astype(int)]  # as wide as the model's input already
    row = task.ids.tolist().index(known.images[0].id)
    np.testing.assert_array_equal(
        task.masks[row], np.unique(stretched, return_inverse=True)[1].reshape(16, 16)
    )
    assert not sides(task)[0] & sides(task)[1]


def test_plain_folders_are_read_as_ever(tmp_path: Path) -> None:
    for name in ("Kvasir-SEG", "mine"):
        for number in range(6):
            stem = f"cju0qkwl35piu0993l0dewe{number:02d}"
            pair(tmp_path / name, f"images/{stem}.jpg", f"masks/{stem}.png", seed=number)
        assert (
            known_set(tmp_path / name) is None
        )  # nothing is published by which Kvasir-SEG could be split better
    first, second = (load_task(tmp_path / name, 16, train=3, test=3) for name in ("Kvasir-SEG", "mine"))
    assert first.ids.tolist() == second.ids.tolist()
    np.testing.assert_array_equal(first.masks, second.masks)


def test_a_set_of_ones_own_is_split_by_its_unit(tmp_path: Path) -> None:
    for patient in range(4):
        for number in range(3):
            pair(
                tmp_path / "our-polyps",
                f"stills/{patient}-{number}.png",
                f"outlines/{patient}-{number}.png",
                seed=10 * patient + number,
            )
    (tmp_path / "sets.toml").write_text(
        """
[our-polyps]
classes = ["polyp"]
hints = ["our-polyps"]
pattern = '/(?P<patient>[0-9]+)-'
unit = ["patient"]
[[our-polyps.layouts]]
title = "stills and outlines"
parts = [{ name = "stills", images = "stills/{id}.png", masks = ["outlines/{id}.png"] }]
"""
    )
    task = load_task(
        tmp_path / "our-polyps", 16, train=6, test=3, registry=load_registry(tmp_path / "sets.toml")
    )
    train, test = sides(task)
    assert not train & test
    assert train | test <= {f"patient:{number}" for number in range(4)}
    assert train
    assert test
    grouped = load_task(
        tmp_path / "our-polyps",
        16,
        train=6,
        test=3,
        registry=load_registry(tmp_path / "sets.toml"),
        group=r"(?P<study>\d)\.png",
    )
    assert {name for side in sides(grouped) for name in side} <= {
        "study:0",
        "study:1",
        "study:2",
    }  # what the user says wins


def test_what_is_no_labelled_set_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"is no labelled set; .*images/ and masks/.*optidel datasets"):
        load_task(tmp_path / "empty", 16)
    for number in range(3):
        pair(tmp_path / "ImageCLEFmed", f"train/images/ROCO_{number:05d}.jpg", seed=number)
    with pytest.raises(InputError, match="has no masks, so it is no segmentation task"):
        load_task(tmp_path / "ImageCLEFmed", 16)


def test_a_mask_of_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = clinicdb(tmp_path / "CVC-ClinicDB", range(1, 60, 6))
    save(root / "Ground Truth" / "1.tif", np.zeros((400, 400), np.uint8))
    from optidel.datasets import annotations

    decoded: list[Path] = []
    read = annotations.read_grey
    monkeypatch.setattr(annotations, "read_grey", lambda path, turn: decoded.append(path) or read(path, turn))
    task = load_task(root, 16, train=20, test=20)
    assert [(item.source, item.reason) for item in task.rejected] == [
        ("Original/1.tif", "the mask Ground Truth/1.tif is 400 x 400 px, the image 16 x 12 px")
    ]
    assert root / "Ground Truth" / "1.tif" not in decoded
