"""The audit counts what was planted, marks without deleting, and its page fetches nothing."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from optidel.cli import app, main
from optidel.errors import RecipeError
from optidel.pipeline.audit import audit
from optidel.recipe import make_recipe


@pytest.fixture
def planted(make_corpus: Callable[..., Path]) -> Path:
    """24 pictures, two copies of one, a near-copy of another, a white frame and a blank one."""
    folder = make_corpus(24)
    shutil.copy(folder / "image-000.png", folder / "x-copy.png")
    shutil.copy(folder / "image-000.png", folder / "y-copy.png")
    Image.open(folder / "image-003.png").save(folder / "z-near.jpg", quality=80)
    Image.fromarray(np.full((72, 96, 3), 128, np.uint8)).save(folder / "blank.png")
    return folder


def test_what_was_planted_is_counted_and_nothing_is_deleted(planted: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in planted.iterdir())
    found = audit(make_recipe({"images": str(planted), "out": str(tmp_path / "run")}), sample=4)
    assert (found.frames, found.redundant, found.groups, found.sampled) == (28, 3, 2, 4)
    assert {name: count for name, count in found.counts.items() if count} == {
        "constant": 1,
        "blank": 1,
        "exact copies": 2,
        "near-copies": 1,
    }
    table = pl.read_parquet(found.artifact / "marks.parquet")
    rows = {name: row for row, name in enumerate(table["id"])}
    assert table["exact"][rows["y-copy.png"]] == rows["image-000.png"]
    assert table["near"][rows["z-near.jpg"]] == rows["image-003.png"]
    assert table["marks"][rows["blank.png"]].to_list() == ["blank", "constant"]
    assert sorted(path.name for path in planted.iterdir()) == before


def test_page_stands_alone_and_shows_the_copies(planted: Path, tmp_path: Path) -> None:
    page = audit(
        make_recipe({"images": str(planted), "out": str(tmp_path / "run")}), sample=4
    ).page.read_text()
    assert "z-near.jpg" in page
    assert "3 of 28 frames (10.7 %)" in page
    assert "More than 97 % of the frame is black" in page
    assert not any(
        f'{kind}="{scheme}' in page for kind in ("src", "href") for scheme in ("http", "//", "file")
    )


def test_a_page_for_mailing_names_neither_files_nor_the_machine(planted: Path, tmp_path: Path) -> None:
    recipe = make_recipe({"images": str(planted), "out": str(tmp_path / "run")})
    plain = audit(recipe, sample=4).page.read_text()
    assert str(planted.parent) not in plain
    hidden = audit(recipe, sample=4, names="hashed").page.read_text()
    assert not [name for name in ("z-near", "y-copy", "image-0") if name in hidden]
    assert "3 of 28 frames (10.7 %)" in hidden


def test_command_takes_thresholds_and_prints_one_object(planted: Path, tmp_path: Path) -> None:
    arguments = [
        "audit",
        str(planted),
        "--out",
        str(tmp_path / "run"),
        "--entropy",
        "9",
        "--near",
        "0",
        "--sample",
        "2",
        "--json",
    ]
    told = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert told["counts"]["low-entropy"] == 27
    assert told["counts"]["near-copies"] == 0
    assert told["redundancy"] == pytest.approx(2 / 28)
    assert told["thresholds"]["entropy"] == 9
    assert Path(told["page"]).is_file()


@pytest.mark.parametrize(("folder", "told"), [("nowhere", "no folder or file at"), ("empty", "is empty")])
def test_command_refuses_missing_and_empty_folders(
    folder: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(
        sys, "argv", ["optidel", "audit", str(tmp_path / folder), "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_marks_of_worthless_frames_follow_the_options(planted: Path, tmp_path: Path) -> None:
    arguments = [
        "audit",
        str(planted),
        "--out",
        str(tmp_path / "run"),
        "--blank",
        "0",
        "--dark",
        "1",
        "--saturated",
        "1",
        "--sample",
        "2",
    ]
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told["counts"]["blank"] == 0
    assert "0 frames show nothing" in (tmp_path / "run" / "audit.html").read_text()


def test_a_negative_threshold_or_sample_is_refused(planted: Path, tmp_path: Path) -> None:
    recipe = make_recipe({"images": str(planted), "out": str(tmp_path / "run")})
    with pytest.raises(RecipeError, match="blurred must be 0 or more"):
        audit(recipe, {"blurred": -1.0})
    with pytest.raises(RecipeError, match="border is a fraction and must be at most 1, got 7"):
        audit(recipe, {"border": 7.0})
    with pytest.raises(RecipeError, match="sample must be 0 or more"):
        audit(recipe, sample=-1)
