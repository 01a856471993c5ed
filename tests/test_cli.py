"""The commands as people and scripts call them: output, JSON, exit codes, and no traceback for a user's
mistake.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from command import call

from optidel import cli

Make = Callable[..., Path]


CONFIG = """
[encoder]
steps = 2
[patches]
backend = "regions"
candidates = 0.75
[pretrain]
steps = 2
batch = 4
[evaluate]
steps = 2
batch = 4
train = 8
test = 8
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(CONFIG)
    return tmp_path / "recipe.toml"


def test_help_is_fast_and_has_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    for forced in (
        "FORCE_COLOR",
        "GITHUB_ACTIONS",
        "PY_COLORS",
    ):  # typer would colour the page, and cut the text with escape codes
        monkeypatch.delenv(forced, raising=False)
    code = """
import sys
import optidel.cli
sys.argv = ["optidel", "--help"]
try:
    optidel.cli.main()
except SystemExit:
    print("torch" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"
    for command in ("index", "run", "select"):
        text = subprocess.run(
            [sys.executable, "-m", "optidel", command, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert f"Example: optidel {command}" in text


def test_version_and_methods(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("optidel 0.")
    assert call(monkeypatch, "methods", "--json") == 0
    assert {"random", "meddel", "optidel"} <= {
        method["name"] for method in json.loads(capsys.readouterr().out)
    }
    assert call(monkeypatch, "methods") == 0
    assert "2408.07107" in capsys.readouterr().out


def test_steps_one_by_one_then_the_run(
    nano: object,
    make_corpus: Make,
    labelled: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = make_corpus(), tmp_path / "run"
    (folder / "broken.png").write_bytes(b"no")
    common = ("--out", out, "--config", config)
    assert call(monkeypatch, "index", folder, *common, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 24
    assert found["rejected"][0]["source"] == "broken.png"
    assert call(monkeypatch, "index", folder, *common) == 0
    assert "24 frames, 0 of them worthless; 1 file quarantined" in capsys.readouterr().out
    budget = ("--budget", "0.125")
    for command, options in (("embed", ()), ("patches", ()), ("compose", budget)):
        assert call(monkeypatch, command, folder, *common, *options, "--json") == 0
        (artifact,) = json.loads(capsys.readouterr().out)
        assert artifact["step"] == command
        assert Path(artifact["path"]).is_dir()
    methods = ("--methods", "random, optidel", *budget)
    for command, options, count in (
        ("select", (), 2),
        ("pretrain", (), 2),
        ("evaluate", ("--labelled", labelled), 6),
    ):
        assert call(monkeypatch, command, folder, *common, *methods, *options) == 0
        assert len(capsys.readouterr().out.split()) == count
    pretrained = sorted(out.glob("pretrain-*"))
    assert call(monkeypatch, "run", folder, *common, *methods, "--labelled", labelled, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in result["table"]} == {"scratch", "random", "optidel"}
    assert sorted(out.glob("pretrain-*")) == pretrained, "the steps made before were reused"
    assert call(monkeypatch, "run", folder, *common, *methods, "--labelled", labelled) == 0
    assert "NormDEL" in capsys.readouterr().out
    Path(result["report"]).unlink()
    assert call(monkeypatch, "report", out, "--json") == 0
    assert Path(json.loads(capsys.readouterr().out)["report"]).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "{tmp}/gone", "--labelled", "{tmp}/gone", "--out", "{tmp}/r"], "no folder or file at"),
        (
            ["run", "{tmp}", "--labelled", "{tmp}", "--out", "{tmp}/r", "--budget", "1.5"],
            "budget must be in (0, 1], got 1.5",
        ),
        (
            ["run", "{tmp}", "--labelled", "{tmp}", "--out", "{tmp}/r", "--methods", "medel"],
            "did you mean 'meddel'",
        ),
        (
            ["run", "{tmp}", "--labelled", "{tmp}", "--out", "{tmp}/r", "--seeds", "a"],
            "seeds must be whole numbers",
        ),
        (["index", "{tmp}", "--out", "{tmp}/taken"], "holds no run of OptiDEL"),
        (["report", "{tmp}/gone"], "gone"),
        (["run", "{tmp}", "--out", "{tmp}/r", "--config", "{tmp}/gone.toml"], "cannot read the recipe"),
        (["run"], "images: is missing"),
        (["index", "{tmp}", "--out", "{tmp}/taken/thesis.txt"], "is a file; pass a folder"),
        (["audit", "{tmp}/gone"], "no folder or file at"),
        (["audit", "{tmp}/empty", "--out", "{tmp}/r"], "is empty; pass the folder that holds the images"),
        (["leaks", "{tmp}/gone", "{tmp}/taken"], "no folder or file at"),
        (["leaks", "{tmp}/taken", "{tmp}/taken", "--rate", "3"], "rate must be in (0, 0.5)"),
        (
            ["leaks", "{tmp}/taken", "{tmp}/taken", "--out", "{tmp}/taken/thesis.txt"],
            "a file stands in the way",
        ),
        (["export", "{tmp}/taken"], "holds no run of OptiDEL"),
        (["export", "{tmp}/gone", "--format", "foldr"], "did you mean 'folder'"),
        (["bench", "{tmp}/gone.toml", "--out", "{tmp}/r"], "cannot read the bench file"),
        (["bench", "report", "{tmp}/gone"], "holds no bench"),
        (["advise", "{tmp}/gone"], "holds no run of OptiDEL"),
        (["advise", "{tmp}/gone", "--tolerance", "-1"], "must be a loss of mIoU in (0, 1)"),
        (["vinfo", "{tmp}/gone"], "holds no run of OptiDEL"),
        (["datasets", "--name", "kvasirseg"], "did you mean 'kvasir-seg'"),
        (["datasets", "check", "{tmp}/gone"], "no folder at"),
        (["datasets", "--registry", "{tmp}/gone.toml"], "cannot read the registry"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *(argument.format(tmp=tmp_path) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not (tmp_path / "gone").exists(), "what is only read is not made"


def test_theory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert (
        call(
            monkeypatch,
            "theory",
            "--experiment",
            "shift",
            "--size",
            6,
            "--repeats",
            2,
            "--out",
            tmp_path / "t",
            "--json",
        )
        == 0
    )
    paths = json.loads(capsys.readouterr().out)
    assert Path(paths["table"]).read_text().startswith("experiment,alpha_total,keep")
    assert Path(paths["figure"]).read_text().count("<svg") == 1
    assert call(monkeypatch, "theory", "--experiment", "shfit") == 2
    assert "'shift'" in capsys.readouterr().err


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupt)
    assert call(monkeypatch) == 130
    assert "it continues" in capsys.readouterr().err


def test_any_key_of_the_recipe_is_set_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
    make_corpus: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = make_corpus(12)
    common = ["select", images, "--out", tmp_path / "run", "--methods", "random"]
    assert call(monkeypatch, *common, "--set", "budget=0.5", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    [folder] = (tmp_path / "run").glob("select-*")
    assert pl.read_parquet(folder / "selection.parquet")["kept"].sum() == 6

    assert call(monkeypatch, *common, "--set", "method.meddel.epsilom=0.9") == 2
    assert "epsilom" in capsys.readouterr().err
    assert call(monkeypatch, *common, "--set", "pretrain.step=3") == 2
    assert "steps" in capsys.readouterr().err


def test_every_command_of_a_run_says_what_comes_next_and_json_stays_one_value(
    nano: object,
    make_corpus: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, out = make_corpus(24), tmp_path / "out"
    for command in ("index", "audit", "embed", "select"):
        words = [command, images, "--out", out, "--set", "encoder.steps=2"]
        assert call(monkeypatch, *words) == 0
        printed = capsys.readouterr()
        assert "next: `optidel " in printed.err
        assert "next:" not in printed.out
        assert call(monkeypatch, *words, "--json") == 0
        printed = capsys.readouterr()
        json.loads(printed.out)
        assert "next:" not in printed.err
