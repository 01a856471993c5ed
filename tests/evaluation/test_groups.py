"""Labelled images of one patient or video never stand on both sides of the split."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from optidel.errors import InputError, RecipeError
from optidel.evaluation import tasks
from optidel.evaluation.tasks import load_task

PATTERN = r"(?P<video>seq\d+)"


def write(root: Path, stem: str, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    mask = np.zeros((12, 16), np.uint8)
    mask[3:8, 4:9] = 255
    for kind, array in (("images", image), ("masks", mask)):
        path = root / kind / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(array).save(path)


def labelled(root: Path, sizes: list[int]) -> Path:
    """Video ``seqN`` has ``sizes[N]`` frames."""
    for video, size in enumerate(sizes):
        for frame in range(size):
            write(root, f"seq{video:02d}-{frame:03d}", 1000 * video + frame)
    return root


def sides(task: tasks.Task) -> tuple[set[str | None], set[str | None]]:
    train, test = ({task.groups[row] for row in task.rows(part)} for part in ("train", "test"))
    return train, test


def test_videos_stay_on_one_side(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    labelled(tmp_path, [4] * 10)
    task = load_task(tmp_path, 8, train=20, test=10, group=PATTERN)
    train, test = sides(task)
    assert not train & test
    assert Counter(task.split.tolist()) == {"train": 20, "test": 10}
    assert (len(train), len(test)) == (
        5,
        3,
    )  # the third tested video is cut, its other two frames are in neither part
    assert "5 groups (20 images) for training, 3 (10) for testing, none in both" in capfd.readouterr().err
    assert task.sources[0].startswith("images/seq")
    assert task.groups[0] == f"video:{task.ids[0][:5]}"
    mixed = load_task(tmp_path, 8, train=20, test=10)
    pairs = [{name[:5] for name in mixed.ids[mixed.rows(part)]} for part in ("train", "test")]
    assert pairs[0] & pairs[1]  # without groups, frames of one video are on both sides: what this is for


def test_another_number_of_training_images_leaves_the_test_part(tmp_path: Path) -> None:
    labelled(tmp_path, [3] * 12)
    found = [load_task(tmp_path, 8, train=train, test=9, group=PATTERN) for train in (6, 27)]
    first, second = (sorted(task.ids[task.rows("test")]) for task in found)
    assert first == second


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 7), min_size=2, max_size=8),
    train=st.integers(1, 20),
    test=st.integers(1, 20),
    seed=st.integers(0, 5),
)
def test_never_on_both_sides(
    sizes: list[int], train: int, test: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = labelled(tmp_path_factory.mktemp("set"), sizes)
    task = load_task(root, 8, train=train, test=test, seed=seed, group=PATTERN)
    learnt, tested = sides(task)
    assert learnt
    assert tested
    assert not learnt & tested
    assert len(task.rows("train")) <= train
    assert len(task.rows("test")) <= max(test, 1)


def test_a_manifest_says_it_too(tmp_path: Path) -> None:
    labelled(tmp_path / "set", [1] * 12)
    rows = [f"images/seq{video:02d}-000.png,p{video % 4}" for video in range(11)]
    (tmp_path / "list.csv").write_text("path,patient\n" + "\n".join(rows) + "\n")
    task = load_task(tmp_path / "set", 8, train=6, test=3, group=str(tmp_path / "list.csv"))
    train, test = sides(task)
    assert not (train & test) - {None}  # the one image without a row is alone
    assert test <= {"patient:p0", "patient:p1", "patient:p2", "patient:p3", None}


def test_a_given_split_loses_training_images_of_tested_videos(tmp_path: Path) -> None:
    for part, videos in (("train", (0, 1, 2)), ("test", (2, 3))):
        for video in videos:
            for frame in range(2):
                write(
                    tmp_path / part,
                    f"seq{video:02d}-{part}{frame}",
                    100 * video + frame + (50 if part == "test" else 0),
                )
    task = load_task(tmp_path, 8, train=20, test=20, group=PATTERN)
    assert sides(task) == ({"video:seq00", "video:seq01"}, {"video:seq02", "video:seq03"})
    assert [(item.source, item.reason) for item in task.rejected] == [
        (f"train/images/seq02-train{frame}.png", "is of the group video:seq02, which is tested on")
        for frame in range(2)
    ]


@pytest.mark.parametrize(
    ("sizes", "group", "error", "message"),
    [
        ([6], PATTERN, InputError, "all usable images .* of one group, video:seq00"),
        ([2, 2], r"(?P<video>clip\d+)", InputError, "says nothing of the 4 images"),
        ([2, 2], r"seq\d+", RecipeError, "names no group"),
        ([2, 2], "nowhere.csv", InputError, "manifest nowhere.csv cannot be read"),
    ],
)
def test_refusals(sizes: list[int], group: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        load_task(labelled(tmp_path, sizes), 8, train=4, test=4, group=group)


def test_unreadable_files_are_named_once(tmp_path: Path) -> None:
    labelled(tmp_path, [2] * 6)
    for video in range(6):
        (tmp_path / "images" / f"seq{video:02d}-000.png").write_bytes(b"no image")
    task = load_task(tmp_path, 8, train=3, test=2, group=PATTERN)
    named = [item.source for item in task.rejected]
    assert len(named) == len(set(named))
    assert len(task.ids) == 5
