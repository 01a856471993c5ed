from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from optidel.errors import InputError
from optidel.evaluation import splits, tasks
from optidel.evaluation.tasks import load_task

KVASIR = Path(__file__).parents[3] / "shared" / "data" / "kvasir-seg"


@pytest.fixture
def spoken(monkeypatch):
    """What was said to the person."""
    lines: list[str] = []
    for module in (tasks, splits):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


def picture(seed, height=20, width=30):
    return np.random.default_rng(seed).integers(0, 256, size=(height, width, 3)).astype(np.uint8)


def square(value, height=20, width=30, dtype=np.uint8):
    mask = np.zeros((height, width), dtype)
    mask[5:15, 10:20] = value
    return mask


def write(root, stem, image=None, mask=None, ending=".png"):
    for kind, array in (("images", image), ("masks", mask)):
        if array is not None:
            path = root / kind / f"{stem}{ending if kind == 'images' else '.png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(array).save(path)


def labelled(root, count, value=255, start=0):
    for i in range(start, start + count):
        write(root, f"case{i:03d}", picture(i), square(value))
    return root


def test_pairs_are_read_at_the_models_size(tmp_path):
    for i in range(6):
        write(tmp_path, f"site{i % 2}/case{i}", picture(i), square(255), ending=".jpg" if i % 2 else ".tif")
    task = load_task(tmp_path, 16, train=4, test=2)
    assert task.name == tmp_path.name
    assert task.images.shape == (6, 16, 16, 3)
    assert task.images.dtype == task.masks.dtype == np.uint8
    assert task.masks.shape == (6, 16, 16)
    assert set(np.unique(task.masks)) == {0, 1}
    assert task.classes == 2
    assert task.rejected == []
    assert set(task.ids) == {f"site{i % 2}/case{i}" for i in range(6)}
    assert len(task.rows("train")) == 4
    assert list(task.split[task.rows("test")]) == ["test", "test"]
    expected = square(1)[
        np.ix_(((np.arange(16) + 0.5) * 20 / 16).astype(int), ((np.arange(16) + 0.5) * 30 / 16).astype(int))
    ]
    np.testing.assert_array_equal(task.masks[0], expected)


