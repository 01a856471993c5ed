"""The script that lays out the images of the evidence."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def script(load_script: Callable[[str], Any]) -> Any:
    return load_script("scripts/evidence_data.py")


def a_set(root: Path, count: int) -> Path:
    for kind, ending in (("images", ".jpg"), ("masks", ".png")):
        (root / kind).mkdir(parents=True)
        for number in range(count):
            (root / kind / f"{root.name}{number}{ending}").write_bytes(
                f"{kind} {root.name} {number}".encode()
            )
    return root


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*") if path.is_file()}


def test_no_labelled_image_is_in_the_corpus_and_the_two_test_splits_are_apart(
    script: Any, tmp_path: Path
) -> None:
    kvasir, polypgen, out = a_set(tmp_path / "kvasir", 520), a_set(tmp_path / "polypgen", 7), tmp_path / "out"
    made = script.lay_out(kvasir, polypgen, out)
    assert made == {"corpus": 27, "train": 200, "tuning": 150, "test": 150}
    tuning, test = names(out / "polyps-tuning" / "test"), names(out / "polyps-test" / "test")
    train = names(out / "polyps-tuning" / "train")
    assert train == names(out / "polyps-test" / "train")
    parts = [names(out / "corpus"), tuning, test, train]
    assert [len(part) for part in parts] == [27, 150, 150, 200]
    assert len(set().union(*parts)) == 527
    assert names(out / "polyps-test" / "test" / "images") == names(out / "polyps-test" / "test" / "masks")
    some = next((out / "polyps-test" / "test" / "masks").iterdir())
    assert some.read_bytes() == (kvasir / "masks" / some.name).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    script.lay_out(kvasir, polypgen, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_wrong_folder_is_refused_in_a_sentence(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = a_set(tmp_path / "few", 3)
    for kvasir, message in (
        (few, "Kvasir-SEG has 1,000 images, 3 with a mask were found"),
        (tmp_path / "none", "there is no folder"),
    ):
        monkeypatch.setattr(sys, "argv", ["evidence_data.py", str(kvasir), str(few), str(tmp_path / "out")])
        with pytest.raises(SystemExit, match=message):
            script.main()
    assert not (tmp_path / "out").exists()


def a_mixed_folder(root: Path) -> Path:
    """The development images in small."""
    files = [
        "mixed/us-lung-video/Clip_1/Clip_1_0000.jpg",
        "mixed/us-lung-video/Clip_1/Clip_1_0001.jpg",
        "mixed/xr-chest-a/pneumonia-person7_virus_1.jpg",
        "mixed/xr-chest-a/pneumonia-person7_bacteria_2.jpg",
        "mixed/skin-dermoscopy/ISIC_0024306.jpg",
        "polypgen-dev/images/176OLCV1_100H0001.jpg",
        "polypgen-dev/images/C3_EndoCV2021_00001.jpg",
        "lung-cxr/images/CHNCXR_0001_0.jpg",
        "lung-cxr/masks/CHNCXR_0001_0.png",
        "kvasir-seg/images/a.jpg",
        "tasks/heart-acdc/images/patient001_frame01_slice_0.jpg",
    ]
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    rows = [f"us-lung-video/Clip_1/Clip_1_000{number}.jpg,clip-Clip_1" for number in range(2)]
    (root / "mixed-groups.csv").write_text("\n".join(["path,group", *rows]) + "\n")
    return root


def test_the_mixed_corpus_is_links_with_the_groups_that_lists_and_names_tell(
    script: Any, tmp_path: Path
) -> None:
    data, out = a_mixed_folder(tmp_path / "data"), tmp_path / "out"
    counts = script.lay_out_mixed(data, out)
    assert counts == {"corpus": 7, "in groups": 5, "groups": 3, "labelled sets": 3}
    lines = (out / "groups.csv").read_text().splitlines()
    assert dict(line.split(",") for line in lines[1:]) == {
        "polypgen-dev/176OLCV1_100H0001.jpg": "polypgen-dev-176OLCV1",
        "polypgen-dev/C3_EndoCV2021_00001.jpg": "",
        "skin-dermoscopy/ISIC_0024306.jpg": "",
        "us-lung-video/Clip_1/Clip_1_0000.jpg": "clip-Clip_1",
        "us-lung-video/Clip_1/Clip_1_0001.jpg": "clip-Clip_1",
        "xr-chest-a/pneumonia-person7_bacteria_2.jpg": "xr-chest-a-person7",
        "xr-chest-a/pneumonia-person7_virus_1.jpg": "xr-chest-a-person7",
    }
    for line in lines[1:]:
        assert (out / "corpus" / line.split(",")[0]).read_text().endswith(Path(line.split(",")[0]).name)
    mask = out / "tasks" / "lung-cxr" / "masks" / "CHNCXR_0001_0.png"
    assert mask.is_symlink()
    assert mask.read_text() == "lung-cxr/masks/CHNCXR_0001_0.png"
    assert script.lay_out_mixed(data, out) == counts  # again, and nothing is in the way


def test_a_part_of_the_mixed_data_that_is_missing_is_named(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = a_mixed_folder(tmp_path / "data")
    (data / "mixed-groups.csv").unlink()
    monkeypatch.setattr(sys, "argv", ["evidence_data.py", "--mixed", str(data), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"there is no .*mixed-groups\.csv"):
        script.main()
