"""What one file or one word of a person may cost."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

import optidel
from optidel.cli import app, main
from optidel.corpus.options import IndexOptions
from optidel.errors import RecipeError
from optidel.recipe import make_recipe


def test_an_animation_of_many_frames_of_nothing_is_refused_at_once(tmp_path: Path) -> None:
    PillowImage.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "one.gif")
    head = (tmp_path / "one.gif").read_bytes()
    head = head[: 13 + 3 * (2 << (head[10] & 7))]  # up to the end of the colour table, as GIF89a counts it
    frame = bytes.fromhex("21f904000100000000 2c00000000 10001000 00 02024c0100")
    (tmp_path / "many.gif").write_bytes(head + 21_000 * frame + b";")
    corpus = optidel.index(tmp_path)
    assert [frame.id for frame in corpus.frames] == ["one.gif"]
    assert "holds 21000 frames, more than the 20000" in corpus.rejected[0].reason


def test_a_decoding_process_gets_one_gibibyte_by_default() -> None:
    recipe = make_recipe({"images": "IMAGES", "out": "RUN"})
    assert recipe.corpus.limits.memory == IndexOptions().memory == 1.0
    assert IndexOptions().scan(bytes(32)).memory == 1 << 30


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": [1.5]}, "seeds"),
        ({"seeds": ["a"]}, "seeds"),
        ({"seeds": [10**29]}, "seeds"),
        ({"encoder": {"seed": -1}}, "encoder.seed"),
        ({"corpus": {"limits": {"seconds": math.inf}}}, "corpus.limits.seconds"),
        ({"corpus": {"limits": {"memory": math.nan}}}, "corpus.limits.memory"),
        ({"corpus": {"every": math.inf}}, "corpus.every"),
        ({"corpus": {"workers": 10**12}}, "corpus.workers"),
        ({"pretrain": {"batch": 10**12}}, "pretrain.batch"),
        ({"pretrain": {"steps": 10**30}}, "pretrain.steps"),
        ({"pretrain": {"lr": math.inf}}, "pretrain.lr"),
        ({"evaluate": {"batch": 10**12}}, "evaluate.batch"),
        ({"budget": math.nan}, "budget"),
    ],
)
def test_no_number_that_a_person_can_type_is_a_traceback(values: dict[str, Any], key: str) -> None:
    with pytest.raises(RecipeError, match=key):
        make_recipe({"images": "IMAGES", "out": "RUN"} | values)


@pytest.mark.parametrize("path", ["x" * 5000, "/proc/nothing/here"])
def test_a_path_that_the_system_refuses_is_one_sentence(
    tmp_path: Path,
    path: str,
    make_corpus: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (
        ["index", path, "--out", str(tmp_path / "RUN")],
        ["index", str(make_corpus(1)), "--out", path],
    ):
        monkeypatch.setattr(sys, "argv", ["optidel", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("option", ["--blank", "--text"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_threshold_that_is_no_number_is_one_sentence(
    make_corpus: Callable[..., Path], tmp_path: Path, option: str, value: str
) -> None:
    done = CliRunner().invoke(
        app, ["audit", str(make_corpus(1)), "--out", str(tmp_path / "RUN"), option, value]
    )
    assert isinstance(done.exception, RecipeError)


@pytest.mark.parametrize("command", ["index", "audit", "select", "patches", "compose", "pretrain", "embed"])
def test_a_command_without_images_says_what_is_missing(command: str) -> None:
    done = CliRunner().invoke(app, [command])
    assert isinstance(done.exception, RecipeError)
    assert "images: is missing" in str(done.exception)


def test_a_recipe_that_names_images_and_run_is_enough(
    make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    run = tmp_path / "RUN"
    (tmp_path / "r.toml").write_text(f'images = "{make_corpus(3)}"\nout = "{run}"\n')
    for command in ("index", "audit"):
        assert CliRunner().invoke(app, [command, "--config", str(tmp_path / "r.toml")]).exit_code == 0
    assert {path.name.partition("-")[0] for path in run.glob("[a-z]*-*")} >= {"index", "audit"}


def test_output_in_another_code_page_escapes_what_it_lacks(
    make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_corpus(1)
    (folder / "broken 😀.png").write_bytes(b"nothing")
    done = subprocess.run(
        [sys.executable, "-m", "optidel", "index", str(folder), "--out", str(tmp_path / "RUN")],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert b"broken \\U0001f600.png" in done.stdout


def test_an_interrupted_command_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("optidel.report.write_report", interrupted)
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 130
    assert done.stderr == "optidel: interrupted; run the same command again, it continues\n"