def test_image_and_mask_stay_aligned(tmp_path):
    for i in range(4):
        mask = np.zeros((40, 60), np.uint8)
        mask[4 + i : 30, 20 : 50 - i] = 255
        noise = np.array([[[i, 0, 0]]], np.uint8)
        write(tmp_path, f"case{i}", np.repeat(mask[..., None] // 2, 3, axis=2) + noise, mask)
    task = load_task(tmp_path, 32)
    agreement = ((task.images[..., 1] > 63) == (task.masks == 1)).mean()
    assert agreement > 0.97


def test_split_depends_on_the_seed_alone_and_another_training_size_keeps_the_test_part(tmp_path):
    labelled(tmp_path, 12)
    first, again, other = (load_task(tmp_path, 16, train=6, test=4, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    assert list(first.ids) == list(again.ids)
    assert set(first.ids[first.rows("test")]) != set(other.ids[other.rows("test")])
    fewer = load_task(tmp_path, 16, train=2, test=4, seed=0)
    assert list(fewer.ids[fewer.rows("test")]) == list(first.ids[first.rows("test")])
    assert set(fewer.ids[fewer.rows("train")]) < set(first.ids[first.rows("train")])
    assert not set(first.ids[first.rows("train")]) & set(first.ids[first.rows("test")])


@pytest.mark.parametrize(("count", "train", "test"), [(10, 8, 2), (3, 2, 1), (2, 1, 1)])
def test_too_few_pairs_shrink_the_parts_and_say_so(tmp_path, spoken, count, train, test):
    task = load_task(labelled(tmp_path, count), 16)
    assert (len(task.rows("train")), len(task.rows("test"))) == (train, test)
    assert f"{count} usable images" in spoken[0]


def test_a_short_set_takes_from_the_test_part_first(tmp_path):
    task = load_task(labelled(tmp_path, 10), 16, train=5, test=8)
    assert (len(task.rows("train")), len(task.rows("test"))) == (5, 5)


def test_a_given_split_is_kept_and_capped(tmp_path):
    labelled(tmp_path / "train", 5)
    labelled(tmp_path / "test", 4, start=50)
    task = load_task(tmp_path, 16, train=3, test=100)
    assert all(name.startswith("train/") for name in task.ids[task.rows("train")])
    assert list(task.ids[task.rows("test")]) == [f"test/case{i:03d}" for i in range(50, 54)]
    assert len(task.rows("train")) == 3


def test_a_training_image_that_is_a_test_image_is_rejected(tmp_path, spoken):
    labelled(tmp_path / "train", 4)
    labelled(tmp_path / "test", 2, start=2)
    task = load_task(tmp_path, 16)
    assert sorted(task.ids) == ["test/case002", "test/case003", "train/case000", "train/case001"]
    assert [item.reason for item in task.rejected] == [
        f"has the pixels of the test image test/images/case00{i}.png" for i in (2, 3)
    ]
    assert "2 files not used" in spoken[-1]


def test_whatever_cannot_be_used_is_rejected_with_its_reason(tmp_path):
    labelled(tmp_path, 3)
    write(tmp_path, "lonely", image=picture(90))
    write(tmp_path, "orphan", mask=square(255))
    write(tmp_path, "bigger", picture(91), square(255, 40, 60))
    write(tmp_path, "speck", picture(92, 1, 1), np.zeros((1, 1), np.uint8))
    write(tmp_path, "painted", picture(93), picture(94))
    write(tmp_path, "twice", picture(95), square(255))
    write(tmp_path, "twice", picture(95), ending=".bmp")
    for stem, cut in (("cut", 300), ("empty", 0)):
        write(tmp_path, stem, picture(96), square(255))
        path = tmp_path / "images" / f"{stem}.png"
        path.write_bytes(path.read_bytes()[:cut])
    write(tmp_path, "halfmask", picture(97), square(255))
    path = tmp_path / "masks" / "halfmask.png"
    path.write_bytes(path.read_bytes()[:60])
    (tmp_path / "images" / "notes.txt").write_text("no image")
    (tmp_path / "images" / ".hidden.png").write_bytes(b"")
    task = load_task(tmp_path, 16)
    assert set(task.ids) == {"case000", "case001", "case002", "twice"}
    reasons = {item.source.removeprefix("images/"): item.reason for item in task.rejected}
    expected = {
        "lonely.png": "has no mask",
        "masks/orphan.png": "has no image",
        "bigger.png": "the mask is 60 x 40 px, the image 30 x 20 px",
        "speck.png": "smaller than 8 px",
        "painted.png": "coloured picture",
        "twice.png": "has the same stem as images/twice.bmp",
        "cut.png": "is damaged",
        "empty.png": "has zero bytes",
        "halfmask.png": "its mask is damaged",
        "notes.txt": "'.txt'",
    }
    assert set(reasons) == set(expected)
    for source, reason in expected.items():
        assert reason in reasons[source]
        assert str(tmp_path) not in reasons[source]


def test_a_mask_that_declares_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    labelled(tmp_path, 2)
    write(tmp_path, "bomb", picture(5))
    PillowImage.new("1", (10_000, 10_000)).save(tmp_path / "masks" / "bomb.png")
    rejected = load_task(tmp_path, 16).rejected
    assert [item.reason for item in rejected] == ["the mask is 10000 x 10000 px, the image 30 x 20 px"]


@pytest.mark.parametrize(
    ("values", "classes", "said"),
    [
        ((0, 1), 2, ""),
        ((0, 255), 2, ""),
        ((0, 1, 2), 3, ""),
        ((0, 2, 5), 3, "0, 2, 5 are read as classes 0 to 2"),
        ((0, 127, 255), 3, "0, 127, 255 are read"),
        ((1, 2, 3), 3, "1, 2, 3 are read"),
        ((0, 7), 2, "0, 7 are read"),
    ],
)
def test_mask_values_become_classes(tmp_path, spoken, values, classes, said):
    mask = np.repeat(np.array(values, np.uint8), 20).reshape(len(values), 20).repeat(10, axis=0)
    for i in range(4):
        write(tmp_path, f"case{i}", picture(i, *mask.shape), mask)
    task = load_task(tmp_path, 16, train=2, test=2)
    assert task.classes == classes
    assert set(np.unique(task.masks)) == set(range(classes))
    assert (task.masks[0, 0] == 0).all()
    assert said in "".join(spoken)
    assert bool(spoken) == bool(said)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGB", "RGBA", "I;16"])
def test_masks_may_be_stored_in_any_mode(tmp_path, mode):
    for i in range(2):
        write(tmp_path, f"case{i}", picture(i))
        (tmp_path / "masks").mkdir(exist_ok=True)
        stored = PillowImage.fromarray(square(1 if mode in ("P", "I;16") else 255))
        if mode == "I;16":
            stored = PillowImage.fromarray(square(1, dtype=np.uint16))
        elif mode == "P":
            stored.putpalette([0, 0, 0, 200, 30, 30])
        else:
            stored = stored.convert(mode)
        stored.save(tmp_path / "masks" / f"case{i}.png")
    task = load_task(tmp_path, 20)
    assert task.classes == 2
    np.testing.assert_array_equal(task.masks[0, :, 0], 0)
    assert task.masks[0, 10, 10] == 1


def test_grey_masks_are_cut_at_half_and_said_aloud(tmp_path, spoken):
    for i in range(2):
        write(tmp_path, f"case{i}", picture(i, 80, 80))
        (tmp_path / "masks").mkdir(exist_ok=True)
        disc = ((np.mgrid[:80, :80] - 40) ** 2).sum(0) < 600
        PillowImage.fromarray((disc * 255).astype(np.uint8)).convert("RGB").save(
            tmp_path / "masks" / f"case{i}.jpg", quality=75
        )
    task = load_task(tmp_path, 80)
    assert task.classes == 2
    assert "128 and above is foreground" in "".join(spoken)
    assert ((task.masks[0] == 1) == disc).mean() > 0.99


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.arange(600, dtype=np.uint8).reshape(20, 30), "at most 64 classes"),
        (np.zeros((20, 30), np.uint8), "the value 0 only"),
        (np.full((20, 30), 0.5, np.float32), "whole numbers"),
    ],
)
def test_masks_that_are_no_class_masks_stop_with_the_remedy(tmp_path, mask, message):
    for i in range(2):
        write(tmp_path, f"case{i}", picture(i))
        (tmp_path / "masks").mkdir(exist_ok=True)
        PillowImage.fromarray(mask).save(tmp_path / "masks" / f"case{i}.tif")
    with pytest.raises(InputError, match=message):
        load_task(tmp_path, 16)


def test_nothing_usable_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"no folder at .*which holds images/ and masks/"):
        load_task(tmp_path / "absent", 16)
    write(tmp_path, "case1", image=picture(1))
    write(tmp_path, "case1-outline", mask=square(255))
    with pytest.raises(
        InputError, match=r"same stem and size, in masks/; images/case1.png: has no mask of the same stem"
    ):
        load_task(tmp_path, 16)
    write(tmp_path, "case1", mask=square(255))
    with pytest.raises(InputError, match="0 usable training and 1 test pairs"):
        load_task(tmp_path, 16)
    with pytest.raises(InputError, match="at least 1 image, got 0 and 300"):
        load_task(tmp_path, 16, train=0)


@pytest.mark.data
@pytest.mark.skipif(not KVASIR.is_dir(), reason="the shared development images are absent")
def test_real_polyps_are_read():
    task = load_task(KVASIR, 64, train=10, test=15)
    assert task.images.shape == (25, 64, 64, 3)
    assert task.classes == 2
    assert 0.05 < task.masks.mean() < 0.4
