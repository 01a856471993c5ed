"""Without the extras, a corpus is still indexed, looked at, selected from and exported; the rest is a
sentence.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXTRAS = (
    "torch",
    "transformers",
    "skimage",
    "imagecodecs",
    "pyarrow",
    "av",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "nilearn",
)

BLOCKED = f"""
import sys
import importlib.abc

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from optidel.cli import main
main()
"""


def call(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line of an installation without extras."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def images(make_corpus: Callable[..., Path]) -> Path:
    return make_corpus(24)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("index", "corpus", "--out", "run"),
        ("audit", "corpus", "--out", "audit"),
        ("leaks", "corpus", "corpus"),
        ("select", "corpus", "--out", "run", "--methods", "random", "--budget", "0.25"),
        ("datasets",),
        ("methods",),
        ("theory", "--repeats", "2", "--size", "8", "--out", "theory"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_trains_nothing_needs_no_extra(images: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = call(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr


def test_a_choice_is_exported_without_extras(images: Path, tmp_path: Path) -> None:
    chosen = call(tmp_path, "select", "corpus", "--out", "run", "--methods", "random", "--budget", "0.25")
    assert chosen.returncode == 0, chosen.stderr
    for format in ("csv", "coco", "lightly-studio", "fiftyone", "monai"):
        written = call(tmp_path, "export", "run", "--format", format, "--out", format)
        assert written.returncode == 0, written.stderr
        assert any((tmp_path / format).iterdir())


def test_what_trains_names_the_extra(images: Path, tmp_path: Path) -> None:
    refused = call(tmp_path, "embed", "corpus", "--out", "run")
    assert refused.returncode == 2
    assert "pip install 'optidel[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr
