"""Every example in a docstring runs, and every public name has one."""

import ast
import doctest
import inspect
import pkgutil
import re
import textwrap
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

import optidel

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
PAIRS = 12
FENCE = re.compile(r"^[ ]*```python\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)


def modules_with_examples() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(optidel.__path__, "optidel.")]
    files = {name: Path(optidel.__path__[0]).joinpath(*name.split(".")[1:]) for name in names}
    return [
        name
        for name, path in files.items()
        if name != "optidel.__main__"
        for file in [path / "__init__.py" if path.is_dir() else path.with_suffix(".py")]
        if any(">>> " in text or "```python" in text for text in docstrings(file))
    ]


def docstrings(file: Path) -> list[str]:
    """Those of a module, its classes and functions; a template in the code may hold a fence of its own."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_text())
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]


def fenced_blocks(module: object) -> list[str]:
    """Programs between fences in the docstrings of a module, its functions and classes."""
    finder = doctest.DocTestFinder(exclude_empty=False)
    docstrings = [test.docstring for test in finder.find(module)]
    blocks = [block for text in docstrings for block in FENCE.findall(inspect.cleandoc(text or ""))]
    return [textwrap.dedent(block) for block in blocks]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reader stands: a folder IMAGES with pictures, sets DIR of masks and SKIN of classes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("IMAGES", "DIR/images", "DIR/masks", "SKIN/benign", "SKIN/malignant"):
        Path(folder).mkdir(parents=True)
    for number in range(PAIRS):
        picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        mask = np.zeros((24, 32), np.uint8)
        mask[4 : 8 + number, 6:20] = 255
        PillowImage.fromarray(picture).save(f"IMAGES/{number:02d}.png")
        PillowImage.fromarray(picture[::-1]).save(f"DIR/images/{number:02d}.png")
        PillowImage.fromarray(mask).save(f"DIR/masks/{number:02d}.png")
        kind = ("benign", "malignant")[number % 2]
        PillowImage.fromarray(picture[::-1]).save(f"SKIN/{kind}/{number:02d}.png")


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_give_what_they_print(name: str) -> None:
    module = import_module(name)
    outcome = doctest.testmod(module, optionflags=OPTIONS)
    blocks = fenced_blocks(module)
    assert outcome.attempted + len(blocks) > 0
    assert outcome.failed == 0
    for block in blocks:
        exec(compile(block, name, "exec"), {})


@pytest.mark.parametrize("name", [name for name in optidel.__all__ if not name.startswith("_")])
def test_every_public_name_shows_its_use(name: str) -> None:
    value = getattr(optidel, name)
    if isinstance(value, dict):
        return  # a table; its function shows it in use
    documentation = inspect.getdoc(value) or ""
    assert ">>> " in documentation or "```" in documentation, f"optidel.{name} has no example"
