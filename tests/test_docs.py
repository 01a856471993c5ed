"""Every Python snippet of the README and the documentation runs; every command line in them exists."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import optidel
from optidel.benchmark import make_bench
from optidel.cli import app
from optidel.errors import BudgetError
from optidel.recipe import make_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
REAL_DATA = "<!-- needs real data -->"
"""The line above a fence whose snippet needs images, weights or a finished run of the reader's own."""


def fences(page: Path, language: str) -> list[tuple[str, str]]:
    """Every fenced block of a language: the line above it, and its text."""
    return re.findall(
        rf"^([^\n]*)\n```{language}\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL
    )


def pages_with(language: str) -> list[object]:
    return [
        pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in PAGES if fences(page, language)
    ]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reader stands: a folder IMAGES with two images and a file that is none."""
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "IMAGES"
    images.mkdir()
    for name in "ab":
        Image.fromarray(np.random.default_rng(ord(name)).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(
            images / f"{name}.png"
        )
    (images / "notes.txt").write_text("no image")


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", pages_with("python"))
def test_snippets_run_in_the_order_of_the_page(page: Path) -> None:
    namespace: dict[str, object] = {}
    for above, code in fences(page, "python"):
        program = compile(code, page.name, "exec")  # also where it cannot run, it must be Python
        if above != REAL_DATA:
            exec(program, namespace)


@pytest.mark.parametrize("page", pages_with("bash"))
def test_command_lines_name_commands_and_options_that_exist(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for _, text in fences(page, "bash"):
        for line in re.findall(r"^optidel (.*)$", text.replace("\\\n", " "), flags=re.MULTILINE):
            name, *words = line.split()
            assert name in commands, line
            command = getattr(commands[name], "commands", {}).get(
                words[0] if words else "", commands[name]
            )  # ``datasets check``
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


def test_every_command_is_on_its_page() -> None:
    listed = re.findall(r"^\| `optidel (\w+)", (ROOT / "docs" / "cli.md").read_text(), flags=re.MULTILINE)
    assert set(listed) == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_the_recipe_on_the_page_lists_every_key_with_its_default() -> None:
    [(_, text)] = fences(ROOT / "docs" / "cli.md", "toml")
    shown = make_recipe(tomllib.loads(text)).model_dump()
    assert shown == make_recipe({"images": "IMAGES", "labelled": "DIR", "out": "RUN"}).model_dump()
    keys = {line.split("=")[0].strip(" #") for line in text.splitlines() if "=" in line}
    sections = {name: value for name, value in shown.items() if isinstance(value, dict)}
    assert keys == (set(shown) - set(sections)) | {key for section in sections.values() for key in section}


@pytest.mark.parametrize("page", pages_with("toml"))
def test_recipes_are_valid(page: Path) -> None:
    for _, text in fences(page, "toml"):
        values = tomllib.loads(text)
        (make_bench if "budgets" in values else make_recipe)(values)


def test_notebooks_are_those_of_their_pages(load_script) -> None:  # type: ignore[no-untyped-def]
    script = load_script("scripts/notebooks.py")
    pages = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    assert len(pages) == 3
    assert script.main(check=True) == 0
    for page in pages:
        cells = json.loads(page.with_suffix(".ipynb").read_text())["cells"]
        code = ["".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code"]
        # The code that the test above runs, fence by fence.
        assert code == [text for _, text in fences(page, "python")]


def test_every_error_sentence_of_the_source_is_on_its_page(load_script) -> None:  # type: ignore[no-untyped-def]
    script = load_script("scripts/error_index.py")
    assert script.main(check=True) == 0
    page = (ROOT / "docs" / "errors.md").read_text()
    # A sentence that a user meets is found by the words between its values.
    with pytest.raises(BudgetError) as caught:
        optidel.select(np.eye(3), budget=1.5)
    start, middle = "budget must be in (0, 1], got ", "; pass 0.05 for 5 %"
    assert str(caught.value) == f"{start}1.5{middle}"
    assert script.escaped(start).strip() in page
    assert list(script.raised("raise InputError(f'no {a} in {b}; pass one')", {"InputError"})) == [
        ("InputError", "no … in …; pass one")
    ]
    assert not list(script.raised("raise InputError(text)", {"InputError"}))
    assert not list(script.raised("raise ValueError('of the house')", {"InputError"}))
