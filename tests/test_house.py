"""The habits of the house that no other tool checks."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import optidel

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MACHINE_PATHS = re.compile(
    r"(?<![\w.\-/])/(?:" + "|".join(["work", "tmp", "root", "opt/wheels", "opt/pypi"]) + r")(?![\w.\-])"
)


def tracked() -> list[Path]:
    """Files that are, or are about to be, in the repository."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("this is no git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_readme_has_two_set_up_commands_and_no_other() -> None:
    text = (ROOT / "README.md").read_text()
    section = re.search(r"^## Set up\n(.*?)^## ", text, flags=re.MULTILINE | re.DOTALL)
    assert section is not None
    assert re.findall(r"```bash\n(.*?)```", section[1], flags=re.DOTALL) == ["make demo\nmake test\n"]
    assert "pip install" not in text


def test_every_make_target_exists_and_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    explained = dict(re.findall(r"^([a-z]+):[^=\n]*## (.+)$", text, flags=re.MULTILINE))
    assert set(explained) == {"help", "setup", "weights", "demo", "test", "lint", "types", "docs", "bench"}
    assert ".DEFAULT_GOAL := help" in text


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_an_old_python_is_refused_with_the_remedy(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    done = subprocess.run(
        ["make", "setup", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_version_is_that_of_the_project() -> None:
    assert optidel.__version__ == PROJECT["project"]["version"] == version("optidel")


def test_every_dependency_is_pinned_and_torch_for_any_build() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {
        name.lower().replace("_", "-"): number for name, _, number in (line.partition("==") for line in lines)
    }
    assert all(pins.values())
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(requirement for extra in extras for requirement in extra),
    ]
    assert {re.split(r"[<>=~!\[; ]", requirement)[0].lower() for requirement in wanted} <= set(pins)
    assert pins["torch"] == "2.13.0"  # without a local suffix, so that builds with and without CUDA meet it
    assert not {"torchvision", "timm"} & set(pins)


def test_imports_keep_to_the_floors() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed beside this Python")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_path_of_a_machine_is_in_the_repository() -> None:
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            text = content.decode(errors="replace")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATHS.finditer(text)]
    assert found == []


def test_the_licence_is_whole_and_ci_can_be_run() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


def test_the_lock_file_has_the_pins_and_a_hash_of_each() -> None:
    """Torch is in the pins alone: which of its builds fits is up to the machine."""
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    pattern = re.compile(r"^([a-z0-9.-]+==\S+) --hash=sha256:[0-9a-f]{64}$", re.MULTILINE)
    locked = set(pattern.findall((ROOT / "requirements.lock").read_text()))
    without_torch = {pin.lower().replace("_", "-") for pin in pins if not pin.startswith("torch==")}
    assert locked == without_torch
