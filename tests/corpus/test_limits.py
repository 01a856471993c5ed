"""What one file or one word of a person may cost."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

import optidel
from optidel.cli import app
from optidel.corpus.options import IndexOptions
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


def test_an_interrupted_command_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("optidel.report.write_report", interrupted)
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 130
    assert done.stderr == "optidel: interrupted; run the same command again, it continues\n"
