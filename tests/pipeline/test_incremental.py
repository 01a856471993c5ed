"""A corpus that grows, shrinks and changes: only what is new is embedded, to the same bytes as if all were,
and every choice says so.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import recipe
from pictures import fill

from optidel.features import embedding
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe
from optidel.report import write_report
from optidel.store import MANIFEST

Make = Callable[..., Path]
ARRAYS = ("vectors", "error", "null_error", "error_map", "mean_image")


def pipeline(images: Path, out: Path, **changes: Any) -> Pipeline:
    return Pipeline(make_recipe(recipe(images, images, out, **changes)))


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass of the autoencoder got."""
    passes: list[int] = []
    score = embedding.score

    def counted(model: Any, x: Any, noise: Any) -> Any:
        passes.append(len(x))
        return score(model, x, noise)

    monkeypatch.setattr(embedding, "score", counted)
    monkeypatch.setattr(embedding, "BLOCK", 8)
    return passes


def test_new_frames_alone_are_embedded_to_the_same_bytes(
    nano: object, make_corpus: Make, tmp_path: Path, scored: list[int]
) -> None:
    folder = make_corpus(20)
    before = pipeline(folder, tmp_path / "run").embed
    assert scored == [8, 8, 8]
    assert before.json("summary.json")["copied"] == 0
    fill(folder / "new", 5, seed=7)
    (folder / "image-003.png").unlink()
    (folder / "image-004.png").write_bytes((folder / "new" / "image-000.png").read_bytes())
    grown = pipeline(folder, tmp_path / "run")
    scored.clear()
    after = grown.embed
    assert scored == [8]  # five new files, one of them twice, in one block of full size
    summary = after.json("summary.json")
    assert {name: summary[name] for name in ("copied", "computed", "copied_from", "warmup_is_own")} == {
        "copied": 18,
        "computed": 6,
        "copied_from": before.path.name,
        "warmup_is_own": False,
    }
    assert grown.mae.artifact is not None
    assert len(list((tmp_path / "run").glob("warmup-*"))) == 1
    weights = grown.mae.folder
    at_once = pipeline(folder, tmp_path / "other", encoder={"weights": weights}).embed
    for name in ARRAYS:
        np.testing.assert_array_equal(after.array(f"{name}.npy"), at_once.array(f"{name}.npy"), err_msg=name)


def test_a_choice_says_what_changed(
    nano: object, make_corpus: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_corpus(20)
    first = pipeline(folder, tmp_path / "run")
    chosen = set(first.select("meddel", 0).table("selection.parquet").filter("kept")["id"])
    assert "since" not in first.select("meddel", 0).json("summary.json")
    fill(folder / "new", 4, seed=7)
    (folder / "image-003.png").unlink()
    (folder / "image-004.png").write_bytes((folder / "image-005.png").read_bytes())
    second = pipeline(folder, tmp_path / "run")
    again = second.select("meddel", 0)
    stay = chosen & set(again.table("selection.parquet").filter("kept")["id"])
    expected = {"added": 4, "removed": 1, "changed": 1, "kept_earlier": len(chosen), "still_kept": len(stay)}
    assert again.json("summary.json")["since"] == expected | {"earlier": first.select("meddel", 0).path.name}
    assert "4 frames added, 1 removed, 1 changed" in capfd.readouterr().err
    page = write_report(tmp_path / "run").read_text()
    assert f"since {first.select('meddel', 0).path.name}: 4 frames added, 1 removed, 1 changed" in page
    assert "warmed up on an earlier state of the corpus" in page
    patches = second.select("optidel-paper", 0).json("summary.json")
    assert "since" not in patches  # the first time chose no key patches
    assert patches["index"] == second.index.content


@pytest.mark.parametrize(("new", "reuse", "warmups"), [(4, True, 1), (4, False, 2), (40, True, 2)])
def test_warm_up_is_kept_for_a_corpus_it_mostly_knows(
    new: int, reuse: bool, warmups: int, nano: object, make_corpus: Make, tmp_path: Path
) -> None:
    folder = make_corpus(20)
    first = pipeline(folder, tmp_path / "run").mae
    fill(folder / "new", new, seed=7)
    second = pipeline(folder, tmp_path / "run", encoder={"steps": 4, "reuse": reuse}).mae
    assert first.artifact is not None
    assert second.artifact is not None
    assert (first.artifact.path == second.artifact.path) == (warmups == 1)
    assert len(list((tmp_path / "run").glob("warmup-*"))) == warmups
    # The corpus' own warm-up, once there, is preferred; other options never share one.
    assert pipeline(folder, tmp_path / "run").mae == second
    other = pipeline(folder, tmp_path / "run", encoder={"steps": 5}).mae
    assert other.artifact is not None
    assert other.artifact.json(MANIFEST)["config"]["options"]["steps"] == 5


def test_killed_while_copying_it_starts_the_rows_that_another_state_left_open(
    nano: object, make_corpus: Make, tmp_path: Path, scored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_corpus(20)
    assert pipeline(folder, tmp_path / "run").embed.json("summary.json")["computed"] == 20
    fill(folder / "new", 12, seed=7)

    score, calls = embedding.score, 0

    def once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(embedding, "score", once)
    with pytest.raises(KeyboardInterrupt):
        pipeline(folder, tmp_path / "run", work={"shard": 8}).embed  # noqa: B018
    monkeypatch.setattr(embedding, "score", score)
    scored.clear()
    resumed = pipeline(folder, tmp_path / "run", work={"shard": 8})
    after = resumed.embed
    assert scored == [8]
    assert resumed.mae.artifact is not None
    at_once = pipeline(folder, tmp_path / "other", encoder={"weights": resumed.mae.folder}).embed
    for name in ARRAYS:
        np.testing.assert_array_equal(after.array(f"{name}.npy"), at_once.array(f"{name}.npy"), err_msg=name)
