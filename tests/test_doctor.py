"""What the doctor says of a machine, with everything installed and with nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from optidel import doctor
from optidel.cli import app
from optidel.doctor import EXTRAS, examine


def by_name(folder: Path) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in examine(folder)}


def test_everything_has_its_line_and_json_the_same(tmp_path: Path) -> None:
    findings = by_name(tmp_path)
    extras = {f"[{name}]" for name in EXTRAS}
    assert findings.keys() >= {"optidel", "system", "memory", "disk", "device", "SAM", "model hub"} | extras
    result = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0
    assert [row["name"] for row in json.loads(result.stdout)] == list(findings)
    text = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path)]).stdout
    assert "[train]" in text


def test_a_missing_package_names_what_it_is_for_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "av" else "1")
    finding = by_name(tmp_path)["[video]"]
    assert finding.state == "av missing: needed for videos"
    assert finding.remedy == "pip install 'optidel[video]'"
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert by_name(tmp_path)["device"].remedy == "pip install 'optidel[train]'"


def test_a_full_disk_and_a_folder_to_be_made_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage: Any = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    finding = by_name(tmp_path / "to" / "be" / "made")["disk"]
    assert finding.state == f"1 GB free at {tmp_path}"
    assert "--out" in finding.remedy


def test_weights_that_are_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("encoder.onnx", "sam.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "models--facebook--vit-mae-base").mkdir()
    monkeypatch.setenv("OPTIDEL_SAM", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    findings = by_name(tmp_path)
    assert findings["SAM"].state == f"weights in {tmp_path}"
    assert findings["model hub"].state.startswith("facebook/vit-mae-base in the cache")


def test_the_extras_are_those_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    for name, (packages, _) in EXTRAS.items():
        names = {requirement.partition(">")[0] for requirement in declared[name]}
        assert names == set(packages), name
