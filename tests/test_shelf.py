"""What a release is made of says one thing everywhere, and the wheel holds all that the package reads."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = BUILD["project"]
RECIPE = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == citation["version"] == RECIPE["context"]["version"]
    assert PROJECT["license"] == citation["license"] == RECIPE["about"]["license"]


def test_conda_requires_what_pip_does() -> None:
    run = RECIPE["requirements"]["run"]
    wanted = sorted(
        re.sub("([<>=])", r" \1", requirement, count=1) for requirement in PROJECT["dependencies"]
    )
    assert sorted(requirement for requirement in run if not requirement.startswith("python ")) == wanted
    assert f">={RECIPE['context']['python_min']}" == PROJECT["requires-python"]
    [entry] = RECIPE["build"]["python"]["entry_points"]
    name, _, target = entry.partition(" = ")
    assert PROJECT["scripts"] == {name: target}
    assert RECIPE["about"]["summary"] == PROJECT["description"]
    assert RECIPE["about"]["license_file"] == PROJECT["license-files"]


def test_the_documentation_has_versions() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    assert yaml.safe_load(text)["extra"]["version"]["provider"] == "mike"


def test_conda_builds_with_what_pip_does() -> None:
    needed = [
        re.sub("([<>=])", r" \1", requirement, count=1) for requirement in BUILD["build-system"]["requires"]
    ]
    assert set(needed) <= set(RECIPE["requirements"]["host"])


def test_the_wheel_holds_what_the_package_reads(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    pytest.importorskip("hatch_fancy_pypi_readme", reason="hatch-fancy-pypi-readme is not installed")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    [metadata] = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA")]
    # A link into the checkout leads nowhere on the page of a package index.
    description = zipfile.ZipFile(wheel).read(metadata).decode()
    assert re.findall(r"\]\((?!https?:)[^)]*\)", description) == []
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("optidel/")}
    files = (path for path in (source / "src").rglob("*") if path.is_file())
    assert held == {path.relative_to(source / "src").as_posix() for path in files}
