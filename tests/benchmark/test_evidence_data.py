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
