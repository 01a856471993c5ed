"""``optidel datasets`` as people and scripts call it."""

import json
from pathlib import Path

import pytest
from command import call
from fakes import FAKES, write

from optidel.datasets import DATASETS


def test_the_list_and_one_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "datasets") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in DATASETS)
    assert "not verified" in text
    assert call(monkeypatch, "datasets", "--name", "polypgen") == 0
    text = capsys.readouterr().out
    assert "data_{centre}/images_{centre}/{id}.{ending}" in text
    assert "https://www.synapse.org" in text
    assert call(monkeypatch, "datasets", "--json") == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(DATASETS)
    assert listed["kvasir-sessile"]["contained_in"] == ["kvasir-seg"]
    assert listed["cvc-clinicdb"]["split"] == "by sequence"


def test_check_exits_0_where_whole_and_2_with_reasons_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(
        tmp_path / "CVC-300", [f"{kind}/{i}.png" for i in range(1, 61) for kind in ("images", "masks")]
    )
    assert call(monkeypatch, "datasets", "check", folder) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "whole"
    (folder / "masks" / "9.png").unlink()
    assert call(monkeypatch, "datasets", "check", folder, "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["whole"]) == ("cvc-300", False)
    assert found["problems"] == [{"kind": "pair", "message": "1 image without a mask: images/9.png"}]
    assert call(monkeypatch, "datasets", "check", folder) == 2
    assert "1 image without a mask: images/9.png" in capsys.readouterr().out
    assert call(monkeypatch, "datasets", "check", folder, "--name", "cvc300") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean 'cvc-300'" in captured.err


def test_check_against_another_folder_tells_what_both_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seg = write(tmp_path / "Kvasir-SEG", FAKES["kvasir-seg"][1])
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    stolen = sorted((seg / "images").iterdir())[0]
    (corpus / "anything.jpg").write_bytes(stolen.read_bytes())
    assert call(monkeypatch, "datasets", "check", seg, "--against", corpus, "--json") == 2
    (shared,) = json.loads(capsys.readouterr().out)["shared"][str(corpus)]
    assert (shared["first"], shared["second"], shared["how"]) == (
        f"images/{stolen.name}",
        "anything.jpg",
        "pixels",
    )
    assert call(monkeypatch, "datasets", "check", seg, "--against", corpus) == 2
    assert "1 by pixels" in capsys.readouterr().out
