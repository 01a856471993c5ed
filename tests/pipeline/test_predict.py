"""What a run measured can be kept and used on new images; the ridge protocol runs like the others."""

from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

from optidel.cli import app
from optidel.datasets.masks import single_image
from optidel.errors import InputError
from optidel.pipeline.predict import _readable, predict_masks
from optidel.pipeline.run import run
from optidel.runs.collect import read_run


def disc(seed: int, height: int = 72, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centre = rng.uniform(0.3, 0.7, 2) * (height, width)
    region = np.hypot(y - centre[0], x - centre[1]) < height / 4
    picture = np.where(region, 200, 40) + rng.integers(-20, 20, (height, width))
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), region


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(array).save(path)


def test_ct_is_shown_through_the_window_of_the_run(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(-900, 900, (24, 24, 1)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "one.nii.gz")
    shown = {}
    for window in (None, (40.0, 400.0)):
        [(_, shown[window])] = _readable(tmp_path, ["one.nii.gz"], [], window)
        np.testing.assert_array_equal(shown[window], single_image(tmp_path / "one.nii.gz", "", window))
    assert (shown[None] != shown[40.0, 400.0]).any()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("predict")
    for seed in range(12):
        picture, region = disc(seed)
        write(root / "corpus" / f"{seed}.png", picture[:, ::-1])
        write(root / "labelled" / "images" / f"{seed}.png", picture)
        write(root / "labelled" / "masks" / f"{seed}.png", region.astype(np.uint8) * 255)
    run(
        {
            "images": str(root / "corpus"),
            "labelled": str(root / "labelled"),
            "out": str(root / "run"),
            "methods": ["random", "full"],
            "budget": 0.5,
            "leaks": "off",
            "pretrain": {"steps": 2, "batch": 4},
            "evaluate": {
                "protocols": ["ridge", "probe", "fine-tune"],
                "steps": 30,
                "batch": 4,
                "train": 8,
                "test": 4,
                "keep": True,
                "layers": [1, -1],
            },
        }
    )
    return root


@pytest.mark.parametrize("protocol", ["ridge", "probe", "fine-tune"])
def test_kept_segmenters_repeat_what_was_measured(finished: Path, protocol: str, tmp_path: Path) -> None:
    opened = read_run(finished / "run")
    [trial] = [trial for trial in opened.trials if trial.method == "full"]
    scores = trial.evaluate[protocol].table("images.parquet")
    assert opened.task is not None
    items = opened.task.table("items.parquet").filter(pl.col("split") == "test")
    result = predict_masks(
        finished / "run", finished / "labelled" / "images", tmp_path, method="full", protocol=protocol
    )
    assert len(result.masks) == 12
    assert result.rejected == []
    for name in items["id"]:
        mask = np.asarray(PillowImage.open(tmp_path / f"{name}.png"))
        assert mask.shape == (72, 96)
        truth = np.asarray(PillowImage.open(finished / "labelled" / "masks" / f"{name}.png")) > 0
        overlap = ((mask > 0) & truth).sum() / ((mask > 0) | truth).sum()
        assert overlap == pytest.approx(scores.filter(pl.col("id") == name)["iou"][0], abs=1e-9)


def test_ridge_has_average_precision_and_no_seed(finished: Path) -> None:
    opened = read_run(finished / "run")
    [trial] = [trial for trial in opened.trials if trial.method == "full"]
    table = trial.evaluate["ridge"].table("images.parquet")
    assert table["ap"].is_between(0.5, 1).all()
    assert "ap" not in trial.evaluate["probe"].table("images.parquet").columns
    assert {score.protocol for score in opened.scores} == {"ridge", "probe", "fine-tune"}


def test_the_command_and_its_refusals(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"none of the files .* is a readable image; notes.txt"):
        predict_masks(finished / "run", tmp_path / "new", tmp_path / "out")
    write(tmp_path / "new" / "deep" / "a.png", disc(50, 40, 30)[0])
    done = CliRunner().invoke(
        app, ["predict", str(finished / "run"), str(tmp_path / "new"), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0
    assert "1 mask in" in done.output
    assert "not read: notes.txt" in done.output
    mask = np.asarray(PillowImage.open(tmp_path / "out" / "deep" / "a.png"))
    assert mask.shape == (40, 30)
    assert set(np.unique(mask)) <= {0, 255}
    with pytest.raises(InputError, match=r"kept no segmenter of that method.*it has .*full seed 0 ridge"):
        predict_masks(finished / "run", tmp_path / "new", tmp_path / "out", method="meddel")
